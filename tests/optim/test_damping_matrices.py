"""λD for any D: scale-sensitive damping and its invariance, operators, the damped ratio. Sections 8.3 and 8.5."""

import math

import numpy as np
import pytest
from scipy.sparse.linalg import aslinearoperator

import optim
from optim.parts.damping import Penalty

EXACT = {"preconditioner": False, "cg_iterations": 300, "cg_tolerance": 0.0, "decay": 0.0, "backtracking": False}


def step(problem, damping, **options):
    opt = optim.HessianFree(problem.model, problem.loss, damping=damping, **(EXACT | options))
    theta = problem.theta
    info = opt.step(problem.x, problem.t)
    return (problem.theta - theta) / info.step_size, info


def spd(p, seed=3):
    A = np.random.default_rng(seed).standard_normal((p, p))
    return A @ A.T / p + np.eye(p)


@pytest.mark.parametrize("kind", ["array", "function", "matrix", "operator", "dense array"])
def test_any_matrix(problem, kind):
    _, gradient, G = problem.dense()
    p, lam = len(gradient), 0.3
    D = spd(p)
    d = np.diag(D).copy()
    given = {
        "array": d,
        "function": lambda q: d * (1 + 0 * q.theta),
        "matrix": lambda q: D,
        "operator": aslinearoperator(D),
        "dense array": D,
    }[kind]
    D = np.diag(d) if kind in ("array", "function") else D
    delta, info = step(problem, optim.MatrixDamping(lam, given))
    np.testing.assert_allclose(delta, np.linalg.solve(G + lam * D, -gradient), rtol=1e-5, atol=1e-8)
    M = gradient @ delta + 0.5 * delta @ G @ delta  # without λD: the undamped model
    f, f_new = info.loss, problem.f(problem.theta) if info.step_size == 1 else math.nan
    if info.step_size == 1:
        assert info.reduction_ratio == pytest.approx((f_new - f) / M, rel=1e-6)


@pytest.mark.parametrize("lam", [0.0, 1.0, 0.3])
def test_the_penalty(lam):
    """λ δᵀD δ for each kind of D."""
    delta, D = np.array([1.0, -2.0, 0.5]), spd(3)
    for matrix, wanted in ((None, delta @ delta), (np.diag(D), delta**2 @ np.diag(D)), (D, delta @ D @ delta)):
        assert float(Penalty(lam, matrix).quadratic_form(delta)) == pytest.approx(lam * wanted)


@pytest.mark.parametrize("lam", [1.0, 3.0])
def test_the_damped_ratio(problem, lam):
    """Section 8.5: M̂ in the denominator predicts less, so ρ is larger."""
    _, gradient, G = problem.dense()
    theta = problem.theta
    delta = np.linalg.solve(G + lam * np.eye(len(theta)), -gradient)
    change = problem.f(theta + delta) - problem.f(theta)
    damped = gradient @ delta + 0.5 * delta @ (G @ delta + lam * delta)
    info = optim.HessianFree(problem.model, problem.loss, damping=lam, ratio="damped", **EXACT).step(
        problem.x, problem.t
    )
    assert info.reduction_ratio == pytest.approx(change / damped, rel=1e-7)
    assert damped > gradient @ delta + 0.5 * delta @ G @ delta


def rescaled(problem, c):
    """The same net with parameters θ' = θ / c."""
    parts = {name: c_k for (name, _), c_k in zip(problem.params.items(), c, strict=True)}

    def forward(params, x):
        return problem.model.forward({name: parts[name] * a for name, a in params.items()}, x)

    return optim.Function(forward, {name: a / parts[name] for name, a in problem.params.items()})


@pytest.mark.parametrize("exact", [False, True])
def test_the_diagonal_of_the_curvature_makes_steps_free_of_units(make_problem, exact):
    """Section 8.3: D = diag(G) is invariant to diagonal reparameterizations; Tikhonov is not (section 8.2)."""
    import nn

    c = [100.0, 0.1, 1.0, 10.0]

    def moved(damping, units):
        problem = make_problem()
        model = rescaled(problem, units)
        before = model(problem.x)
        opt = optim.HessianFree(model, nn.SquaredError(), damping=damping(), **EXACT)
        opt.step(problem.x, problem.t)
        return model(problem.x) - before

    kind = optim.ExactDiagonal() if exact else optim.EmpiricalFisher()
    scaled = lambda: optim.DiagonalDamping(0.5, diagonal=kind, exponent=1.0)  # noqa: E731
    np.testing.assert_allclose(moved(scaled, c), moved(scaled, [1.0] * 4), rtol=1e-6, atol=1e-8)
    tikhonov = lambda: optim.Tikhonov(0.5)  # noqa: E731
    assert np.abs(moved(tikhonov, c) - moved(tikhonov, [1.0] * 4)).max() > 1e-2


def test_the_diagonal_of_the_curvature_makes_steps_free_of_the_scale_of_f(make_problem):
    def moved(scale, damping):
        problem = make_problem()
        opt = optim.HessianFree(problem.model, lambda z, t: scale * problem.loss.value(z, t), damping=damping, **EXACT)
        theta = problem.theta
        opt.step(problem.x, problem.t)
        return problem.theta - theta

    def scaled():
        return optim.DiagonalDamping(0.5, diagonal=Curvature(), exponent=1.0)

    np.testing.assert_allclose(moved(50.0, scaled()), moved(1.0, scaled()), rtol=1e-5, atol=1e-7)
    assert np.abs(moved(50.0, optim.Tikhonov(0.5)) - moved(1.0, optim.Tikhonov(0.5))).max() > 1e-3


class Curvature(optim.ExactDiagonal):
    """diag(G) by p products, for a loss without columns: any estimator can be written by a user."""

    def estimate(self, q, seed):
        return np.diag(q.ggn @ np.eye(q.objective.size)).copy()


def test_kappa_damps_what_the_diagonal_does_not_see(make_quadratic):
    """Section 8.3: diag(G) may vanish where the model is unbounded; κ holds the step there."""
    model = optim.Function(lambda p, x: p["a"] * x + 0 * p["b"], {"a": np.ones(1), "b": np.ones(1)})
    opt = optim.HessianFree(
        model,
        lambda z, t: 0.5 * np.mean(z**2),
        damping=optim.DiagonalDamping(1.0, diagonal=Curvature(), kappa=0.5, exponent=1.0),
        **EXACT,
    )
    q = opt.objective.quadratic(np.ones(3))
    from optim.parts.preconditioner import Diagonals

    np.testing.assert_allclose(opt._rule.matrix(q, Diagonals(q)), [1.5, 0.5])


def test_the_curvature_itself_as_damping_only_shortens_the_step(problem):
    """Section 8.3, D = B: B̂ = (1 + λ)B, and a run of CG from zero, converged or not, is scaled by 1 / (1 + λ)."""
    theta, steps = problem.theta, []
    for lam in (0.0, 0.5, 4.0):
        model = optim.Function(problem.model.forward, {k: a.copy() for k, a in problem.params.items()})
        damping = optim.MatrixDamping(lam, lambda q: q.ggn)
        opt = optim.HessianFree(model, problem.loss, damping=damping, **(EXACT | {"cg_iterations": 7}))
        info = opt.step(problem.x, problem.t)
        steps.append((opt.objective.flat() - theta) / info.step_size)
    np.testing.assert_allclose(steps[1], steps[0] / 1.5, rtol=1e-7)
    np.testing.assert_allclose(steps[2], steps[0] / 5.0, rtol=1e-7)


@pytest.mark.parametrize("kind", ["scales", "list", "function"])
def test_kappa_by_parameter_or_of_the_diagonal(problem, kind):
    """Section 11.2: κ diag(s) for known scales s; section 13: κ a hundredth of the mean of the diagonal."""
    q = optim.Objective(problem.model, problem.loss).quadratic(problem.x, problem.t)
    diagonals = optim.parts.preconditioner.Diagonals(q)
    d, s = diagonals.of(optim.EmpiricalFisher()).copy(), np.linspace(0, 2, q.objective.size)
    given = {"scales": s, "list": s.tolist(), "function": lambda d: 0.01 * d.mean()}[kind]
    added = 0.01 * (d + 0.3).mean() if kind == "function" else s
    P = optim.EmpiricalFisher(exponent=1.0, kappa=given).inverse(diagonals, 0.3)
    np.testing.assert_allclose(1 / P, d + 0.3 + added, rtol=1e-12)
    D = optim.DiagonalDamping(1.0, exponent=1.0, kappa=given).matrix(q, diagonals)
    np.testing.assert_allclose(D, d + (0.01 * d.mean() if kind == "function" else s), rtol=1e-12)


def test_the_preconditioner_knows_the_damping_matrix(problem):
    """Section 11.2: d approximates the diagonal of B + λD, where D is diagonal exactly."""
    D = np.linspace(0.5, 2, problem.theta.size)
    opt = optim.HessianFree(problem.model, problem.loss, damping=optim.MatrixDamping(0.7, D), l2=0.1)
    seen = []
    direction = opt.direction
    opt.direction = type("Spy", (optim.ConjugateGradient,), {"__call__": lambda s, p: seen.append(p) or direction(p)})()
    fisher = opt.objective.quadratic(problem.x, problem.t).squared_gradients()
    opt.step(problem.x, problem.t)
    np.testing.assert_allclose(seen[0].inverse_P, (fisher + 0.7 * D + 0.1) ** -0.75, rtol=1e-12)
    np.testing.assert_allclose(seen[0].damping, 0.7 * D)


def test_an_operator_without_a_diagonal_needs_no_preconditioner(problem):
    D = aslinearoperator(spd(problem.theta.size))
    damping = optim.MatrixDamping(0.1, D)
    chosen = optim.HessianFree(problem.model, problem.loss, damping=damping).step(problem.x, problem.t).choice
    assert "no preconditioner (damping: " in chosen
    opt = optim.HessianFree(problem.model, problem.loss, damping=damping, preconditioner=True)
    with pytest.raises(ValueError, match=r"D does not tell its own; give D a method diagonal\(\)"):
        opt.step(problem.x, problem.t)
    D.diagonal = lambda: np.ones(problem.theta.size)
    assert not opt.step(problem.x, problem.t).rejected


def test_the_rule_adapts_any_damping(problem):
    mine = optim.DiagonalDamping(1.0, minimum=0.3)
    opt = optim.HessianFree(problem.model, problem.loss, damping=mine)
    for _ in range(8):
        opt.step(problem.x, problem.t)
    assert opt.damping == 0.3
    assert mine.strength == 1.0  # the optimizer has a copy


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.Tikhonov(-1.0), "strength must be ≥ 0, got -1.0"),
        (lambda p: optim.Tikhonov(1.0, math.nan), "minimum must be ≥ 0, got nan"),
        (lambda p: optim.DiagonalDamping(1.0, exponent=-1.0), "exponent must be ≥ 0"),
        (lambda p: optim.DiagonalDamping(1.0, kappa=-1.0), "kappa must be ≥ 0"),
        (lambda p: optim.DiagonalDamping(1.0, kappa=np.array([1.0, -1.0])), "kappa must be a number"),
        (lambda p: optim.DiagonalDamping(1.0, kappa=[1.0, -1.0]), "kappa must be a number"),
        (lambda p: optim.DiagonalDamping(1.0, kappa=np.array([1j, 1.0])), "kappa must be a number"),
        (
            lambda p: optim.HessianFree(p.model, p.loss, damping=optim.DiagonalDamping(1.0, kappa=np.ones(5))).step(
                p.x, p.t
            ),
            r"kappa must be a number or \(43,\), got shape \(5,\)",
        ),
        (lambda p: optim.MatrixDamping(1.0, "much"), "D must be a"),
        (lambda p: optim.HessianFree(p.model, p.loss, ratio="both"), 'ratio must be "undamped" or "damped"'),
    ],
)
def test_out_of_range(problem, make, message):
    with pytest.raises(ValueError, match=message):
        make(problem)


def test_a_matrix_of_the_wrong_shape_is_refused(problem):
    opt = optim.HessianFree(problem.model, problem.loss, damping=optim.MatrixDamping(1.0, np.ones(5)))
    with pytest.raises(ValueError, match=r"D must be \(43,\) or \(43, 43\), got \(5,\)"):
        opt.step(problem.x, problem.t)
