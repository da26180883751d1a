"""rmad's derivatives as SciPy's solvers take them: as they stand, with args, keywords and starts of integers.

Each solver must use them (f is evaluated less often than with its own differences) and find the same.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from scipy import integrate, optimize, sparse
from scipy.sparse.linalg import LinearOperator, splu

import rmad

T = np.linspace(0, 4, 50)
TRUE = np.array([2.5, 1.3, 0.5])


def model(t, a, b, c):
    return a * np.exp(-b * t) + c


Y = model(T, *TRUE) + 0.05 * np.random.default_rng(0).normal(size=50)


class Counted:
    """A function that counts its calls by a solver: those with plain arrays."""

    def __init__(self, f):
        self.f, self.calls = f, 0

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.f(*args, **kwargs)


def less_often(f, solve, derivative, atol=1e-4, **own):
    """solve(f, **derivative) and solve(f, **own) find the same, the first with fewer calls of f."""
    ours, theirs = Counted(f), Counted(f)
    found, expected = solve(ours, **derivative), solve(theirs, **own)
    np.testing.assert_allclose(found, expected, atol=atol)
    assert ours.calls < theirs.calls


# -- fits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argnums", [(1, 2, 3), range(1, 4), [-3, -2, -1]])
def test_curve_fit(argnums):
    """The start holds integers, which SciPy passes on."""
    jac = rmad.jacobian(model, argnums=argnums, flat=True)
    less_often(model, lambda f, **k: optimize.curve_fit(f, T, Y, [1, 1, 0], **k)[0], {"jac": jac})
    assert jac(T, 1, 2.0, 3).shape == (50, 1)  # only 2.0 can be differentiated outside of a solver


@pytest.mark.parametrize("options", [{"sigma": np.linspace(1, 2, 50)}, {"bounds": (0, [9, 9, 9.0])}])
def test_curve_fit_with_options(options):
    """Any number of parameters: one vector of them."""

    def of_vector(t, *p):
        return model(t, *p)

    jac = rmad.jacobian(of_vector, argnums=range(1, 4), flat=True)
    less_often(of_vector, lambda f, **k: optimize.curve_fit(f, T, Y, [1, 1, 0.1], **options, **k)[0], {"jac": jac})


def residuals(p, t, y, scale=1.0):
    return scale * (model(t, *p) - y)


DERIVATIVES = {
    "dense": rmad.jacobian(residuals),
    "sparse": rmad.sparse_jacobian(residuals),
    "operator": partial(rmad.JacobianOperator, residuals),
}


@pytest.mark.parametrize("kind", DERIVATIVES)
@pytest.mark.parametrize(
    "options", [{"method": "trf"}, {"loss": "cauchy", "bounds": (0, 9)}, {"loss": "soft_l1", "method": "dogbox"}]
)
def test_least_squares(kind, options):
    def solve(f, **derivative):
        linear = {} if kind == "dense" else {"tr_solver": "lsmr"}
        given = {"args": (T, Y), "kwargs": {"scale": 2.0}, **linear, **options}
        return optimize.least_squares(f, [1, 1, 1], **given, **derivative).x

    less_often(residuals, solve, {"jac": DERIVATIVES[kind]})


def test_levenberg_marquardt():
    jac = DERIVATIVES["dense"]
    less_often(
        residuals, lambda f, **k: optimize.least_squares(f, [1, 1, 1], args=(T, Y), method="lm", **k).x, {"jac": jac}
    )
    less_often(residuals, lambda f, **k: optimize.leastsq(f, [1, 1, 1], args=(T, Y), **k)[0], {"Dfun": jac})


# -- minima -----------------------------------------------------------------------------------------------------------


def rosenbrock(x, c=100.0):
    return np.sum(c * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def minimum(f, **options):
    return optimize.minimize(f, [0, 0, 0, 0], args=(50.0,), **options).x


@pytest.mark.parametrize("method", ["CG", "BFGS", "L-BFGS-B", "TNC", "SLSQP"])
def test_gradients(method):
    less_often(rosenbrock, partial(minimum, method=method), {"jac": rmad.grad(rosenbrock)}, atol=1e-2)
    np.testing.assert_allclose(minimum(rmad.value_and_grad(rosenbrock), jac=True, method=method), 1, atol=1e-2)


SECOND = {
    "dense": {"hess": rmad.hessian(rosenbrock)},
    "operator": {"hess": partial(rmad.HessianOperator, rosenbrock)},
    "product": {"hessp": partial(rmad.hvp, rosenbrock)},
    "sparse": {"hess": rmad.sparse_hessian(rosenbrock)},
}
SPARSE_TOO = ("Newton-CG", "trust-constr")


@pytest.mark.parametrize("method", ["Newton-CG", "trust-ncg", "trust-krylov", "trust-constr", "trust-exact"])
@pytest.mark.parametrize("kind", SECOND)
def test_second_derivatives(method, kind):
    if (method == "trust-exact" and kind != "dense") or (method in ("trust-ncg", "trust-krylov") and kind == "sparse"):
        pytest.skip("SciPy does not take these together")
    start = [0.9, 0.8, 0.7, 0.5]
    found = optimize.minimize(rosenbrock, start, method=method, jac=rmad.grad(rosenbrock), tol=1e-5, **SECOND[kind])
    np.testing.assert_allclose(found.x, 1, atol=1e-3)


def bounded_list(x):
    """As in SciPy's manual: a list of numbers."""
    return [x[0] ** 2 + x[1], x[0] ** 2 - x[1]]


def bounded(x):
    return np.array(bounded_list(x))


def weighted(x, v):
    return np.dot(v, bounded_list(x))


@pytest.mark.parametrize(
    ("c", "kind"), [(bounded, "dense"), (bounded_list, "dense"), (bounded_list, "sparse"), (bounded, "operator")]
)
def test_constraints_of_trust_constr(c, kind):
    jac, hess = {
        "dense": (rmad.jacobian(c), rmad.hessian(weighted)),
        "sparse": (rmad.sparse_jacobian(c), rmad.sparse_hessian(weighted)),
        "operator": (rmad.jacobian(c), partial(rmad.HessianOperator, weighted)),
    }[kind]
    inside = optimize.NonlinearConstraint(c, -np.inf, 1, jac=jac, hess=hess)
    found = optimize.minimize(
        rosenbrock, [0.5, 0], jac=rmad.grad(rosenbrock), constraints=inside, method="trust-constr"
    )
    np.testing.assert_allclose(found.x, [0.70747, 0.49948], atol=1e-4)


@pytest.mark.parametrize("c", [bounded, bounded_list])
def test_constraints_of_slsqp(c):
    def room(x, most):
        return most - np.array(c(x))

    for inside in (
        optimize.NonlinearConstraint(c, -np.inf, 1, jac=rmad.jacobian(c)),
        {"type": "ineq", "fun": room, "jac": rmad.jacobian(room), "args": (1.0,)},
    ):
        found = optimize.minimize(rosenbrock, [0.5, 0], jac=rmad.grad(rosenbrock), constraints=inside, method="SLSQP")
        np.testing.assert_allclose(found.x, [0.70747, 0.49948], atol=1e-4)


# -- roots ------------------------------------------------------------------------------------------------------------


def system(z, a):
    return np.array(system_as_list(z, a))


def system_as_list(z, a):
    return [z[0] + 0.5 * (z[0] - z[1]) ** 3 - a, 0.5 * (z[1] - z[0]) ** 3 + z[1]]


@pytest.mark.parametrize("f", [system, system_as_list])
def test_roots_from_a_start_of_integers(f):
    jac = rmad.jacobian(f)
    for method in ("hybr", "lm"):
        less_often(f, lambda f, **k: optimize.root(f, [0, 0], args=(1.0,), **k).x, {"jac": jac, "method": method})
    less_often(f, lambda f, **k: optimize.fsolve(f, [0, 0], args=(1.0,), **k), {"fprime": jac})


def test_integers_are_constants_elsewhere():
    for derivative in (rmad.jacobian(system), rmad.sparse_jacobian(system), rmad.grad(weighted)):
        with pytest.raises(TypeError, match="nothing to differentiate: x is int64"):
            derivative(np.array([0, 0]), 1.0)


def cubic(z, a):
    return z**3 - a


@pytest.mark.parametrize("method", ["newton", "halley"])
def test_roots_of_numbers(method):
    more = {"fprime2": rmad.hessian(cubic)} if method == "halley" else {}
    found = optimize.root_scalar(cubic, x0=1, fprime=rmad.grad(cubic), args=(2,), method=method, **more)
    assert np.isclose(found.root, np.cbrt(2))


def test_newtons_method_for_many_numbers():
    found = optimize.newton(cubic, [1, 1, 1], fprime=rmad.jacobian(cubic, points=0), args=(np.arange(1.0, 4),))
    np.testing.assert_allclose(found, np.cbrt([1, 2, 3]))


def test_newton_krylov_with_a_preconditioner():
    n = 60
    L = sparse.diags_array([1.0, -2, 1], offsets=[-1, 0, 1], shape=(n, n)).tocsr() * (n + 1) ** 2

    def bratu(u):
        return L @ u + 3 * np.exp(u)

    def solve(f, **options):
        return optimize.newton_krylov(f, np.zeros(n), f_tol=1e-8, **options)

    inverse = splu(rmad.sparse_jacobian(bratu)(np.zeros(n)).tocsc())
    less_often(bratu, solve, {"inner_M": LinearOperator((n, n), inverse.solve)})


# -- differential equations -------------------------------------------------------------------------------------------


def van_der_pol(t, y, mu):
    return np.array(van_der_pol_as_list(t, y, mu))


def van_der_pol_as_list(t, y, mu):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


@pytest.mark.parametrize("f", [van_der_pol, van_der_pol_as_list])
@pytest.mark.parametrize("method", ["Radau", "BDF", "LSODA"])
@pytest.mark.parametrize("kind", [rmad.jacobian, rmad.sparse_jacobian])
def test_implicit_methods(f, method, kind):
    if method == "LSODA" and kind is rmad.sparse_jacobian:
        pytest.skip("SciPy does not take these together")

    def solve(f, **options):
        return integrate.solve_ivp(f, (0, 2), [2, 0], args=(10.0,), method=method, **options).y[:, -1]

    less_often(f, solve, {"jac": kind(f, argnums=1)}, atol=1e-3)


@pytest.mark.parametrize("f", [van_der_pol, van_der_pol_as_list])
def test_odeint(f):
    def solve(f, **options):
        return integrate.odeint(f, [2, 0], [0, 9.0], args=(300.0,), tfirst=True, **options)[-1]

    less_often(f, solve, {"Dfun": rmad.jacobian(f, argnums=1)}, atol=1e-3)


def bratu(x, y, p):
    return np.vstack((y[1], -p[0] * np.exp(y[0]) * (1 + x)))


def at_ends(ya, yb, p):
    return np.array([ya[0], yb[0], ya[1] - 1])


def test_boundary_values_with_an_unknown_parameter():
    def solve(f, **options):
        x = np.linspace(0, 1, 7)
        return integrate.solve_bvp(f, at_ends, x, np.zeros((2, 7)), p=[1.0], tol=1e-6, **options).p

    derivatives = {
        "fun_jac": rmad.jacobian(bratu, argnums=(1, 2), points=(0, 1)),
        "bc_jac": rmad.jacobian(at_ends, argnums=(0, 1, 2)),
    }
    less_often(bratu, solve, derivatives)


# -- jacobian(points=), jacobian(flat=) -------------------------------------------------------------------------------


def test_derivatives_at_points():
    """Equal to the dense one, of which they are the blocks on the diagonal; trees and outer derivatives pass."""
    y, p = np.random.default_rng(1).normal(size=(2, 5)), np.array([0.3])
    x = np.linspace(0, 1, 5)
    of_y, of_p = rmad.jacobian(bratu, argnums=(1, 2), points=1)(x, y, p)
    dense, shared = rmad.jacobian(bratu, argnums=(1, 2))(x, y, p)
    np.testing.assert_array_equal(of_y, np.einsum("imjm->ijm", dense))
    np.testing.assert_array_equal(of_p, np.moveaxis(shared, 1, -1))
    of_tree = rmad.jacobian(lambda t: {"b": bratu(x, t["y"], p), "one": np.ones((3, 5))}, points=0)({"y": y})
    np.testing.assert_array_equal(of_tree["b"]["y"], of_y)
    assert not of_tree["one"]["y"].any()
    assert of_tree["one"]["y"].shape == (3, 2, 5)
    rmad.check_grads(lambda y: np.sin(rmad.jacobian(lambda y: bratu(x, y, p), points=0)(y)), y)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: rmad.jacobian(bratu, 1, points=(0, 1))(T, Y[:3], TRUE), ValueError, "argument 0 has 50 points"),
        (lambda: rmad.jacobian(lambda y: y[:, :2], points=0)(np.ones((2, 3))), ValueError, "returned shape .2, 2"),
        (lambda: rmad.jacobian(np.sum, points=0)(np.ones(3)), ValueError, "one column per point"),
        (lambda: rmad.jacobian(np.sin, points=0)(1.0), TypeError, "argument 0 is a number"),
        (lambda: rmad.jacobian(np.sin, points=1)(T), TypeError, "points names argument 1"),
        (lambda: rmad.jacobian(np.sin, points="0")(T), TypeError, "points must be an int"),
        (lambda: rmad.jacobian(np.sin, points=0, flat=True), TypeError, "no axis for points"),
    ],
)
def test_points_that_do_not_fit(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_flat_matrices():
    """In the order of rmad.ravel, by rows and by columns, nested, without the integers."""
    x = {"a": np.arange(6.0).reshape(2, 3) + 1, "n": np.arange(3), "b": np.float32(2)}

    def tall(x):
        return [np.outer(x["a"], x["a"][0]) * x["b"], {"c": x["b"] ** 2, "k": np.arange(2), "one": np.ones(2)}]

    def wide(x):
        return np.sum(x["a"] ** 2) * x["b"]

    flat, unravel = rmad.ravel(x)
    for f in (tall, wide):
        J = rmad.jacobian(f, flat=True)(x)
        columns = [rmad.ravel(rmad.jvp(f, x, unravel(e))[1])[0] for e in np.eye(7)]
        np.testing.assert_allclose(J, np.stack(columns, axis=1), rtol=1e-6)
    H = rmad.hessian(wide, flat=True)(x)
    np.testing.assert_allclose(H, [rmad.ravel(rmad.hvp(wide, x, unravel(e)))[0] for e in np.eye(7)], rtol=1e-6)
    rmad.check_grads(lambda a: rmad.jacobian(tall, flat=True)({**x, "a": a})[3:9], x["a"])
    assert rmad.jacobian(lambda x: np.arange(3), flat=True)(flat).shape == (0, 7)
    assert rmad.jacobian(np.sum, flat=True)(flat).shape == (1, 7)


# -- operators --------------------------------------------------------------------------------------------------------


def test_numpys_dot_multiplies_by_an_operator():
    """… on either side; NumPy's other functions take it as any other object."""
    H = rmad.HessianOperator(rosenbrock, T[:4])
    D = H @ np.eye(4)
    np.testing.assert_allclose(np.dot(H, T[:4]), D @ T[:4])
    np.testing.assert_allclose(np.dot(T[:4], 2 * H), 2 * D @ T[:4])
    assert np.ndim(H) == 2
    assert rmad.grad(lambda v: np.dot(H, v) @ v)(T[:4]).shape == (4,)


def test_keyword_arguments_of_operators():
    x, c = T[:4], 3.0
    for of in (rmad.HessianOperator(rosenbrock, x, c=c), rmad.HessianOperator(rosenbrock, x, c)):
        np.testing.assert_array_equal(of @ x, rmad.hvp(rosenbrock, x, x, c))
    J = rmad.JacobianOperator(residuals, TRUE, T, Y, scale=c)
    np.testing.assert_array_equal(J.value, residuals(TRUE, T, Y, c))
    G = rmad.GGNOperator(residuals, lambda z: np.sum(z**2) / 2, TRUE, T, Y, scale=c)
    np.testing.assert_allclose(G @ TRUE, J.T @ (J @ TRUE))
