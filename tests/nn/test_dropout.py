"""Dropout: one function for the whole of an update, whatever part of the batch is looked at."""

import numpy as np
import pytest

import nn
import optim
import rmad


def layer(p=0.4, seed=0):
    dropout = nn.Dropout(p, rng=np.random.default_rng(seed))
    dropout.begin_step()
    return dropout


def net(dtype=np.float64):
    rng = np.random.default_rng(1)
    first, last = (nn.Linear(i, o, rng=rng, dtype=dtype) for i, o in ((6, 20), (20, 3)))
    return nn.Sequential(first, nn.Tanh(), nn.Dropout(0.5, rng=rng), last)


def test_a_share_p_is_dropped_and_the_mean_is_kept():
    y = layer()(np.ones((2000, 50), np.float32))
    assert y.dtype == np.float32
    assert set(np.unique(y)) == {0, np.float32(1 / 0.6)} or np.isclose(np.unique(y)[1], 1 / 0.6, rtol=1e-4)
    deviation = np.sqrt(0.4 / 0.6 / y.size)
    assert abs(y.mean() - 1) < 4 * deviation
    assert np.abs(np.corrcoef(y[:, 0], y[:, 1])[0, 1]) < 0.1


def test_one_mask_per_update():
    dropout, x = layer(), np.ones((30, 7))
    first = dropout(x)
    np.testing.assert_array_equal(dropout(x), first)
    dropout.begin_step()
    assert (dropout(x) != first).any()


def test_different_layers_drop_different_units():
    x = np.ones((30, 40))
    assert (layer(seed=0)(x) != layer(seed=1)(x)).any()


@pytest.mark.parametrize("units", [(), (1,), (5,), (16,), (17,), (3, 4, 5)])
def test_a_part_sees_the_mask_of_the_whole(units):
    dropout, x = layer(), np.ones((11, *units))
    whole = dropout(x)
    np.testing.assert_array_equal(dropout(x[:4]), whole[:4])
    with rmad.batch.cases_from(4):
        np.testing.assert_array_equal(dropout(x[4:]), whole[4:])
    assert rmad.batch.first_case() == 0


def test_in_use_it_is_the_identity():
    x = np.ones((3, 2))
    assert layer().eval()(x) is x
    assert layer(p=0)(x) is x
    assert nn.Sequential(layer()).eval()[0].training is False


def test_derivatives():
    model, x = net(), np.random.default_rng(2).standard_normal((4, 6))
    rmad.check_grads(lambda m, x: m(x), model, x)
    rmad.check_grads(layer(), x, order=2)


@pytest.mark.parametrize("threads", [1, 2])
def test_shards_see_the_masks_of_the_whole(threads):
    model, rng = net(), np.random.default_rng(3)
    x, t = rng.standard_normal((13, 6)), rng.standard_normal((13, 3))
    model.begin_step()
    whole = optim.Objective(model, nn.SquaredError(), shards=1)
    parts = optim.Objective(model, nn.SquaredError(), shards=5, threads=threads)
    assert parts.value(x, t) == pytest.approx(whole.value(x, t), rel=1e-13)
    np.testing.assert_allclose(parts.value_and_gradient(x, t)[1], whole.value_and_gradient(x, t)[1], atol=1e-13)
    v = rng.standard_normal(whole.size)
    for name in ("ggn", "hessian"):
        one, many = (getattr(o.quadratic(x, t), name).matvec(v) for o in (whole, parts))
        np.testing.assert_allclose(many, one, atol=1e-13)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: optim.SGD(m, nn.SquaredError(), lr=0.1),
        lambda m: optim.Adam(m, nn.SquaredError()),
        lambda m: optim.HessianFree(m, nn.SquaredError(), damping=1.0),
    ],
    ids=["sgd", "adam", "hf"],
)
def test_optimizers_draw_anew_for_every_update(make):
    model, rng = net(), np.random.default_rng(3)
    x, t = rng.standard_normal((40, 6)), rng.standard_normal((40, 3))
    opt, dropout = make(model), model[2]
    before = int(dropout.updates[0])
    info = opt.step(x, t)
    assert int(dropout.updates[0]) == before + 1
    if isinstance(opt, optim.HessianFree):  # the step was judged on the function that it was made for
        assert optim.Objective(model, nn.SquaredError()).value(x, t) < info.loss


def test_a_saved_model_goes_on_with_the_same_masks():
    one, other, x = layer(seed=0), layer(seed=5), np.ones((9, 9))
    one.begin_step()
    other.load_state_dict(one.state_dict())
    np.testing.assert_array_equal(one(x), other(x))


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_refuses(p):
    with pytest.raises(ValueError, match=r"Dropout: p must be in \[0, 1\)"):
        nn.Dropout(p, rng=np.random.default_rng(0))


def test_a_share_that_rounds_to_none_keeps_one_level():
    y = nn.Dropout(1 - 2**-18, rng=np.random.default_rng(0))(np.ones((3, 4)))
    assert np.all((y == 0) | (y == 2**16))


def test_refuses_integers():
    with pytest.raises(TypeError, match=r"Dropout\(0.5\): x must be an array of floats, not of int64"):
        nn.Dropout(0.5, rng=np.random.default_rng(0))(np.ones((2, 3), int))


class Checkpointed(nn.Module):
    def __init__(self, inner):
        self.inner = inner

    def forward(self, x):
        return rmad.checkpoint(lambda m, x: m(x))(self.inner, x)


@pytest.mark.parametrize(("shards", "threads", "in_memory"), [(3, 1, None), (4, 2, None), (None, 1, 4)])
def test_a_checkpoint_runs_again_with_the_masks_of_its_part(shards, threads, in_memory):
    model, rng = net(), np.random.default_rng(3)
    x, t = rng.standard_normal((13, 6)), rng.standard_normal((13, 3))
    v = rng.standard_normal(sum(a.size for a in model.parameters()))
    whole = optim.Objective(model, nn.SquaredError(), shards=1).quadratic(x, t)
    options = {"shards": shards, "threads": threads, "cases_in_memory": in_memory}
    parts = optim.Objective(Checkpointed(model), nn.SquaredError(), **options).quadratic(x, t)
    np.testing.assert_allclose(parts.gradient, whole.gradient, atol=1e-13)
    for name in ("ggn", "hessian"):
        np.testing.assert_allclose(getattr(parts, name).matvec(v), getattr(whole, name).matvec(v), atol=1e-13)
