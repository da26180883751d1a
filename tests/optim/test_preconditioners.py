"""Diagonals of the curvature against dense matrices, and P in use. Section 11."""

import numpy as np
import pytest

import nn
import optim
from optim.parts.cg import pcg
from optim.parts.directions import Subproblem
from optim.parts.estimate import kronecker_factors
from optim.parts.preconditioner import Diagonals

LOSSES = {
    "squared": (nn.SquaredError, lambda rng, z: rng.standard_normal(z.shape)),
    "sigmoid": (nn.SigmoidCrossEntropy, lambda rng, z: rng.random(z.shape)),
    "softmax": (nn.SoftmaxCrossEntropy, lambda rng, z: rng.integers(0, z.shape[1], len(z))),
    "clipped callable": (lambda: optim.ClippedCurvature(lambda z, t: np.sum(np.exp(z) - z * t) / len(z)), None),
    "sqrt_hessian alone": (lambda: OnlyColumns(), lambda rng, z: rng.integers(0, z.shape[1], len(z))),
}


class OnlyColumns:
    """Softmax cross-entropy that has nothing but what the protocol asks for."""

    def __init__(self):
        loss = nn.SoftmaxCrossEntropy()
        self.value, self.gradient, self.sqrt_hessian = loss.value, loss.gradient, loss.sqrt_hessian
        self.hessian_product = loss.hessian_product


def losses(*costly):
    """Names of LOSSES, for `case`: of those that are costly the test is slow."""
    marks = dict.fromkeys(costly, pytest.mark.slow)
    return [pytest.param(name, marks=marks.get(name, ())) for name in LOSSES]


@pytest.fixture(params=LOSSES)
def case(request, problem):
    """objective, x, t, and diag(G) from the dense matrix."""
    make, targets = LOSSES[request.param]
    rng, z = np.random.default_rng(0), problem.model(problem.x)
    t = problem.t if targets is None else targets(rng, z)
    objective = optim.Objective(problem.model, make(), threads=1)
    q = objective.quadratic(problem.x, t)
    return objective, problem.x, t, np.diag(q.ggn @ np.eye(objective.size)).copy()


def test_exact_diagonal(case):
    objective, x, t, expected = case
    np.testing.assert_allclose(optim.ExactDiagonal().estimate(objective.quadratic(x, t), (0,)), expected, rtol=1e-10)


@pytest.mark.parametrize("case", losses("clipped callable"), indirect=True)
def test_the_estimate_of_chapelle_and_erhan_is_unbiased(case):
    """The mean of many probes approaches diag(G) as 1/√probes: the error is what its spread says."""
    objective, x, t, expected = case
    q = objective.quadratic(x, t)
    draws = np.array([optim.UnbiasedDiagonal().estimate(q, (seed,)) for seed in range(300)])
    spread = draws.std(axis=0) / np.sqrt(len(draws))
    z = (draws.mean(axis=0) - expected) / np.maximum(spread, 1e-12 * expected.max())
    assert np.abs(z[spread > 1e-9 * expected]).max(initial=0) < 4.5
    flat = spread <= 1e-9 * expected  # one column of L″^½ meets the parameter: no chance in it
    np.testing.assert_allclose(draws.mean(axis=0)[flat], expected[flat], rtol=1e-6)


@pytest.mark.parametrize("case", losses("clipped callable"), indirect=True)
def test_more_probes_are_closer(case):
    objective, x, t, expected = case
    q = objective.quadratic(x, t)

    def error(probes):
        kind = optim.UnbiasedDiagonal(probes=probes)
        return np.mean([np.sum((kind.estimate(q, (seed,)) - expected) ** 2) for seed in range(12)])

    few, many = error(1), error(16)
    assert few == 0 or 16 / 3 < few / many < 16 * 3  # the variance falls as 1/probes


@pytest.mark.parametrize("kind", [optim.EmpiricalFisher(), optim.UnbiasedDiagonal(probes=2), optim.ExactDiagonal()])
def test_parts_of_the_batch_change_nothing(problem, kind):
    """Also the probes: a case has its own, whatever chunk it comes in."""
    whole = optim.Objective(problem.model, nn.SquaredError(), threads=1)
    chunks = optim.Objective(problem.model, nn.SquaredError(), threads=1, cases_in_memory=7)
    found = [kind.estimate(o.quadratic(problem.x, problem.t), (3, 1)) for o in (whole, chunks)]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_diagonal_is_found_once(problem, monkeypatch):
    q = optim.Objective(problem.model, problem.loss).quadratic(problem.x, problem.t)
    calls = []
    monkeypatch.setattr(optim.Quadratic, "squared_gradients", lambda q: calls.append(1) or np.ones(q.objective.size))
    diagonals = Diagonals(q)
    for kind in (optim.EmpiricalFisher(), optim.EmpiricalFisher(exponent=1.0)):
        diagonals.of(kind)
    assert len(calls) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exponent_and_kappa(make_problem, dtype):
    problem = make_problem(dtype)
    diagonals = Diagonals(optim.Objective(problem.model, problem.loss).quadratic(problem.x, problem.t))
    d = diagonals.of(optim.EmpiricalFisher()).copy()
    found = optim.EmpiricalFisher(exponent=0.5, kappa=0.2).inverse(diagonals, 0.3)
    np.testing.assert_allclose(found, (d + 0.5) ** -0.5, rtol=1e-5 if dtype == np.float32 else 1e-12)
    assert found.dtype == dtype
    np.testing.assert_array_equal(optim.EmpiricalFisher(exponent=0.0).inverse(diagonals, 0.3), np.ones_like(d))
    np.testing.assert_array_equal(diagonals.of(optim.EmpiricalFisher()), d)  # not written into


def test_the_exact_diagonal_of_a_diagonal_problem_solves_it_in_one_step(make_quadratic):
    """Section 11: CG cannot see that the curvature is diagonal; P = diag(G) with ξ = 1 does all of its work."""
    d = np.geomspace(1e-2, 1e2, 20)

    def error(preconditioner):
        """The error of θ after one step of CG, relative to the solution 1/√d."""
        model = optim.Function(lambda p, x: x * p["theta"], {"theta": np.zeros(20)})
        loss = optim.ClippedCurvature(lambda z, t: 0.5 * np.sum(z**2) / len(z) - np.sum(z) / len(z))
        opt = optim.HessianFree(model, loss, damping=0.0, cg_iterations=1, preconditioner=preconditioner)
        opt.step(np.sqrt(d)[None, :])
        return np.linalg.norm(model.params["theta"] * np.sqrt(d) - 1)

    assert error(optim.ExactDiagonal(exponent=1.0)) < 1e-9
    assert error(False) > 1


@pytest.mark.parametrize("method", ["kflr", "kfra"])
@pytest.mark.parametrize("make", [optim.HessianFree, optim.SGN])
def test_kronecker_factors_of_one_linear_layer_solve_it_in_one_step(method, make):
    """There G = A ⊗ L″ is a Kronecker product itself, so that P = G + λI; for a diagonal one step is not enough."""
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((50, 6)) * np.logspace(-1, 1, 6), rng.standard_normal((50, 4))

    def error(preconditioner):
        """The error of δ after one step of CG, relative to the solution."""
        model = nn.Linear(6, 4, rng=np.random.default_rng(1), dtype=np.float64)
        opt = make(model, nn.SquaredError(), damping=0.01, preconditioner=preconditioner, cg_iterations=1)
        q, theta = opt.objective.quadratic(x, t), opt.objective.flat()
        solution = -np.linalg.solve(q.ggn @ np.eye(28) + 0.01 * np.eye(28), q.gradient)
        opt.step(x, t)
        return np.linalg.norm(opt.objective.flat() - theta - solution) / np.linalg.norm(solution)

    assert error(optim.KroneckerPreconditioner(method, exact=True)) < 1e-10
    assert error(optim.ExactDiagonal(exponent=1.0)) > 0.2


@pytest.mark.parametrize("method", ["kfac", "kflr", "kfra"])
def test_kronecker_factors_get_further_in_the_same_steps(method):
    """A deep net with inputs of several scales: φ after 8 steps is below that with a diagonal."""
    rng = np.random.default_rng(1)
    x, t = rng.standard_normal((200, 12)) * np.logspace(-2, 1, 12), rng.standard_normal((200, 5))
    model = nn.models.mlp((12, 10, 10, 5), rng=rng, dtype=np.float64)
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, t)

    def phi(preconditioner):
        inverse_P = preconditioner.inverse(Diagonals(q), 1e-3)
        return pcg(q.ggn_product, -q.gradient, None, inverse_P, damping=1e-3, iterations=8).iterates[-1].phi

    assert phi(optim.KroneckerPreconditioner(method)) < 1.03 * phi(optim.EmpiricalFisher()) < 0


class AsOperator:
    """A diagonal P⁻¹ by apply(r, out), as Kronecker factors come."""

    def __init__(self, inverse_P):
        self.inverse_P = inverse_P

    def apply(self, r, out):
        np.multiply(r, self.inverse_P, out=out)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize(
    "direction", [optim.ConjugateGradient(), optim.KrylovSubspace(6), optim.SteihaugToint(0.8)], ids=str
)
def test_an_operator_serves_every_direction_as_a_diagonal_does(direction, warm):
    rng = np.random.default_rng(3)
    A = np.diag(np.geomspace(0.1, 10, 20)) + 0.01
    b, x0 = rng.standard_normal(20), rng.standard_normal(20) if warm else None

    def found(inverse_P):
        def f(delta):
            return delta @ A @ delta / 2 - b @ delta, A @ delta - b

        product = lambda v, out: np.matmul(A, v, out=out)  # noqa: E731
        return direction(Subproblem(product, b, f, 0.5, x0, inverse_P, iterations=7)).x

    inverse_P = np.linspace(0.2, 2, 20)
    np.testing.assert_allclose(found(AsOperator(inverse_P)), found(inverse_P), rtol=1e-9)
    assert np.linalg.norm(found(AsOperator(inverse_P)) - found(None)) > 1e-3


def test_a_preconditioner_that_is_not_finite_rejects_the_step(problem, monkeypatch):
    broken = kronecker_factors

    def estimate(*args, **options):
        factors = broken(*args, **options)
        factors.blocks[0].A[0, 0] = np.nan
        return factors

    monkeypatch.setattr("optim.parts.preconditioner.kronecker_factors", estimate)
    opt = optim.HessianFree(problem.model, problem.loss, preconditioner=optim.KroneckerPreconditioner("kflr"))
    with pytest.warns(RuntimeWarning, match="non-finite preconditioner"):
        assert opt.step(problem.x, problem.t).rejected


@pytest.mark.parametrize("method", ["kfac", "kflr", "kfra"])
def test_kronecker_factors_in_sgn(method):
    """Three CG steps with them go further than three without: a badly scaled problem, the same damping."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 5)) * np.logspace(-1.5, 1, 5)
    t = np.tanh(x / np.logspace(-1.5, 1, 5)) @ rng.standard_normal((5, 2))
    last = []
    for P in (False, optim.KroneckerPreconditioner(method)):
        kw = {"rng": np.random.default_rng(1), "dtype": np.float64}
        model = nn.Sequential(nn.Linear(5, 6, **kw), nn.Tanh(), nn.Linear(6, 2, **kw))
        opt = optim.SGN(model, nn.SquaredError(), cg_iterations=3, damping=1e-3, preconditioner=P)
        last.append([opt.step(x, t) for _ in range(15)][-1].loss)
    assert last[1] < last[0] / 2


def test_a_loss_without_columns_is_refused(problem):
    opt = optim.HessianFree(problem.model, problem.loss, preconditioner=optim.ExactDiagonal())
    with pytest.raises(ValueError, match=r"HalfSquares does not have; optim.ClippedCurvature\(loss\) adds one"):
        opt.step(problem.x, problem.t)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.EmpiricalFisher(exponent=1.5), "exponent must be ≤ 1, got 1.5"),
        (lambda: optim.ExactDiagonal(exponent=-0.5), "exponent must be ≥ 0, got -0.5"),
        (lambda: optim.EmpiricalFisher(kappa=-1.0), "kappa must be ≥ 0, got -1.0"),
        (lambda: optim.UnbiasedDiagonal(probes=0), "probes must be ≥ 1, got 0"),
        (lambda: optim.KroneckerPreconditioner("fisher"), "estimate must be one of kfac, .*, got 'fisher'"),
        (lambda: optim.UnbiasedDiagonal(probes=1.5), "probes must be a whole number, got 1.5"),
        (lambda: optim.KroneckerPreconditioner(samples=0), "samples must be ≥ 1, got 0"),
        (lambda: optim.KroneckerPreconditioner(samples=1.5), "samples must be a whole number, got 1.5"),
    ],
)
def test_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()
