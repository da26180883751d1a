"""The cells of recurrent layers, in NumPy's calls and in numba's loops: values, coefficients and both sweeps."""

import numpy as np
import pytest

from rmad import tuning
from rmad.kernels import cells

M, N = 48, 90
CELLS = {
    "tanh": lambda: cells.RNNCell("tanh"),
    "relu": lambda: cells.RNNCell("relu"),
    "lstm": cells.LSTMCell,
    "gru": cells.GRUCell,
}
every_cell = pytest.mark.parametrize("kind", CELLS)


def run(cell, dtype, m=M, n=N, scale=2.0):
    """One step and both sweeps over it, from the same numbers in every dtype: what they leave, by name."""
    rng = np.random.default_rng(1)

    def draw(rows):
        return (scale * rng.standard_normal((rows, n))).astype(np.float32).astype(dtype)

    found = {"d": draw(cell.blocks * m), "before": draw(m), "c": draw(m), "va": draw(cell.blocks * m)}
    found |= {"vh": draw(m), "vc": draw(m), "uh": draw(m), "uc": draw(m)}
    given = {name: a.copy() for name, a in found.items()}
    found["h"], found["ua"], found["carried"] = (np.zeros_like(found[k]) for k in ("c", "d", "c"))
    extras = [np.empty_like(found["c"]) for _ in range(cell.extras)]
    scratch = [np.empty_like(found["c"]) for _ in range(cell.scratch)]
    with np.errstate(over="ignore"):
        cell.forward(found["d"], found["before"], found["h"], found["c"], extras, scratch)
    cell.push(found["d"], extras, found["va"], found["vh"], found["vc"])
    cell.pull(found["d"], extras, found["uh"], found["uc"], found["ua"], found["carried"])
    del found["va"]  # used up
    if not cell.carries:
        del found["carried"]
    return found | {f"extra {k}": a for k, a in enumerate(extras)}, given


@every_cell
@pytest.mark.parametrize(("m", "n"), [(M, N), (3, 5), (64, 64)])
def test_float32_agrees_with_float64(kind, m, n):
    cell = CELLS[kind]()
    found, expected = (run(cell, dtype, m, n)[0] for dtype in (np.float32, np.float64))
    for name, a in found.items():
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, expected[name], rtol=0, atol=5e-7 * np.abs(expected[name]).max(), err_msg=name)


@pytest.mark.parametrize("loops", [False, True], ids=["NumPy", "numba"])
@pytest.mark.parametrize("kind", ["tanh", "lstm", "gru"])
def test_coefficients_of_saturated_units_keep_their_digits(kind, loops, monkeypatch):
    """1 − σ and 1 − tanh² are formed without a difference of two numbers near 1."""
    if loops:
        pytest.importorskip("numba")
    else:
        monkeypatch.setattr(tuning, "CELL_LOOPS_FROM", np.inf)
    for scale in (1.5, 4.0, 8.0):
        found, expected = (run(CELLS[kind](), dtype, scale=scale)[0]["d"] for dtype in (np.float32, np.float64))
        large = np.abs(expected) > 1e-30  # the others are near the end of float32's range
        np.testing.assert_allclose(found[large], expected[large], rtol=1e-3 if kind == "gru" else 1e-4)


def test_coefficients_of_gates_in_the_tails():
    """Next to closed forms in double precision; for |a| = 30, 1 − σ and 1 − tanh² are far below the rounding of 1."""

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def slope(x):
        return 1 / np.cosh(x) ** 2

    a, c, before = np.array([[30.0], [25.0], [-28.0], [35.0]]), np.array([[0.7]]), np.array([[0.3]])
    i, f, g, o = a
    new = c[0] * sigmoid(f) + sigmoid(i) * np.tanh(g)
    want = [sigmoid(i) * sigmoid(-i) * np.tanh(g), c[0] * sigmoid(f) * sigmoid(-f), sigmoid(i) * slope(g)]
    want.append(np.tanh(new) * sigmoid(o) * sigmoid(-o))
    d, h = a.copy(), np.empty((1, 1))
    cells.LSTMCell().forward(d, before, h, c.copy(), list(np.empty((2, 1, 1))), list(np.empty((2, 1, 1))))
    np.testing.assert_allclose(d, want, rtol=1e-12)
    p, r, z, q = a
    n = p + sigmoid(r) * q
    d_p = sigmoid(-z) * slope(n)
    want = [d_p, d_p * sigmoid(r) * q * sigmoid(-r), (before[0] - np.tanh(n)) * sigmoid(z) * sigmoid(-z)]
    want.append(d_p * sigmoid(r))
    d = a.copy()
    cells.GRUCell().forward(d, before, h, None, list(np.empty((1, 1, 1))), list(np.empty((2, 1, 1))))
    np.testing.assert_allclose(d, want, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("share", [0, 0.01, 0.5])
def test_slope_of_tanh_over_its_argument(dtype, share):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(M, N)).astype(dtype)
    a[rng.random(a.shape) < share] *= 30
    a = np.clip(a, -40, 40)
    want = 1 / np.cosh(a.astype(np.longdouble)) ** 2
    cells.tanh_slope_over(a, np.tanh(a))
    np.testing.assert_allclose(a, want.astype(dtype), rtol=1e-11 if dtype is np.float64 else 1e-4)


@every_cell
def test_the_sweeps_are_adjoint(kind):
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩ over a, h and c before the step."""
    cell = CELLS[kind]()
    found, given = run(cell, np.float64)
    left = np.vdot(given["uh"], found["vh"]) + (np.vdot(given["uc"], found["vc"]) if cell.has_cell else 0)
    right = np.vdot(found["ua"], given["va"]) + (np.vdot(found["uc"], given["vc"]) if cell.has_cell else 0)
    right += np.vdot(found["carried"], given["vh"]) if cell.carries else 0
    np.testing.assert_allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("kind", ["tanh", "lstm", "gru"])
def test_numbers_that_overflow_an_exponential(kind):
    found, expected = (run(CELLS[kind](), dtype, scale=300.0)[0] for dtype in (np.float32, np.float64))
    for name, a in found.items():
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, expected[name], rtol=0, atol=1e-6 * max(1, np.abs(expected[name]).max()))


@pytest.mark.parametrize("kind", ["tanh", "lstm", "gru"])
def test_the_loops_run_where_they_should(kind, monkeypatch):
    """On float32 of some length in order, and on nothing else."""
    compiled = pytest.importorskip("numba") and __import__("rmad.kernels.compiled.cells", fromlist=["lstm_push"])
    calls = []
    for name in compiled.__all__:
        f = getattr(compiled, name)
        monkeypatch.setattr(compiled, name, lambda *a, f=f, name=name: (calls.append(name), f(*a)))
    run(CELLS[kind](), np.float64)
    run(CELLS[kind](), np.float32, 5, 5)
    assert calls == []
    run(CELLS[kind](), np.float32)
    assert calls == (["rnn_forward"] if kind == "tanh" else [f"{kind}_{s}" for s in ("forward", "push", "pull")])
