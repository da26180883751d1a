"""The objective and its quadratic model: sums over shards, in turn or on threads, are the unsharded result."""

from __future__ import annotations

import numpy as np
import pytest
from divided import DIVISIONS, LOSSES, N, assert_close, batch, everything, mlp

import nn
import optim
import rmad
from rmad.trees import tree

# -- sums over shards ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("l2", [0.0, 0.3])
def test_unsharded_results_are_those_of_rmad(name, l2):
    model, (x, t), (loss, target) = mlp(), batch(), LOSSES[name]
    t = target(t)
    value = loss.value if hasattr(loss, "value") else loss
    f = lambda m: value(m(x), t) + 0.5 * l2 * sum(np.sum(a * a) for _, a in tree.leaves(m))  # noqa: E731
    found = everything(optim.Objective(model, loss, l2, shards=1), x, t)
    theta, unravel = rmad.ravel(model)
    v = np.random.default_rng(2).standard_normal(theta.size)
    gradient = rmad.ravel(rmad.grad(f)(model))[0]
    Gv = rmad.GGNOperator(lambda m: m(x), lambda z: value(z, t), model) @ v + l2 * v
    Hv = rmad.HessianOperator(f, model) @ v
    expected = {
        **{key: f(model) for key in ("value", "value too", "value of the model")},
        "gradient": gradient,
        "gradient of the model": gradient,
        "value at": f(unravel(theta + v / 10)),
        "Gv": Gv,
        "Gv again": Gv,
        "Hv": Hv,
    }
    assert_close(found, expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("l2", [pytest.param(0.0, marks=pytest.mark.slow), 0.3])
def test_shards_sum_to_the_whole(name, l2):
    model, (x, t), (loss, target) = mlp(), batch(), LOSSES[name]
    t = target(t)
    whole = everything(optim.Objective(model, loss, l2, shards=1, threads=1), x, t)
    for division in DIVISIONS:
        assert_close(everything(optim.Objective(model, loss, l2, **division), x, t), whole)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_any_number_of_cases(n):
    model, (x, t) = mlp(), batch(n)
    whole = everything(optim.Objective(model, nn.SquaredError(), shards=1, threads=1), x, t)
    for division in [*DIVISIONS, {}]:
        objective = optim.Objective(model, nn.SquaredError(), **division)
        assert len(objective.divide(x, t)) <= n
        assert_close(everything(objective, x, t), whole)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_from_run_to_run(dtype):
    model, (x, t) = mlp(dtype), batch(dtype=dtype)
    for division in ({"shards": 1}, {"shards": 3, "threads": 1}, {"shards": 3, "threads": 3}):
        first = everything(optim.Objective(model, nn.SquaredError(), 0.1, **division), x, t)
        for _ in range(3):
            again = everything(optim.Objective(model, nn.SquaredError(), 0.1, **division), x, t)
            for name, a in first.items():
                np.testing.assert_array_equal(again[name], a, err_msg=name)
    in_turn = everything(optim.Objective(model, nn.SquaredError(), 0.1, shards=3, threads=1), x, t)
    for name, a in first.items():
        np.testing.assert_allclose(in_turn[name], a, rtol=1e-4 if dtype == np.float32 else 1e-12, atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    model, (x, t) = mlp(dtype), batch(dtype=dtype)
    found = everything(optim.Objective(model, nn.SquaredError(), 0.1, shards=2), x, t)
    for name in ("gradient", "gradient of the model", "Gv", "Hv"):
        assert found[name].dtype == dtype, name
    for name in ("value", "value too", "value of the model", "value at"):
        assert isinstance(found[name], float), name
    assert optim.Objective(model, nn.SquaredError()).quadratic(x, t).squared_gradients().dtype == dtype


def test_large_batches_are_divided_by_default():
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError(), threads=2)
    assert len(objective.divide(x, t)) == 1  # not worth a thread
    X, T = batch(500_000)
    parts = objective.divide(X, T)
    assert [len(p.x) for p in parts] == [250_000, 250_000]
    assert sum(p.weight for p in parts) == 1
    objective.threads = 64
    assert 2 <= len(objective.divide(X, T)) < 64  # as many as are worth one


class Coupled(optim.Function):
    couples_cases = True


class SumLoss:
    mean_over_cases = False

    def value(self, z, t):
        return np.sum((z - t) ** 2)


def test_what_couples_cases_is_never_divided():
    x, t = batch()
    params = {"W": np.random.default_rng(3).standard_normal((4, 3))}

    def centred(params, x):
        z = x @ params["W"]
        return np.tanh(z - np.mean(z, axis=0))

    for model, loss in ((Coupled(centred, params), nn.SquaredError()), (optim.Function(centred, params), SumLoss())):
        whole = everything(optim.Objective(model, loss, shards=1, threads=1), x, t)
        for division in ({"shards": 3}, {"shards": 2, "threads": 2}, {"threads": 3}):
            objective = optim.Objective(model, loss, **division)
            assert len(objective.divide(x, t)) == 1
            assert_close(everything(objective, x, t), whole)


# -- trees, nothing, and several outputs ---------------------------------------------------------------------


@pytest.mark.parametrize("division", [{"shards": 3}, {"shards": 4, "threads": 2}])
def test_trees_as_inputs_targets_and_outputs(division):
    rng = np.random.default_rng(5)
    model = optim.Function(
        lambda p, x: {"a": np.tanh(x["left"] @ p["W"]), "b": (x["pair"][0] * np.sum(p["c"]) + x["pair"][1],)},
        {"W": rng.standard_normal((4, 3)), "c": rng.standard_normal(2)},
    )
    x = {"left": rng.standard_normal((N, 4)), "pair": (rng.standard_normal(N), rng.standard_normal(N))}
    t = [rng.standard_normal((N, 3)), rng.standard_normal(N)]
    loss = lambda z, t: np.sum((z["a"] - t[0]) ** 2) / len(t[1]) + np.sum(np.cosh(z["b"][0] - t[1])) / len(t[1])  # noqa: E731
    whole = everything(optim.Objective(model, loss, 0.1, shards=1, threads=1), x, t)
    objective = optim.Objective(model, loss, 0.1, **division)
    assert len(objective.divide(x, t)) == division["shards"]
    assert_close(everything(objective, x, t), whole)
    H = rmad.HessianOperator(lambda m: loss(m(x), t) + 0.05 * rmad.ravel(m)[0] @ rmad.ravel(m)[0], model)
    v = np.random.default_rng(2).standard_normal(objective.size)
    np.testing.assert_allclose(whole["Hv"], H @ v, rtol=1e-11)


def test_a_loss_of_nn_on_a_tree_with_one_array():
    """The output is a dict, the loss looks inside: a closed form with a diagonal must not trip over the tree."""

    class Inside:
        mean_over_cases = True
        inner = nn.SquaredError()

        def value(self, z, t):
            return self.inner.value(z["z"], t)

        def gradient(self, z, t):
            return {"z": self.inner.gradient(z["z"], t)}

        def hessian_product(self, z, t, v):
            return {"z": self.inner.hessian_product(z["z"], t, v["z"])}

        def curvature(self, z, t):
            inner = self.inner.curvature(z["z"], t)

            class Curvature:
                diagonal = inner.diagonal

                def __call__(self, v):
                    return {"z": inner(v["z"])}

            return Curvature()

    rng = np.random.default_rng(6)
    params = {"W": rng.standard_normal((4, 3))}
    plain = optim.Function(lambda p, x: x @ p["W"], params)
    inside = optim.Function(lambda p, x: {"z": x @ p["W"]}, params)
    x, t = batch()
    expected = optim.Objective(plain, nn.SquaredError(), shards=2)
    objective = optim.Objective(inside, Inside(), shards=2)
    assert_close(everything(objective, x, t), everything(expected, x, t))
    a, b = objective.quadratic(x, t).squared_gradients(), expected.quadratic(x, t).squared_gradients()
    np.testing.assert_allclose(a, b, rtol=1e-13)


def test_no_data_at_all(make_quadratic):
    """f(θ) = ½ θᵀHθ − cᵀθ: neither x nor t."""
    rng = np.random.default_rng(7)
    A = rng.standard_normal((5, 5))
    H, c, theta, v = A @ A.T, rng.standard_normal(5), rng.standard_normal(5), rng.standard_normal(5)
    model, loss = make_quadratic(H, c, theta)
    for division in ({}, {"shards": 3, "threads": 2}):
        objective = optim.Objective(model, loss, 0.5, **division)
        value, gradient = objective.value_and_gradient(None)
        assert value == pytest.approx(0.5 * theta @ H @ theta - c @ theta + 0.25 * theta @ theta, rel=1e-13)
        np.testing.assert_allclose(gradient, H @ theta - c + 0.5 * theta, rtol=1e-12)
        q = objective.quadratic(None)
        np.testing.assert_allclose(q.gradient, gradient, rtol=1e-12)
        np.testing.assert_allclose(q.ggn @ v, H @ v + 0.5 * v, rtol=1e-12)
        np.testing.assert_allclose(q.hessian @ v, H @ v + 0.5 * v, rtol=1e-12)


def test_a_scalar_is_no_batch():
    model = optim.Function(lambda p, x: x * p["a"], {"a": np.arange(3.0)})
    objective = optim.Objective(model, lambda z, t: np.sum(z * z), shards=2)
    value, gradient = objective.value_and_gradient(2.0)
    assert value == 20
    np.testing.assert_array_equal(gradient, 8 * np.arange(3.0))


# -- errors --------------------------------------------------------------------------------------------------


def test_errors_name_what_is_wrong():
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError())
    for call in (objective.value, objective.value_and_gradient, objective.quadratic):
        with pytest.raises(ValueError, match="the batch is empty"):
            call(x[:0], t[:0])
    mixed = {"W": np.ones((4, 3)), "b": np.ones(3, np.float32)}
    with pytest.raises(TypeError, match=r"model mixes dtypes \['float32', 'float64'\]"):
        optim.Objective(optim.Function(lambda p, x: x @ p["W"] + p["b"], mixed), nn.SquaredError())
    for nothing in ({}, {"n": np.arange(3)}):
        with pytest.raises(TypeError, match="no float arrays"):
            optim.Objective(optim.Function(lambda p, x: x, nothing), nn.SquaredError())
    for l2 in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="l2 must be a finite number ≥ 0"):
            optim.Objective(model, nn.SquaredError(), l2)
    for number in (0, -1, 1.5):
        with pytest.raises(ValueError, match="shards must be a whole number ≥ 1"):
            optim.Objective(model, nn.SquaredError(), shards=number)
        with pytest.raises(ValueError, match="threads must be a whole number ≥ 1"):
            optim.Objective(model, nn.SquaredError(), threads=number)
    with pytest.raises(TypeError, match="model must be callable"):
        optim.Objective({"W": np.ones(2)}, nn.SquaredError())
    with pytest.raises(TypeError, match="loss must be a loss object or a callable"):
        optim.Objective(model, "squared")


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_a_shard_reaches_the_caller(threads):
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError(), shards=2, threads=threads)
    with pytest.raises(ValueError, match="x has 3 features"):
        objective.quadratic(x[:, :3], t)
    before = objective.value(x, t)
    with pytest.raises(ValueError, match="z has shape"):
        objective.value_and_gradient(x, t[:, :2])
    assert objective.value(x, t) == before
