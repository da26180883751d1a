"""Curvature over a data set: every matrix against a dense one, in one batch, in several and in parts."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.linalg import block_diag
from scipy.sparse.linalg import LinearOperator, cg

import nn
import optim
import rmad

RNG = np.random.default_rng(0)
N, CLASSES = 13, 3
MATRICES = {
    "ggn": lambda C: C.ggn,
    "hessian": lambda C: C.hessian,
    "fisher": lambda C: C.fisher(samples=3),
    "empirical": lambda C: C.empirical_fisher,
}
KRONECKER = ("kfac", "kflr", "kfra")


def net(dtype=np.float64, seed=0):
    how = {"rng": np.random.default_rng(seed), "dtype": dtype}
    return nn.Sequential(nn.Linear(4, 5, **how), nn.Tanh(), nn.Linear(5, CLASSES, **how))


X = RNG.standard_normal((N, 4))
T = RNG.integers(0, CLASSES, N)
BATCHES = [(X[:6], T[:6]), (X[6:8], T[6:8]), (X[8:], T[8:])]
LOSS = nn.SoftmaxCrossEntropy()


def case_jacobians(model, x):
    """J_n, (n, classes, p), and z."""
    theta, unravel = rmad.ravel(model)
    z = model(x)
    J = rmad.jacobian(lambda flat: unravel(flat)(x))(theta)
    return J.reshape(*z.shape, theta.size), z


def dense(name, model=None, loss=LOSS, x=X, t=T):
    """The matrix by its definition."""
    model = net() if model is None else model
    theta, unravel = rmad.ravel(model)
    if name == "hessian":
        return rmad.hessian(lambda flat: loss.value(unravel(flat)(x), t))(theta)
    J, z = case_jacobians(model, x)
    if name == "empirical":
        gradients = np.einsum("nkp,nk->np", J, loss.gradient(z, t) * len(x))
        return gradients.T @ gradients / len(x)
    L = np.stack([loss.hessian_product(z, t, np.broadcast_to(e, z.shape)) for e in np.eye(z.shape[1])], axis=1)
    return np.einsum("nkp,nkl,nlq->pq", J, L, J)


def curvature(data=(X, T), **how):
    return optim.Curvature(net(), LOSS, data, **how)


class Again:
    """Batches that are made anew each time."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return ((x.copy(), t.copy()) for x, t in self.batches)


@pytest.mark.parametrize("name", ["ggn", "hessian", "empirical"])
@pytest.mark.parametrize(
    "how",
    [
        {"data": (X, T)},
        {"data": BATCHES},
        {"data": Again(BATCHES)},
        {"data": BATCHES, "cases_in_memory": 4},
        {"data": BATCHES, "cases_in_memory": 1},
        {"data": (X, T), "cases_in_memory": 5, "threads": 2},
        {"data": BATCHES, "threads": 3},
    ],
    ids=lambda how: "-".join(f"{k}={v if isinstance(v, int) else type(v).__name__}" for k, v in how.items()),
)
def test_a_matrix_is_that_of_all_cases(name, how):
    A, C = dense(name), curvature(**how)
    operator = MATRICES[name](C)
    assert isinstance(operator, LinearOperator)
    assert operator.shape == A.shape
    np.testing.assert_allclose(operator.dense(), A, atol=1e-13)
    v = RNG.standard_normal(len(A))
    np.testing.assert_allclose(operator @ v, A @ v, atol=1e-13)
    np.testing.assert_allclose(C.value, LOSS.value(net()(X), T), rtol=1e-13)
    gradient = rmad.ravel(rmad.grad(lambda m: LOSS.value(m(X), T))(net()))[0]
    np.testing.assert_allclose(C.gradient, gradient, atol=1e-14)


@pytest.mark.parametrize("kind", KRONECKER)
@pytest.mark.parametrize("parts", [None, 5])
def test_factors_are_those_of_all_cases(kind, parts):
    C = curvature(BATCHES, cases_in_memory=parts, rng=np.random.default_rng(3))
    whole = curvature((X, T), rng=np.random.default_rng(3))
    tolerance = 0.4 if kind == "kfra" and parts else 1e-12  # KFRA averages over the cases of a part
    found, expected = (getattr(c, kind) @ np.eye(C.theta.size) for c in (C, whole))
    assert np.linalg.norm(found - expected) <= tolerance * np.linalg.norm(expected)


def test_the_fisher_is_made_of_gradients_at_drawn_targets_and_its_mean_is_the_ggn():
    C, samples = curvature(BATCHES), 4000
    J, z = case_jacobians(net(), X)
    F, G = C.fisher(samples).dense(), dense("ggn")
    assert np.linalg.norm(F - G) < 0.05 * np.linalg.norm(G)
    one = C.fisher().dense()
    assert np.linalg.matrix_rank(one, tol=1e-10) <= N  # one gradient for every case
    per_case = [[np.outer(J[n].T @ u, J[n].T @ u) / N for u in np.eye(CLASSES) - softmax(z[n])] for n in range(N)]
    choices = [min(rest(one, per_case, n, k) for k in range(CLASSES)) for n in range(N)]
    assert max(choices) < 1e-10


def softmax(z):
    return np.exp(z - z.max()) / np.sum(np.exp(z - z.max()))


def rest(F, per_case, n, k):
    """How far F is from having the gradient of case n at target k in its range."""
    column = per_case[n][k][:, np.argmax(np.abs(per_case[n][k]).sum(0))]
    solution = np.linalg.lstsq(F, column, rcond=1e-10)[0]
    return np.linalg.norm(F @ solution - column) / np.linalg.norm(column)


@pytest.mark.parametrize("name", MATRICES)
def test_results_are_the_same_from_run_to_run(name):
    first, second = (MATRICES[name](curvature(BATCHES, threads=2)) for _ in range(2))
    V = RNG.standard_normal((first.shape[0], 3))
    assert np.array_equal(first @ V, second @ V)
    assert first.trace(products=20) == second.trace(products=20)


def test_the_model_runs_once_for_all_products_of_all_matrices_but_the_hessian():
    runs = []

    def forward(params, x):
        runs.append(len(x))
        return np.tanh(x @ params["W"])

    model = optim.Function(forward, {"W": RNG.standard_normal((4, 3))})
    C = optim.Curvature(model, nn.SquaredError(), [(x, X[: len(x), :3]) for x, _ in BATCHES], threads=1)
    before = len(runs)
    _ = C.ggn @ np.eye(12), C.empirical_fisher @ np.ones(12), C.kflr.trace(), C.ggn.diagonal(), C.gradient
    assert runs[before:] == [6, 2, 5]
    _ = C.hessian @ np.eye(12)
    assert runs[before:] == [6, 2, 5] * 2


def test_a_part_of_the_data_is_linearized_once_for_all_columns():
    runs = []

    def forward(params, x):
        runs.append(len(x))
        return np.tanh(x @ params["W"])

    model = optim.Function(forward, {"W": RNG.standard_normal((4, 3))})
    C = optim.Curvature(model, nn.SquaredError(), (X, X[:, :3]), threads=1, cases_in_memory=5)
    _ = C.ggn @ np.ones(12)  # whether the cases are independent is found once
    before = len(runs)
    _ = C.ggn @ np.eye(12)
    assert sorted(runs[before:]) == sorted([5, 4, 4])
    assert sum(runs[before:]) == N


def test_steps_after_it_was_made_do_not_change_it():
    for how in ({}, {"cases_in_memory": 4}):
        model = net()
        C = optim.Curvature(model, LOSS, BATCHES, **how)
        before = C.ggn.dense()
        optim.SGD(model, LOSS, lr=1.0).step(X, T)
        assert np.array_equal(C.ggn.dense(), before)
        np.testing.assert_allclose(C.hessian.dense(), dense("hessian"), atol=1e-13)
        assert not np.allclose(optim.Curvature(model, LOSS, BATCHES).ggn.dense(), before)


@pytest.mark.parametrize("name", MATRICES)
def test_blocks_are_the_diagonal_blocks_by_layer(name):
    C, whole = curvature(BATCHES, blocks="layer"), MATRICES[name](curvature(BATCHES)).dense()
    operator = MATRICES[name](C)
    blocks = operator.blocks()
    assert list(blocks) == ["model.0", "model.2"]
    assert [layer.size for layer in C.layers] == [25, 18]
    expected = whole[:25, :25], whole[25:, 25:]
    np.testing.assert_allclose(operator.dense(), block_diag(*expected), atol=1e-13)
    for block, A in zip(blocks.values(), expected, strict=True):
        np.testing.assert_allclose(block @ np.eye(len(A)), A, atol=1e-13)
    assert np.isclose(operator.trace(), np.trace(whole))


def test_blocks_of_a_plain_function():
    params = {"W": RNG.standard_normal((4, 3)), "b": np.zeros(3), "scale": np.ones(3)}
    model = optim.Function(lambda p, x: np.tanh(x @ p["W"] + p["b"]) * p["scale"], params)
    C = optim.Curvature(model, LOSS, (X, T), blocks="layer")
    found = {layer.name: layer.size for layer in C.layers}
    assert found == {"model.params['W']+model.params['b']": 15, "model.params['scale']": 3}


@pytest.mark.parametrize("name", MATRICES)
def test_the_exact_diagonal_takes_no_products_where_pulls_give_it(name):
    operator = MATRICES[name](curvature(BATCHES, cases_in_memory=4))
    A = operator.dense()
    np.testing.assert_allclose(operator.diagonal("exact"), np.diag(A), atol=1e-13)
    trace = operator.trace("exact")
    assert np.isclose(trace, np.trace(A))
    assert trace.error == 0
    assert trace.products == (operator.shape[0] if name == "hessian" else 0)


@pytest.mark.parametrize("name", MATRICES)
def test_sequences(name):
    """A loss with a term at each position: the exact diagonal, and the Fisher matrices case by case."""
    how = {"rng": np.random.default_rng(0), "dtype": np.float64}
    model = nn.Sequential(nn.RNN(2, 3, **how), nn.Linear(3, CLASSES, **how))
    x, t = RNG.standard_normal((5, 4, 2)), RNG.integers(0, CLASSES, (5, 4))
    z = model(x)
    if z.shape != (5, 4, CLASSES):
        pytest.fail(f"the model returns {z.shape}")
    operator = MATRICES[name](optim.Curvature(model, LOSS, [(x[:2], t[:2]), (x[2:], t[2:])]))
    A = operator.dense()
    np.testing.assert_allclose(operator.diagonal("exact"), np.diag(A), atol=1e-13)
    if name == "ggn":
        np.testing.assert_allclose(A, optim.Objective(model, LOSS).quadratic(x, t).ggn @ np.eye(len(A)), atol=1e-13)
    if name == "empirical":
        theta, unravel = rmad.ravel(model)
        gradient = rmad.grad(lambda flat, x, t: LOSS.value(unravel(flat)(x), t))
        each = [gradient(theta, x[n : n + 1], t[n : n + 1]) for n in range(5)]
        np.testing.assert_allclose(A, np.mean([np.outer(g, g) for g in each], axis=0), atol=1e-13)


def test_progress_is_told():
    seen = []
    C = curvature(BATCHES, cases_in_memory=6, progress=lambda *given: seen.append(given))
    _ = C.ggn @ np.ones(C.theta.size)
    assert [what for what, *_ in seen] == ["ggn"] * len(seen)
    assert seen[-1] == ("ggn", N, N)
    assert len(seen) > 1
    C.ggn.trace(products=10)
    assert ("ggn.trace", 10, 10) in seen
    C.ggn.inverse(0.1) @ np.ones(C.theta.size)
    assert any(what == "ggn.inverse" for what, *_ in seen)


# -- inverses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cg", "minres", "lsmr"])
@pytest.mark.parametrize("preconditioner", [None, "kfac", "kflr", "diagonal"])
def test_an_inverse(method, preconditioner):
    C, G, damping = curvature(BATCHES), dense("ggn"), 1e-2
    if preconditioner == "diagonal":
        preconditioner = 1 / (np.diag(G) + damping)
    inverse = C.ggn.inverse(damping, method, preconditioner=preconditioner, rtol=1e-10)
    b = RNG.standard_normal(len(G))
    np.testing.assert_allclose(inverse @ b, np.linalg.solve(G + damping * np.eye(len(G)), b), rtol=1e-7, atol=1e-7)
    assert inverse.residual <= 1e-10
    assert 0 < inverse.iterations < 200
    B = RNG.standard_normal((len(G), 2))
    np.testing.assert_allclose(inverse @ B, np.linalg.solve(G + damping * np.eye(len(G)), B), rtol=1e-6, atol=1e-6)
    assert not (inverse @ np.zeros(len(G))).any()


def test_factors_precondition():
    """A deep autoencoder after a few steps, as in the tutorial; the factors save a quarter of the iterations there."""
    images = nn.data.curves(200, 1, cache=False)[0][:, ::8].astype(float)
    widths, how = (98, 30, 10, 4, 10, 30, 98), {"rng": np.random.default_rng(0), "dtype": np.float64}
    pieces = [layer for i, o in pairwise(widths) for layer in (nn.Linear(i, o, **how), nn.Tanh())]
    model, loss = nn.Sequential(*pieces[:-1]), nn.SigmoidCrossEntropy()
    opt = optim.HessianFree(model, loss)
    for _ in range(5):
        opt.step(images, images)
    C, taken = optim.Curvature(model, loss, (images, images)), {}
    for preconditioner in (None, "kflr"):
        inverse = C.ggn.inverse(0.01, preconditioner=preconditioner, rtol=1e-4)
        inverse @ C.gradient
        taken[preconditioner] = inverse.iterations
    assert taken["kflr"] < 0.85 * taken[None]


def test_minres_inverts_an_indefinite_hessian_and_cg_says_that_it_cannot():
    C, H, damping = curvature(BATCHES), dense("hessian"), 1e-3
    assert np.linalg.eigvalsh(H)[0] < -damping
    b = RNG.standard_normal(len(H))
    with pytest.raises(np.linalg.LinAlgError, match=r"hessian.inverse.*not positive definite.*minres.*GGN"):
        C.hessian.inverse(damping, preconditioner=None) @ b
    expected = np.linalg.solve(H + damping * np.eye(len(H)), b)
    for method in ("minres", "lsmr"):
        found = C.hessian.inverse(damping, method, rtol=1e-12, preconditioner=None) @ b
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    shift = 0.01 - np.linalg.eigvalsh(H)[0]
    found = C.hessian.inverse(shift, rtol=1e-10) @ b
    np.testing.assert_allclose(found, np.linalg.solve(H + shift * np.eye(len(H)), b), rtol=1e-6, atol=1e-6)


def test_inverses_by_factors():
    C = curvature(BATCHES)
    eye = np.eye(C.theta.size)
    for found in (C.ggn.inverse(0.1, "kfac"), C.kfac.inverse(0.1)):
        np.testing.assert_allclose(found @ eye, np.linalg.inv(C.kfac @ eye + 0.1 * eye), atol=1e-10)


def test_a_run_of_a_solver_that_does_not_end_is_told():
    ggn = curvature(BATCHES).ggn
    for method in ("cg", "minres", "lsmr"):
        with pytest.warns(optim.NumericalWarning, match=f"{method} stopped after 2 iterations"):
            ggn.inverse(1e-6, method, iterations=2, rtol=1e-8) @ np.ones(ggn.shape[0])


def test_scipy_takes_the_operators():
    ggn, b = curvature(BATCHES).ggn, np.ones(43)
    x, failed = cg(ggn, ggn @ b, rtol=1e-8)
    assert not failed
    assert np.allclose(ggn @ x, ggn @ b, atol=1e-6)


# -- Kronecker operators -------------------------------------------------------------------------------------------


def test_what_a_kronecker_operator_tells_is_that_of_its_matrix():
    C = optim.KroneckerOperator(curvature(BATCHES).kflr.factors, 0.2)
    p = C.shape[0]
    A = C @ np.eye(p)
    np.testing.assert_allclose(C.diagonal(), np.diag(A))
    np.testing.assert_allclose(C.norm(), np.linalg.norm(A))
    np.testing.assert_allclose(C.trace(), np.trace(A))
    np.testing.assert_allclose(C.logdet(), np.linalg.slogdet(A)[1])
    values = np.linalg.eigvalsh(A)
    np.testing.assert_allclose(np.sort(C.eigenvalues()), values)
    root = C.function(np.sqrt)
    np.testing.assert_allclose(root @ (root @ np.eye(p)), A, atol=1e-12)
    for which, expected in (("LA", values[-4:]), ("SA", values[:4])):
        found, vectors = C.eigsh(4, which)
        np.testing.assert_allclose(found, expected)
        np.testing.assert_allclose(A @ vectors, vectors * found, atol=1e-12)
    np.testing.assert_allclose(C.inverse(0.3) @ A, np.linalg.inv(A + 0.3 * np.eye(p)) @ A, atol=1e-12)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (iter(BATCHES), TypeError, "read only once.*list"),
        (((x, t) for x, t in BATCHES), TypeError, "generator.*read only once"),
        (nn.data.batches(X, T, 4, passes=1), TypeError, "Batches.*read only once"),
        (X, TypeError, "must be"),
        (3, TypeError, "must be"),
        ((X, T, T), TypeError, "a tuple is one batch"),
        ([X, T], TypeError, "must be .x, t."),
        ([], ValueError, "no batches"),
        ([(X[:0], T[:0])], ValueError, "no cases"),
    ],
)
def test_data_that_are_none(data, error, message):
    with pytest.raises(error, match=message):
        curvature(data)


def test_data_that_change():
    class Shrinking(Again):
        def __iter__(self):
            self.batches = self.batches[:-1]
            return iter(self.batches)

    C = curvature(Shrinking([*BATCHES, BATCHES[0]]), cases_in_memory=4)
    with pytest.raises(ValueError, match="the same each time"):
        C.ggn.dense()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: curvature(blocks="block"), ValueError, "blocks"),
        (lambda: curvature(cases_in_memory=0), ValueError, "cases_in_memory"),
        (lambda: curvature(progress=True), TypeError, "progress"),
        (lambda: curvature().fisher(0), ValueError, "samples"),
        (lambda: curvature().ggn.blocks(), ValueError, 'blocks="layer"'),
        (lambda: curvature().ggn.inverse(-1.0), ValueError, "damping"),
        (lambda: curvature().ggn.inverse(1.0, "qr"), ValueError, "method"),
        (lambda: curvature().ggn.inverse(1.0, rtol=0.0), ValueError, "rtol"),
        (lambda: curvature().ggn.inverse(1.0, preconditioner="jacobi"), ValueError, "preconditioner"),
        (lambda: curvature().ggn.trace("girard"), ValueError, "method"),
        (lambda: curvature().ggn.trace(products=1), ValueError, "products"),
        (lambda: curvature().ggn.norm("xtrace"), ValueError, "method"),
        (lambda: curvature().ggn.diagonal("hutch++"), ValueError, "method"),
        (lambda: curvature().hessian.logdet(1e-3), ValueError, "not positive definite"),
        (lambda: curvature().hessian.logdet(1e-3, "exact"), ValueError, "not positive definite"),
        (lambda: curvature().ggn.eigsh(43), ValueError, "below"),
        (lambda: curvature().ggn.eigsh(2, "XX"), ValueError, "which"),
        (lambda: curvature().ggn.trace(rng=0), TypeError, "rng"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_loss_without_sampling_has_a_fisher_by_signs():
    def loss(z, t):
        return np.mean(np.logaddexp(0, -z[:, 0] * t))

    t = np.where(T > 0, 1.0, -1.0)
    C = optim.Curvature(net(), loss, (X, t))
    F, G = C.fisher(3000).dense(), C.ggn.dense()
    assert np.linalg.norm(F - G) < 0.1 * np.linalg.norm(G)


def test_a_function_without_cases_has_no_factors_and_an_inverse_without_them():
    w = RNG.standard_normal(4)
    C = optim.Curvature(optim.Function(lambda p, x: p["w"] ** 2, {"w": w}), lambda z, t: np.sum(z * z), (None, None))
    np.testing.assert_allclose(C.ggn.dense(), np.diag(8 * w**2), atol=1e-12)
    np.testing.assert_allclose(C.hessian.diagonal("exact"), 12 * w**2)
    np.testing.assert_allclose(C.ggn.inverse(0.1, rtol=1e-10) @ np.ones(4), 1 / (8 * w**2 + 0.1))
    with pytest.raises(TypeError, match="a row for each of the 1 cases"):
        C.ggn.inverse(0.1, preconditioner="kfac")


def test_parameters_without_a_block_have_a_diagonal_and_an_inverse():
    params = {"W": RNG.standard_normal((4, 3)), "scale": np.ones(3), "unused": np.ones(2)}
    model = optim.Function(lambda p, x: np.tanh(x @ p["W"]) * p["scale"], params)
    C = optim.Curvature(model, LOSS, BATCHES)
    G = C.ggn.dense()
    kflr = C.kflr @ np.eye(len(G))
    scale = slice(12, 15) if list(params)[1] == "scale" else None
    np.testing.assert_allclose(kflr[scale, scale], np.diag(np.diag(G)[scale]), atol=1e-13)
    found = C.ggn.inverse(0.1, rtol=1e-10) @ np.eye(len(G))
    np.testing.assert_allclose(found, np.linalg.inv(G + 0.1 * np.eye(len(G))), atol=1e-7)


def masked(z, t):
    """A mean over the cases of two classes."""
    k = t > 0
    return -np.sum(rmad.log_softmax(z, axis=-1)[np.nonzero(k)[0], t[k]]) / max(1, np.sum(k))


NO_MEANS = {"sum": lambda z, t: np.sum((z - np.eye(CLASSES)[t]) ** 2), "masked": masked}


@pytest.mark.parametrize("how", [{}, {"cases_in_memory": 6}, {"cases_in_memory": 9}], ids=str)
@pytest.mark.parametrize("name", NO_MEANS)
def test_a_loss_that_is_no_mean_over_cases_takes_one_batch(name, how):
    """The mean over batches of what it is on each would depend on how the data are cut."""
    loss, v = NO_MEANS[name], np.ones(43)
    whole = optim.Curvature(net(), loss, (X, T))
    assert whole.value == pytest.approx(loss(net()(X), T), rel=1e-12)
    np.testing.assert_allclose(whole.ggn @ v, optim.Objective(net(), loss).quadratic(X, T).ggn @ v, rtol=1e-12)
    with pytest.raises(ValueError, match=r"the loss (masked|<lambda>) is no mean over cases.*pass one batch"):
        optim.Curvature(net(), loss, BATCHES, **how).ggn @ v


def test_a_mean_that_does_not_say_so_takes_several_batches():
    def loss(z, t):
        return np.mean((np.tanh(z) - np.eye(CLASSES)[t]) ** 2)

    v = np.ones(43)
    wanted = optim.Objective(net(), loss).quadratic(X, T).ggn @ v
    for how in ({}, {"cases_in_memory": 6}, {"cases_in_memory": 9}):
        found = optim.Curvature(net(), loss, BATCHES, **how)
        assert found.value == pytest.approx(loss(net()(X), T), rel=1e-12)
        np.testing.assert_allclose(found.ggn @ v, wanted, rtol=1e-10)


def test_lsmr_solves_what_its_own_measure_does_not_see():
    """‖A r‖ is small where A is, however large r is there."""
    d = np.array([1.0, 1e-6])
    model = optim.Function(lambda p, x: x * p["w"], {"w": np.ones(2)})
    inverse = optim.Curvature(model, nn.SquaredError(), (np.sqrt(d)[None], np.zeros((1, 2)))).ggn.inverse(1e-6, "lsmr")
    np.testing.assert_allclose(inverse @ np.ones(2), 1 / (d + 1e-6), rtol=1e-5)
    assert inverse.residual <= inverse.rtol
