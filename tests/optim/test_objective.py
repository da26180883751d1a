"""The objective and its quadratic model: sums over shards, in turn or on threads, are the unsharded result."""

from __future__ import annotations

import numpy as np
import pytest

import nn
import optim
import rmad
from rmad import tree

N = 11
DIVISIONS = [{"shards": k, "threads": j} for k in (1, 2, 3, 5, N) for j in (1, 2, 3)]


def mlp(dtype=np.float64, seed=0, activation=nn.Tanh):
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Linear(4, 6, rng=rng, dtype=dtype), activation(), nn.Linear(6, 3, rng=rng, dtype=dtype))


def batch(n=N, dtype=np.float64, seed=1):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 4)).astype(dtype), rng.standard_normal((n, 3)).astype(dtype)


LOSSES = {
    "squared": (nn.SquaredError(), lambda t: t),
    "sigmoid": (nn.SigmoidCrossEntropy(), lambda t: (t > 0).astype(t.dtype)),
    "softmax": (nn.SoftmaxCrossEntropy(), lambda t: np.argmax(t, axis=1)),
    "callable": (lambda z, t: np.sum(np.logaddexp(0, z - t)) / len(z), lambda t: t),
}


def everything(objective, x, t, seed=2):
    """Value, gradient and products of the objective on the batch, through every way there is."""
    v = np.random.default_rng(seed).standard_normal(objective.size).astype(objective.dtype)
    value, gradient = objective.value_and_gradient(x, t)
    q = objective.quadratic(x, t)
    found = {
        "value": objective.value(x, t),
        "value too": value,
        "value of the model": q.value,
        "value at": objective.value_at(objective.flat() + v / 10, x, t),
        "gradient": gradient,
        "gradient of the model": q.gradient,
        "Gv": q.ggn @ v,
        "Hv": q.hessian @ v,
        "Gv again": q.ggn @ v,
    }
    assert q.products == 3
    return found


def assert_close(found, expected, tolerance=1e-12):
    for name, a in expected.items():
        scale = np.max(np.abs(a))
        np.testing.assert_allclose(found[name], a, rtol=0, atol=tolerance * scale, err_msg=name)


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
@pytest.mark.parametrize("l2", [0.0, 0.3])
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


# -- nothing runs the model again, nothing is overwritten ----------------------------------------------------


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_no_product_runs_the_model_again(shards, threads):
    calls = []

    def forward(params, x):
        calls.append(1)
        return np.tanh(x @ params["W"]) @ params["V"]

    rng = np.random.default_rng(4)
    model = optim.Function(forward, {"W": rng.standard_normal((4, 5)), "V": rng.standard_normal((5, 3))})
    x, t = batch()
    objective = optim.Objective(model, nn.SquaredError(), shards=shards, threads=threads)
    q = objective.quadratic(x, t)
    v, out = rng.standard_normal(objective.size), np.empty(objective.size)
    for _ in range(10):
        q.ggn_product(v, out)
    assert q.gradient is q.gradient
    q.squared_gradients()
    assert len(calls) == shards
    for _ in range(10):
        q.hessian_product(v, out)
    assert len(calls) == 2 * shards  # the gradient's tape is made once
    assert q.products == 20
    objective.value_and_gradient(x, t)
    assert len(calls) == 3 * shards


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


@pytest.mark.parametrize("shards", [1, 3])
def test_a_quadratic_refers_to_the_parameters_it_was_made_at(shards):
    """Every product is first asked for after the model has moved on."""
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError(), 0.2, shards=shards)
    expected = everything(objective, x, t)
    squared = objective.quadratic(x, t).squared_gradients()
    theta, v = objective.flat(), np.random.default_rng(2).standard_normal(objective.size)
    q = objective.quadratic(x, t)
    objective.assign(theta + 0.5)
    np.testing.assert_array_equal(q.hessian @ v, expected["Hv"])
    np.testing.assert_array_equal(q.ggn @ v, expected["Gv"])
    np.testing.assert_array_equal(q.gradient, expected["gradient of the model"])
    np.testing.assert_array_equal(q.squared_gradients(), squared)
    np.testing.assert_array_equal(q.theta, theta)
    assert q.value == expected["value of the model"]
    assert abs(objective.quadratic(x, t).value - q.value) > 1e-3


def test_products_may_be_written_in_place_and_interleaved():
    model, (x, t) = mlp(), batch()
    q = optim.Objective(model, nn.SquaredError(), 0.2, shards=2).quadratic(x, t)
    v = np.random.default_rng(2).standard_normal(q.gradient.size)
    Gv, Hv, gradient = q.ggn @ v, q.hessian @ v, q.gradient.copy()
    for _ in range(2):
        out = v.copy()
        q.ggn_product(out, out)
        np.testing.assert_array_equal(out, Gv)
        out = v.copy()
        q.hessian_product(out, out)
        np.testing.assert_array_equal(out, Hv)
        q.squared_gradients()
        np.testing.assert_array_equal(q.gradient, gradient)
    np.testing.assert_allclose(q.ggn.T @ v, Gv)
    assert q.ggn.shape == q.hessian.shape == (v.size, v.size)


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


def test_a_layer_in_two_places_is_refused():
    """Each place would get an update of its own, and the second undo the first."""
    layer = nn.Linear(3, 3, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"model\.0 and model\.2 are one and the same object"):
        optim.Objective(nn.Sequential(layer, nn.Tanh(), layer), nn.SquaredError())
