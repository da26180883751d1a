"""The Levenberg-Marquardt rule, the reduction ratio, the line search, backtracking, the preconditioner."""

import math

import numpy as np
import pytest

from optim.parts.cg import Iterate
from optim.parts.damping import Tikhonov, reduction_ratio
from optim.parts.linesearch import cg_backtracking, line_search
from optim.parts.preconditioner import diagonal_inverse


@pytest.mark.parametrize(
    ("rho", "factor"),
    [
        (0.76, 2 / 3),
        (1.0, 2 / 3),
        (math.inf, 2 / 3),
        (0.75, 1.0),
        (0.5, 1.0),
        (0.25, 1.0),
        (0.24, 3 / 2),
        (-1.0, 3 / 2),
        (-math.inf, 3 / 2),
        (math.nan, 3 / 2),
    ],
)
def test_levenberg_marquardt(rho, factor):
    damping = Tikhonov(6.0)
    damping.update(rho)
    assert damping.strength == 6.0 * factor


def test_floor_of_damping():
    damping = Tikhonov(3.0, minimum=2.5)
    damping.update(1.0)
    assert damping.strength == 2.5
    damping.update(0.0)
    assert damping.strength == 2.5 * 1.5
    none = Tikhonov(0.0, minimum=1.0)
    for rho in (1.0, 0.0):
        none.update(rho)
        assert none.strength == 0


def test_undamped_model_value():
    assert Tikhonov(4.0).undamped(phi=-1.0, squared_norm=3.0) == -1.0 - 6.0


@pytest.mark.parametrize(
    ("actual", "predicted", "rho"),
    [(-1.0, -2.0, 0.5), (1.0, -2.0, -math.inf), (1.0, 2.0, -math.inf), (-1.0, 2.0, -0.5), (0.0, -1.0, 0.0)],
)
def test_reduction_ratio(actual, predicted, rho):
    assert reduction_ratio(actual, predicted) == rho


@pytest.mark.parametrize(("actual", "predicted"), [(math.nan, -1.0), (-1.0, math.nan), (-1.0, 0.0)])
def test_reduction_ratio_is_nan(actual, predicted):
    assert math.isnan(reduction_ratio(actual, predicted))


def iterates(values):
    """Iterates at i = 0, 1, … whose x is their index, and f as a table that counts its calls."""
    calls = []

    def f(x):
        calls.append(int(x))
        return values[int(x)]

    return [Iterate(i, np.float64(i), -float(i)) for i in range(len(values))], f, calls


@pytest.mark.parametrize(
    ("values", "chosen", "calls"),
    [
        ([5, 4, 3, 2, 1], 4, [4, 3]),  # the last is the best: one look back
        ([5, 1, 2, 3, 4], 1, [4, 3, 2, 1, 0]),
        ([1, 5, 2, 3, 4], 2, [4, 3, 2, 1]),  # stops where f no longer improves
        ([5, 4, 3, 3, 3], 4, [4, 3]),  # a tie is no improvement
        ([5, 2, math.nan, math.nan, math.inf], 1, [4, 3, 2, 1, 0]),
        ([7], 0, [0]),
    ],
)
def test_backtracking_walks_back_while_f_improves(values, chosen, calls):
    its, f, called = iterates(values)
    best, f_best = cg_backtracking(its, f)
    assert best is its[chosen]
    assert f_best == values[chosen]
    assert called == calls


def test_backtracking_where_nothing_is_finite():
    its, f, _ = iterates([math.nan, math.inf])
    assert cg_backtracking(its, f)[1] == math.inf


def test_line_search_takes_the_first_sufficient_decrease():
    f0, slope = 1.0, -1.0

    def f(a):
        return f0 + slope * a + 1.5 * a * a  # minimum at 1/3, f(α) ≤ f0 + c α slope for α ≤ 0.66

    calls = []
    alpha, value = line_search(lambda a: calls.append(a) or f(a), f0, slope)
    assert alpha == pytest.approx(0.8**2)
    assert value == f(alpha) <= f0 + 1e-2 * alpha * slope
    assert calls == pytest.approx([1, 0.8, 0.64])
    calls.clear()
    assert line_search(lambda a: calls.append(a) or f(a), f0, slope, f1=f(1.0))[0] == alpha
    assert calls == pytest.approx([0.8, 0.64])  # f(1) is not computed again


def test_line_search_takes_a_full_step_where_it_can():
    assert line_search(lambda a: 1.0 - 0.02 * a, 1.0, -1.0) == (1.0, 0.98)
    assert line_search(lambda a: 1.0 - 0.005 * a, 1.0, -1.0, tries=1) == (0.0, 0.995)  # less than c · slope


def test_line_search_gives_up_after_sixty_tries():
    calls = []
    assert line_search(lambda a: calls.append(a) or 2.0, 1.0, -1.0) == (0.0, 2.0)
    assert len(calls) == 60
    assert calls[-1] == pytest.approx(0.8**59)
    alpha, f_last = line_search(lambda a: math.nan, 1.0, -1.0)
    assert alpha == 0
    assert math.isnan(f_last)


def test_line_search_uphill_never_accepts_a_rise():
    assert line_search(lambda a: 1.0 + 1e-3 * a, 1.0, slope=1.0)[0] == 0.0
    assert line_search(lambda a: 1.0 + a * (a - 0.7), 1.0, slope=1.0)[0] == pytest.approx(0.64)


def test_preconditioner_is_the_damped_diagonal_to_a_power():
    d = np.array([0.0, 1e-6, 0.5, 20.0])
    np.testing.assert_allclose(diagonal_inverse(d, 0.3), 1 / (d + 0.3) ** 0.75, rtol=1e-14)
    np.testing.assert_allclose(diagonal_inverse(d, 0.3, xi=0.5), 1 / np.sqrt(d + 0.3), rtol=1e-14)
    assert diagonal_inverse(d.astype(np.float32), 0.3).dtype == np.float32
    np.testing.assert_array_equal(d, [0.0, 1e-6, 0.5, 20.0])


@pytest.mark.parametrize("d", [[0.0, 0.0], [0.0, 4.0]])
def test_preconditioner_without_damping_stays_invertible(d):
    assert np.isfinite(diagonal_inverse(np.array(d, np.float32), 0.0)).all()
