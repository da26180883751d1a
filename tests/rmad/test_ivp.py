"""solve_ivp: SciPy's values to the last bit, and the derivative of the steps that were taken."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate

import rmad
from rmad import tuning
from rmad.solvers import columns, steps

METHODS = ["RK23", "RK45", "DOP853", "Radau"]
T = np.linspace(0.1, 1.9, 7)
# steps of one length, whatever y does; Radau also solves its equations to these tolerances
FIXED = {"rtol": 1e3, "atol": 1e3, "first_step": 0.5, "max_step": 0.5}
SHORT = {"rtol": 1e-7, "atol": 1e-9, "first_step": 0.03125, "max_step": 0.03125}


def lotka_volterra(t, y, a, b, c, d):
    return np.array([a * y[0] - b * y[0] * y[1], -c * y[1] + d * y[0] * y[1]])


Y0, ARGS = np.array([1.0, 0.5]), (1.0, 0.4, 1.5, 0.6)


def stage_by_stage(monkeypatch):
    monkeypatch.setattr(tuning, "COLUMNS_MOST", 0)


def of_both(fun, end=2, **options):
    """(y0, args) → y."""
    return lambda both: rmad.solve_ivp(fun, (0, end), both[0], args=both[1], **options).y


@pytest.mark.parametrize("ways", ["columns", "stages"])
@pytest.mark.parametrize("interpolated", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_derivatives(method, interpolated, ways, monkeypatch):
    """With steps of one length, differences see exactly what the tape repeats; second order too."""
    if ways == "stages":
        stage_by_stage(monkeypatch)
    end, options = (0.125, SHORT) if method == "Radau" else (1, FIXED)
    f = of_both(lotka_volterra, end, method=method, t_eval=T[:4] * end if interpolated else None, **options)
    rmad.check_grads(f, (Y0, ARGS), order=2)


# -- right-hand sides as people write them ---------------------------------------------------------------------------


def returns_a_list(t, y, p):
    return [y[1], -p[0] * np.sin(y[0]) - p[1] * y[1] + np.cos(t), 0.5]


def by_slices(t, y, p):
    d = np.zeros_like(y)
    d[1:-1] = p[0] * (y[2:] - 2 * y[1:-1] + y[:-2])
    d[0] = p[1] * (y[1] - y[0])
    return d


def of_unpacked(t, y, p):
    u, v, w = y
    a, b = p
    return np.stack([a * u - u * v, b * v * u - w, np.exp(-t) * np.tanh(w)])


def by_a_matrix(t, y, p):
    return np.array([[-1.0, p[0], 0.1], [0.2, -2.0, p[1]], [0.3, 0.4, -3.0]]) @ y


def with_a_norm(t, y, p):
    return -p[0] * y / np.sqrt(1 + np.sum(y**2)) + p[1] * np.roll(y, 1)


def with_branches(t, y, p):
    return np.array([p[0] * y[1], -y[0], y[2] * (p[1] if t < 1.01 else 2 * p[1])])


def with_an_array_of_rates(t, y, p):
    return -np.array([1.0, 2.0, 3.0]) * y * p[0] + p[1]


def with_the_mean(t, y, p):
    """All columns are the same where the states are: only their derivatives tell a mean over all of them."""
    return p[0] * (np.mean(y) - y) + 0 * p[1]


def in_place(t, y, p):
    y = y * p[0]
    y[0] += p[1]
    y *= -1
    return y


def into_zeros(t, y, p):
    d = np.zeros(3)
    for k in range(3):
        d[k] = p[k % 2] * y[k - 1]
    return d


def of_constants(t, y, p):
    return np.array([y[2], p[0], -p[1] * y[2]])


def by_rolling(t, y, p):
    return p[0] * (np.roll(y, 1) - 2 * y + np.roll(y, -1)) + p[1] * y * (1 - y)


def with_many_functions(t, y, p):
    near = np.concatenate([y[-1:], y[:-1]]) + np.zeros_like(y)
    rates = np.where(y > 0.1, p[0], p[1]) * np.clip(y, -1, 1) + np.interp(t, [0, 1, 2], [0.0, 1.0, 0.5])
    matrix = np.array([[0.1, 0.2, 0.0], [0.0, 0.1, 0.3], [0.2, 0.0, 0.1]])
    total = np.linalg.norm(y) + y.max() + np.dot(y, near) + np.sum(np.diff(y) ** 2) + y[:2].sum()
    both = np.hstack([near[:1], np.cumsum(y)[1:]]) @ matrix
    both -= matrix @ y
    both[0] = both[0] - y[2] * np.exp(-t)
    return rates - 0.1 * total * both + np.stack([y[0], 1.0, y[1]]) - np.array([1.0, y[0], y[1]]).sum()


def by_the_hour(t, y, p):
    """A rate from a table, which changes with time, and another one that depends on the state."""
    rate = [0.5, 1.0, 2.0, 0.3][min(int(2 * t), 3)]
    return -rate * p[0] * y + (p[1] if y[0] > 0.4 else np.roll(y, 1) * p[1])


def with_a_matrix(t, y, p):
    A = np.zeros((3, 3))
    A[0, 1], A[1, 0], A[2, 2] = p[0], -y[2], math.sin(t)
    return A @ y + p[1]


def of_a_float(t, y, p):
    return p[0] * y * float(t) + p[1]


COLUMNWISE = [returns_a_list, by_slices, of_unpacked, in_place, by_a_matrix]
LANEWISE = [
    with_branches,
    by_the_hour,
    with_a_norm,
    with_an_array_of_rates,
    with_the_mean,
    of_constants,
    by_rolling,
    with_many_functions,
]
SINGLY = [of_a_float]
PROGRAMS = [*COLUMNWISE, *LANEWISE, *SINGLY]
STATE, P = np.array([0.5, 0.8, -0.4]), np.array([0.7, 0.3])


def run_columns(monkeypatch):
    """A list that gets True or False for every attempt to call f with columns."""
    found, attempt = [], columns._derivatives

    def derivatives(*args):
        D = attempt(*args)
        found.append(D is not None)
        return D

    monkeypatch.setattr(columns, "_derivatives", derivatives)
    return found


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("f", PROGRAMS)
def test_values_are_scipys_and_both_ways_agree(f, method, monkeypatch):
    found = run_columns(monkeypatch)
    y0 = np.ones(3) if f is with_the_mean else STATE
    options = {"method": method, "t_eval": T, "rtol": 1e-6}
    wanted = scipy.integrate.solve_ivp(f, (0, 2), y0, args=(P,), **options)
    g = lambda both: rmad.solve_ivp(f, (0, 2), both[0], args=(both[1],), **options).y  # noqa: E731
    y, lin = rmad.linearize(g, (y0, P))
    np.testing.assert_array_equal(y, wanted.y)
    tried = [True] if f in COLUMNWISE else [False, f in LANEWISE]
    assert found == tried
    stage_by_stage(monkeypatch)
    again, single = rmad.linearize(g, (y0, P))
    np.testing.assert_array_equal(again, wanted.y)
    assert len(found) == len(tried)
    rng = np.random.default_rng(0)
    v, u = (rng.standard_normal(3), rng.standard_normal(2)), rng.standard_normal(y.shape)
    np.testing.assert_allclose(lin.Jv(v), single.Jv(v), rtol=0, atol=1e-9)
    for a, b in zip(lin.JTu(u), single.JTu(u), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["RK45", "Radau"])
def test_columns_a_few_at_a_time(method, monkeypatch):
    y0 = np.linspace(0, 1, 30) ** 2
    f = lambda both: rmad.solve_ivp(by_slices, (0, 1), both[0], args=(both[1],), method=method, rtol=1e-7).y[:, -1]  # noqa: E731
    wanted = rmad.jacobian(f)((y0, P))
    found, pushed = [], columns._pushed
    monkeypatch.setattr(columns, "_pushed", lambda *args: found.append(args[0].y.shape[1]) or pushed(*args))
    monkeypatch.setattr(tuning, "COLUMNS_AT_A_TIME", 100)
    J = rmad.jacobian(f)((y0, P))
    assert len(found) > 2
    assert set(found) <= {3, 4}
    for a, b in zip(J, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def with_a_switch(t, y, p):
    """Unknowns that depend on the next but one only at first: the pattern of one column is not all."""
    d = by_slices(t, y, p)
    d[:-2] = d[:-2] + np.maximum(0.05 - t, 0) * y[2:] ** 2
    return d


@pytest.mark.parametrize("kept", ["dense", "sparse"])
@pytest.mark.parametrize("method", ["RK45", "Radau"])
@pytest.mark.parametrize("f", [by_slices, with_a_switch])
def test_sparse_right_hand_sides(f, method, kept, monkeypatch):
    """A tangent for several unknowns at a time, if that gives all of ∂f/∂y."""
    counts, pushed = [], columns._pushed

    def counted(record, groups, pattern):
        D = pushed(record, groups, pattern)
        counts.append((groups.max() + 1, D is not None))
        return D

    monkeypatch.setattr(columns, "_pushed", counted)
    monkeypatch.setattr(tuning, "SPARSE_RATES_FROM", 20 if kept == "sparse" else 1000)
    y0 = np.linspace(0, 1, 30) ** 2
    g = lambda both: rmad.solve_ivp(f, (0, 1), both[0], args=(both[1],), method=method, rtol=1e-6).y[:, -1]  # noqa: E731
    _, lin = rmad.linearize(g, (y0, P))
    switched = [(4, True)] if kept == "sparse" else [(3, False), (30, True)]  # the tape shows what may come
    assert counts == ([(3, True)] if f is by_slices else switched)
    stage_by_stage(monkeypatch)
    _, single = rmad.linearize(g, (y0, P))
    u = np.random.default_rng(0).standard_normal(30)
    for a, b in zip(lin.JTu(u), single.JTu(u), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_agree_with_differences_of_adaptive_runs(method):
    options = {"method": method, "t_eval": T, "rtol": 1e-10, "atol": 1e-12}
    if method in ("RK23", "Radau"):
        options |= {"rtol": 1e-8, "atol": 1e-10}

    def misfit(p, solve=rmad.solve_ivp):
        return np.sum(np.sin(solve(lotka_volterra, (0, 2), p[:2], args=tuple(p[2:]), **options).y))

    p, h = np.array([*Y0, *ARGS]), 1e-4
    shifted = [
        (misfit(p + h * e, scipy.integrate.solve_ivp), misfit(p - h * e, scipy.integrate.solve_ivp)) for e in np.eye(6)
    ]
    differences = np.array([(a - b) / (2 * h) for a, b in shifted])
    np.testing.assert_allclose(rmad.grad(misfit)(p), differences, rtol=1e-6, atol=1e-6)


def test_closures_lists_and_trees():
    def closing_over(p):
        rates = {"a": p[0], "rest": [p[1], p[2:]]}

        def f(t, y):
            return [rates["a"] * y[1], -rates["rest"][0] * y[0] + rates["rest"][1][0]]

        return rmad.solve_ivp(f, (0, 2), [p[3], 1.0], **FIXED).y

    def with_arguments(p):
        def f(t, y, rates):
            return [rates["a"] * y[1], -rates["rest"][0] * y[0] + rates["rest"][1][0]]

        return rmad.solve_ivp(f, (0, 2), (p[3], 1.0), args=({"a": p[0], "rest": [p[1], p[2:]]},), **FIXED).y

    p = np.array([1.0, 2.0, 0.5, 0.3])
    rmad.check_grads(closing_over, p, order=2)
    np.testing.assert_array_equal(rmad.jacobian(closing_over)(p), rmad.jacobian(with_arguments)(p))


def test_the_right_hand_side_is_called_as_often_as_scipy_does_and_a_few_times_more():
    count = 0

    def f(t, y, k):
        nonlocal count
        count += 1
        return np.array([y[1], -k * y[0]])

    nfev = scipy.integrate.solve_ivp(f, (0, 20), [1.0, 0.0], args=(1.0,)).nfev
    assert count == nfev
    result = []
    gradient = rmad.grad(
        lambda k: result.append(rmad.solve_ivp(f, (0, 20), [1.0, 0.0], args=(k,))) or result[0].y[0, -1]
    )
    gradient(1.0)
    assert nfev == result[0].nfev
    assert count <= 2 * nfev + 6


@pytest.mark.parametrize("ways", ["columns", "stages"])
def test_backward_in_time(ways, monkeypatch):
    if ways == "stages":
        stage_by_stage(monkeypatch)
    for t_eval in (None, T[::-1]):
        f = lambda y0, t_eval=t_eval: rmad.solve_ivp(lotka_volterra, (2, 0), y0, args=ARGS, t_eval=t_eval, **FIXED).y  # noqa: E731
        rmad.check_grads(f, Y0)
        np.testing.assert_array_equal(
            rmad.linearize(f, Y0)[0],
            scipy.integrate.solve_ivp(lotka_volterra, (2, 0), Y0, args=ARGS, t_eval=t_eval, **FIXED).y,
        )


@pytest.mark.parametrize("method", ["RK45", "DOP853"])
def test_complex_states(method):
    def f(t, y, k):
        return np.array([1j * k * y[0] + np.conj(y[1]), -y[0] * abs(y[1])])

    both = np.array([1 + 0.5j, 0.3 - 0.2j]), (0.7,)
    rmad.check_grads(of_both(f, method=method, t_eval=T, **FIXED), both)


def test_vectorized():
    def f(t, y, k):
        assert y.ndim == 2
        return np.stack([y[1], -k * y[0]])

    for method in ("RK45", "Radau"):
        options = {"method": method, "vectorized": True, **FIXED}
        rmad.check_grads(lambda k, o=options: rmad.solve_ivp(f, (0, 2), [1.0, 0.0], args=(k,), **o).y, 1.3)


def robertson(t, y, k):
    fast = k[1] * y[1] * y[2]
    return np.array([-k[0] * y[0] + fast, k[0] * y[0] - fast - k[2] * y[1] ** 2, k[2] * y[1] ** 2])


def test_a_stiff_system(monkeypatch):
    k = np.array([0.04, 1e4, 3e7])
    options = {"method": "Radau", "rtol": 1e-8, "atol": 1e-12, "jac": rmad.jacobian(robertson, 1)}

    def end(k, solve=rmad.solve_ivp):
        return solve(robertson, (0, 10), [1.0, 0.0, 0.0], args=(k,), **options).y[:, -1]

    J, h = rmad.jacobian(end)(k) * k, 1e-4
    shifted = [[end(k * (1 + s * h * e), scipy.integrate.solve_ivp) for s in (1, -1)] for e in np.eye(3)]
    np.testing.assert_allclose(J, np.array([(a - b) / (2 * h) for a, b in shifted]).T, rtol=1e-4, atol=1e-8)
    stage_by_stage(monkeypatch)
    np.testing.assert_allclose(rmad.jacobian(end)(k) * k, J, rtol=1e-8, atol=1e-12)


# -- long runs, in pieces --------------------------------------------------------------------------------------------


def piecewise(monkeypatch, numbers=2000):
    """A list that gets the numbers of steps of every piece that is repeated."""
    found, states = [], steps._states
    monkeypatch.setattr(steps, "_states", lambda *args: found.append(len(args[2].h)) or states(*args))
    monkeypatch.setattr(tuning, "RUN_NUMBERS", numbers)
    return found


@pytest.mark.parametrize("f", [by_slices, by_rolling, of_a_float])
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("method", METHODS)
def test_a_long_run_is_repeated_in_pieces(method, between, f, monkeypatch):
    """In columns, in lanes or stage by stage: values, both modes and second order are those of one piece."""
    options = {"method": method, "t_eval": None if between else T, "rtol": 1e-6, "max_step": 0.06}

    def total(both):
        def of_closure(t, y, p):
            return f(t, y, p * both[2])

        return np.sum(np.sin(rmad.solve_ivp(of_closure, (0, 2), both[0], args=(both[1],), **options).y))

    x, v = (STATE, P, 1.1), (np.ones(3), np.array([0.3, -0.2]), 0.4)
    gradient, forward = rmad.grad(total)(x), rmad.jvp(total, x, v)
    second = rmad.hvp(total, x, v) if f is by_slices else None
    found = piecewise(monkeypatch)
    y, again = rmad.value_and_grad(total)(x)
    assert len(found) > 2
    assert max(found) < 20
    assert y == forward[0]
    close = {"rtol": 1e-9, "atol": 1e-9}
    for a, b in zip(again, gradient, strict=True):
        np.testing.assert_allclose(a, b, **close)
    np.testing.assert_allclose(rmad.jvp(total, x, v)[1], forward[1], **close)
    if second is not None:
        for a, b in zip(rmad.hvp(total, x, v), second, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-7)


def test_pieces_call_the_right_hand_side_no_more_than_one_tape(monkeypatch):
    count = 0

    def f(t, y, k):
        nonlocal count
        count += 1
        return np.array([y[1], -k * y[0] * float(t < 1.3)])

    def gradient():
        nonlocal count
        count = 0
        rmad.grad(lambda k: rmad.solve_ivp(f, (0, 20), [1.0, 0.0], args=(k,)).y[0, -1])(1.0)
        return count

    whole = gradient()
    assert piecewise(monkeypatch) == []
    assert gradient() < 1.25 * whole + 6 * 20


def test_a_tape_of_pieces_is_small(monkeypatch):
    def held():
        _, lin = rmad.linearize(
            lambda k: rmad.solve_ivp(of_a_float, (0, 2), STATE, args=(np.array([0.7, 0.3]) * k,), max_step=0.01).y,
            1.0,
        )
        return len(lin._record.tape.nodes)

    whole = held()
    piecewise(monkeypatch, 20000)
    assert held() < whole / 20


# -- steps that differences see --------------------------------------------------------------------------------------

TABLE = np.linspace(0, 6, 13)


def pendulum(p, solve, **options):
    f = lambda t, y: np.array([y[1], -p[0] * np.sin(y[0]) - p[1] * y[1] + 0.5 * np.interp(t, TABLE, np.sin(TABLE))])  # noqa: E731
    return solve(f, (0, 6), [0.5, 0.0], **options).y[0, -1]


def highest(p, solve, **options):
    """The largest of the states between SciPy's own steps."""
    return np.max(solve(lambda t, y: np.array([y[1], -p[0] * y[0] - p[1] * y[1]]), (0, 6), [0.0, 1.0], **options).y[0])


def switched(p, solve, **options):
    f = lambda t, y: np.array([y[1], -p[0] * y[0] + (p[1] if t < 2.05 else -p[1])])  # noqa: E731
    return solve(f, (0, 6), [0.0, 1.0], **options).y[0, -1]


@pytest.mark.parametrize("program", [pendulum, highest, switched])
def test_differences_of_adaptive_runs_see_the_steps_move(program):
    """With steps of one length, differences are the gradient; if they are free, the gradient is nearer to the truth."""
    p = np.array([2.0, 0.1])

    def differences(h=1e-5, **options):
        at = lambda x: program(x, scipy.integrate.solve_ivp, **options)  # noqa: E731
        return np.array([(at(p + h * e) - at(p - h * e)) / (2 * h) for e in np.eye(2)])

    def gradient(**options):
        return rmad.grad(lambda p: program(p, rmad.solve_ivp, **options))(p)

    fixed = {"rtol": 1e3, "atol": 1e3, "first_step": 0.02, "max_step": 0.02}
    truth = differences(**fixed)
    np.testing.assert_allclose(gradient(**fixed), truth, rtol=1e-7)
    if program is not highest:  # there the largest is taken at other times
        ours, theirs = (np.max(abs(found - truth)) for found in (gradient(), differences()))
        assert ours < theirs


# -- edges and errors ------------------------------------------------------------------------------------------------


def test_plain_values_are_scipys_business():
    event = lambda t, y: y[0] - 0.5  # noqa: E731
    f = lambda t, y: -y  # noqa: E731
    options = {"method": "BDF", "events": event, "dense_output": True}
    got, wanted = (solve(f, (0, 2), [1.0], **options) for solve in (rmad.solve_ivp, scipy.integrate.solve_ivp))
    np.testing.assert_array_equal(got.y, wanted.y)
    assert got.t_events[0] == wanted.t_events[0]
    assert got.sol(0.3) == wanted.sol(0.3)


def test_nothing_to_integrate():
    for method in METHODS:
        f = lambda y0, m=method: rmad.solve_ivp(lambda t, y: -y, (1, 1), y0, method=m).y[:, 1]  # noqa: E731
        np.testing.assert_array_equal(rmad.jacobian(f)(np.ones(2)), np.eye(2))
    empty = lambda k: np.sum(k * 2) + len(rmad.solve_ivp(lambda t, y: -k * y, (0, 1), [1.0], t_eval=[]).t)  # noqa: E731
    assert rmad.grad(empty)(3.0) == 2.0


def test_a_right_hand_side_that_is_constant():
    f = lambda y0: rmad.solve_ivp(lambda t, y: np.array([1.0, t]), (0, 2), y0, t_eval=T).y[:, -1]  # noqa: E731
    np.testing.assert_allclose(rmad.jacobian(f)(Y0), np.eye(2), rtol=1e-14)


def test_a_run_that_fails_keeps_what_it_has():
    """y′ = k y², y = 1 / (1 − k t), ends at t = 1."""
    results = []

    def f(k):
        results.append(rmad.solve_ivp(lambda t, y: k * y**2, (0, 2), [1.0], rtol=1e-8, atol=1e-10))
        return results[0].y[0, 30]

    slope = rmad.grad(f)(1.0)
    assert not results[0].success
    t = results[0].t[30]
    np.testing.assert_allclose(slope, t / (1 - t) ** 2, rtol=1e-5)


ERRORS = {
    "events": ({"events": lambda t, y: y[0]}, NotImplementedError, "events have no derivative here"),
    "dense_output": ({"dense_output": True}, NotImplementedError, "dense_output=True"),
    "BDF": ({"method": "BDF"}, NotImplementedError, r"'BDF' cannot be repeated .* Radau"),
    "LSODA": ({"method": scipy.integrate.LSODA}, NotImplementedError, r"'LSODA' cannot be repeated"),
    "no such method": ({"method": "Euler"}, NotImplementedError, "'Euler' cannot be repeated"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    options, kind, match = ERRORS[name]
    with pytest.raises(kind, match=match):
        rmad.grad(lambda k: rmad.solve_ivp(lambda t, y: -k * y, (0, 1), [1.0], **options).y[0, -1])(1.0)


@pytest.mark.parametrize("name", ["t_eval", "t_span", "max_step", "rtol"])
def test_a_traced_option_is_an_error(name):
    def f(k):
        options = {"t_span": (0, 1), "t_eval": [0.5], name: {"t_eval": [k], "t_span": (0, k)}.get(name, k)}
        return rmad.solve_ivp(lambda t, y: -k * y, y0=[1.0], **options).y[0, -1]

    with pytest.raises(TypeError, match=rf"solve_ivp: {name} is traced"):
        rmad.grad(f)(0.5)


def test_arrays_made_while_a_function_is_recorded_are_plain():
    def f(k):
        times, start = np.linspace(0, 1, 3), np.ones(1)
        constant = rmad.solve_ivp(lambda t, y: -y, (0, 1), start, t_eval=times, method="BDF")
        return constant.y[0, -1] + rmad.solve_ivp(lambda t, y: -k * y, (0, 1), start, t_eval=times).y[0, -1]

    np.testing.assert_allclose(rmad.grad(f)(0.5), -np.exp(-0.5), rtol=1e-3)


def test_the_classes_of_scipy_are_methods_too():
    f = lambda k, m: rmad.solve_ivp(lambda t, y: -k * y, (0, 1), [1.0], method=m).y[0, -1]  # noqa: E731
    for m in METHODS:
        assert rmad.grad(lambda k, m=m: f(k, getattr(scipy.integrate, m)))(1.0) == rmad.grad(lambda k, m=m: f(k, m))(
            1.0
        )
