"""Parameters are rebound, never written to; arrays outside a batch of plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from divided import LOSSES, batch, everything, mlp

import nn
import optim
import rmad


def test_assign_rebinds_and_keeps_the_old_arrays():
    model = mlp()
    objective = optim.Objective(model, nn.SquaredError())
    arrays = model.parameters()
    kept = [a.copy() for a in arrays]
    theta = objective.flat()
    new = theta + 1
    objective.assign(new)
    for old, copy, now in zip(arrays, kept, model.parameters(), strict=True):
        assert now is not old
        np.testing.assert_array_equal(old, copy)
        np.testing.assert_array_equal(now, copy + 1)
    new[:] = np.nan  # the caller's vector stays the caller's
    np.testing.assert_array_equal(objective.flat(), theta + 1)
    flat = objective.flat()
    flat[:] = 0
    np.testing.assert_array_equal(objective.flat(), theta + 1)
    with pytest.raises(ValueError, match=r"expected a flat vector of shape \(51,\), got \(50,\)"):
        objective.assign(theta[1:])


def test_other_parameters_leave_the_model_alone():
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError())
    arrays, theta = model.parameters(), objective.flat()
    other = objective.model_at(2 * theta)
    objective.value_at(3 * theta, x, t)
    assert all(a is b for a, b in zip(arrays, model.parameters(), strict=True))
    np.testing.assert_array_equal(rmad.ravel(other)[0], 2 * theta)


def test_parameters_that_do_not_matter():
    x, t = batch()
    model = optim.Function(lambda p, x: x @ p["W"], {"W": np.ones((4, 3)), "unused": np.ones(2)})
    for shards in (1, 2):
        found = everything(optim.Objective(model, nn.SquaredError(), shards=shards), x, t)
        for name in ("gradient", "gradient of the model", "Gv", "Hv"):
            np.testing.assert_array_equal(found[name][-2:], 0, err_msg=name)
    assert not np.any(optim.Objective(model, nn.SquaredError()).quadratic(x, t).squared_gradients()[-2:])


@pytest.mark.parametrize("name", LOSSES)
def test_an_output_that_depends_on_no_parameter(name):
    (x, t), (loss, target) = batch(), LOSSES[name]
    objective = optim.Objective(optim.Function(lambda p, x: x[:, :3], {"W": np.ones(2)}), loss, shards=2)
    for key, found in everything(objective, x, target(t)).items():
        assert key.startswith("value") or not np.any(found), key


def test_a_layer_in_two_places_is_refused():
    """Each place would get an update of its own, and the second undo the first."""
    layer = nn.Linear(3, 3, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"model\.0 and model\.2 are one and the same object"):
        optim.Objective(nn.Sequential(layer, nn.Tanh(), layer), nn.SquaredError())


# -- the structure of the model ------------------------------------------------------------------------------------


@pytest.fixture
def structures(monkeypatch):
    """The names of the trees that a TreeDef is built of."""
    made, build = [], rmad.trees.tree.TreeDef.__init__
    monkeypatch.setattr(
        rmad.trees.tree.TreeDef, "__init__", lambda self, tree, name: (made.append(name), build(self, tree, name))[1]
    )
    return made


HYPER = {
    "presets": {},
    "no damping, unbiased diagonal": {"damping": 0.0, "preconditioner": optim.UnbiasedDiagonal()},
    "l2": {"l2": 0.1, "cg_iterations": 3, "line_search": True},
    "trust region": {"direction": optim.SteihaugToint()},
}


@pytest.mark.parametrize("hyper", HYPER.values(), ids=HYPER)
def test_a_step_builds_one_structure(hyper, structures):
    """That of the outputs, which only a run of the model tells; the model's is kept from step to step."""
    model, (x, t) = mlp(), batch()
    opt = optim.HessianFree(model, nn.SquaredError(), **hyper)
    opt.objective.threads = 1
    opt.step(x, t)  # which counts the work of a case first
    for _ in range(3):
        structures.clear()
        assert opt.step(x, t).step_size > 0
        assert structures == ["f(x)"]


def test_every_change_by_hand_is_noticed(structures):
    """New arrays, another dtype, another layer: whatever comes next sees the model as it is."""
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError(), 0.1, threads=1)
    first = model[0]
    for change in (
        lambda: setattr(first, "weight", first.weight + 1),
        lambda: setattr(first, "bias", np.ones_like(first.bias)),
        lambda: rmad.trees.tree.rebind(model, [a * 2 for a in model.parameters()]),
        lambda: objective.assign(objective.flat() - 0.5),
        lambda: setattr(objective, "model", mlp(seed=5)),
    ):
        change()
        expected = optim.Objective(objective.model, nn.SquaredError(), 0.1, threads=1)
        theta = rmad.ravel(objective.model)[0]
        np.testing.assert_array_equal(objective.flat(), theta)
        np.testing.assert_array_equal(objective.quadratic(x, t).theta, theta)
        found, known = objective.value_and_gradient(x, t), expected.value_and_gradient(x, t)
        assert found[0] == known[0] == objective.value(x, t) == objective.value_at(theta, x, t)
        np.testing.assert_array_equal(found[1], known[1])
    structures.clear()
    objective.flat(), objective.value_at(objective.flat(), x, t)
    assert structures == []


def test_another_dtype_by_hand():
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError(), threads=1)
    rmad.trees.tree.rebind(model, [a.astype(np.float32) for a in model.parameters()])
    assert objective.flat().dtype == np.float32
    assert objective.value(x, t) == optim.Objective(model, nn.SquaredError()).value(x, t)
    assert objective.quadratic(x.astype(np.float32), t.astype(np.float32)).gradient.dtype == np.float32


class Sets(nn.Module):
    """z = x (W + noise); `name` is set when an update begins."""

    def __init__(self, name, value, W=None):
        self.W, self.b = np.ones((4, 3)) if W is None else W, np.zeros(3)
        self.name, self.value = name, lambda: value  # an array would be a parameter

    def on_begin_step(self):
        if self.value() is None:
            delattr(self, self.name)
        else:
            setattr(self, self.name, self.value())

    def forward(self, x):
        y = x @ (self.W + getattr(self, "noise", 0)) + getattr(self, "b", 0)
        return np.stack([y.real, y.imag], -1) if np.iscomplexobj(y) else y


CHANGES = {
    "a new array": (("noise", np.ones((4, 3))), r"model\.noise, float64 of shape \(4, 3\), was not in the model when"),
    "another shape": (("b", np.ones(1)), r"model\.b has shape \(1,\), but another when the optimizer was made"),
    "an array less": (("b", None), r"model\.b is not in the model any more: make a new optimizer"),
    "an array of integers": (("b", np.zeros(3, int)), r"model\.b is not in the model any more: make a new optimizer"),
}
EVERY = {
    "SGD": lambda m: optim.SGD(m, nn.SquaredError(), lr=0.1),
    **{k.__name__: lambda m, k=k: k(m, nn.SquaredError()) for k in (optim.HessianFree, optim.KFLR, optim.LBFGS)},
    **{k.__name__: lambda m, k=k: k(m, nn.SquaredError()) for k in (optim.LevenbergMarquardt, optim.CurveBall)},
}


@pytest.mark.parametrize("method", EVERY)
@pytest.mark.parametrize("change", CHANGES)
def test_arrays_that_come_or_go_are_named(change, method):
    """A parameter that a model first sets when an update begins has no place in the vectors of the optimizer."""
    (how, message), (x, t) = CHANGES[change], batch()
    model = Sets(*how)
    opt = EVERY[method](model)
    with pytest.raises(ValueError, match=message):
        opt.step(x, t)
    assert list(model.state_dict()) == ["W", "b"]  # as it was before


@pytest.mark.parametrize("W", [np.ones((4, 3)), np.ones((4, 3)) + 1j])
def test_an_array_set_when_an_update_begins_may_be_a_buffer(W):
    class Masked(Sets):
        buffers = ("noise",)

    (x, t), model = batch(), Masked("noise", np.ones((4, 3)), W)
    model.noise = None
    t = np.stack([t, t], -1) if np.iscomplexobj(W) else t
    optim.SGD(model, nn.SquaredError(), lr=0.1).step(x, t)
    assert list(model.state_dict()) == ["W", "b", "noise"]


def test_changes_are_named_in_other_models():
    (x, t), loss = batch(), nn.SquaredError()
    complex_model = Sets("noise", np.ones((4, 3)), np.ones((4, 3)) + 1j)
    complex_model.b = np.zeros(3, complex)
    with pytest.raises(ValueError, match=r"model\.noise, float64 of shape \(4, 3\), was not in the model"):
        optim.SGD(complex_model, loss, lr=0.1).step(x, np.stack([t, t], -1))
    inside = optim.Function(lambda p, x: p["layer"](x), {"layer": Sets("noise", np.ones((4, 3)))})
    with pytest.raises(ValueError, match=r"noise, float64 of shape \(4, 3\), was not in the model"):
        optim.SGD(inside, loss, lr=0.1).step(x, t)
    objective = optim.Objective(optim.Function(lambda p, x: x @ p["W"], {"W": np.ones((4, 3)), "b": np.ones(3)}), loss)
    objective.model._leaves = dict(reversed(objective.model._leaves.items()))
    with pytest.raises(ValueError, match="the order of the arrays of the model has changed"):
        objective.flat()
