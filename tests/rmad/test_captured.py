"""Plain arrays that are written into after their use: the derivative is right, or one error names the array."""

from __future__ import annotations

import os
import re
import signal
import threading
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import rmad
from rmad import tuning

SMALL, LARGE = 30, tuning.CAPTURED_COPY // 8 + 500  # numbers in an array: copied, watched
NAMES_IT = r"float64\[[\d, ]+\].*has been written into since|f writes into an array .*float64\[[\d, ]+\], used by"

USES = {
    "multiply": lambda a, x: np.sum(a * x),
    "divide": lambda a, x: np.sum(x / a),
    "under": lambda a, x: np.sum(a / (2 + x)),
    "matmul": lambda a, x: a @ x,
    "dot": lambda a, x: np.dot(x, a),
    "matrix": lambda a, x: np.sum(np.sin(np.reshape(a, (2, -1)) @ np.reshape(x, (-1, 2)))),
    "outer": lambda a, x: np.sum(np.sin(np.outer(a[:3], x[:3]))),
    "einsum": lambda a, x: np.einsum("i,i,i->", a, x, x),
    "power": lambda a, x: np.sum((1 + x) ** a),
    "arctan2": lambda a, x: np.sum(np.arctan2(a, x)),
    "hypot": lambda a, x: np.sum(np.hypot(a, x)),
    "maximum": lambda a, x: np.sum(np.maximum(a, x) * a),
    "where": lambda a, x: np.sum(np.where(a > 2, x, a) ** 2),
    "add": lambda a, x: np.sum((a + x) ** 2),
    "concatenate": lambda a, x: np.sum(np.concatenate([a, x]) ** 3),
    "convolve": lambda a, x: np.sum(np.convolve(a[:3], x) ** 2),
    "interp": lambda a, x: np.sum(np.interp(x, np.arange(4.0), a[:4])),
    "solve": lambda a, x: np.sum(np.linalg.solve(np.eye(2) + a[:4].reshape(2, 2), x[:2])),
    "take": lambda a, x: np.sum(x[a.astype(int)[:5]] ** 2),
    "my own": lambda a, x: own(x, a),
    "in a list": lambda a, x: listed(x, [a, {"b": a}]),
    "keyword": lambda a, x: keyword(x, scale=a),
    "checkpoint": lambda a, x: np.sum(rmad.checkpoint(lambda x, a: np.sin(x) * a)(x, a)),
}
own = rmad.primitive(lambda x, a: np.sum(a * x), lambda y, x, a: ((lambda v: np.sum(a * v), lambda u: u * a), None))
listed = rmad.linear(lambda x, parts: np.sum(parts[0] * x) + np.sum(parts[1]["b"] * x), lambda u, x, p: 2 * u * p[0])
keyword = rmad.linear(lambda x, scale: scale * x, lambda u, x, scale: scale * u)

FILLS = {
    "fill": lambda buffer, k: buffer.fill(k),
    "slice": lambda buffer, k: buffer.__setitem__(slice(None), k + 0.5),
    "copyto": lambda buffer, k: np.copyto(buffer, k),
    "out": lambda buffer, k: np.multiply(np.ones(buffer.shape), k, out=buffer),
    "in place": lambda buffer, k: buffer.__iadd__(k),
    "one number": lambda buffer, k: buffer.__setitem__(k, 7.0 + k),
    "sorted": lambda buffer, k: buffer[::-1].sort(),
    "flat": lambda buffer, k: buffer.flat.__setitem__(slice(None), k + 0.25),
    "put": lambda buffer, k: np.put(buffer, range(buffer.size), 3.0 + k),
    "at": lambda buffer, k: np.add.at(buffer, slice(None), k),
}


def agrees_or_names(compute, wanted):
    """True if compute() is right, False if it raises the one error."""
    try:
        got = compute()
    except ValueError as error:
        if not re.search(NAMES_IT, str(error)):
            raise
        return False
    np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)
    return True


# -- buffers that f fills again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("fill", ["fill", "slice", "copyto"])
def test_a_buffer_that_f_fills_again(fill):
    def f(x):
        buffer, s = np.empty(3), 0.0
        for k in range(1, 4):
            FILLS[fill](buffer, k)
            s = s + np.sum(buffer * x) + buffer @ x
        return s

    wanted = np.full(3, 12.0) + (3.0 if fill == "slice" else 0.0)
    np.testing.assert_array_equal(rmad.grad(f)(np.ones(3)), wanted)
    y, lin = rmad.linearize(f, np.ones(3))
    np.testing.assert_array_equal([lin.JTu(1.0), lin.JTu(1.0)], [wanted, wanted])
    assert lin.Jv(np.ones(3)) == y == wanted.sum()
    np.testing.assert_array_equal(rmad.grad(lambda x: rmad.grad(f)(x) @ x)(np.ones(3)), wanted)


@settings(max_examples=50)
@given(
    size=st.sampled_from([1 + SMALL, LARGE]),
    use=st.sampled_from(list(USES)),
    fill=st.sampled_from(list(FILLS)),
    steps=st.integers(1, 3),
    view=st.sampled_from(["own", "slice", "column", "reversed"]),
)
def test_work_arrays(size, use, fill, steps, view):
    """Σ over steps of a use of one buffer, next to the same with a new array for each use."""
    size += size % 2
    # that a number of a large array has changed is seen only if it is written by the name that was used
    assume(fill != "one number" or view == "own" or size < LARGE or use not in ("matrix", "reshape"))

    def buffer():
        whole = np.linspace(1.0, 2.0, 3 * size)
        return {
            "own": lambda: whole[:size].copy(),
            "slice": lambda: whole[size : 2 * size],
            "column": lambda: whole.reshape(size, 3)[:, 1],
            "reversed": lambda: whole[size : 2 * size][::-1],
        }[view]()

    def f(x, each):
        a, s = buffer(), 0.0
        for k in range(1, steps + 1):
            s = s + np.sum(USES[use](each(a), x)) * k
            FILLS[fill](a, k)
        return s

    x = np.linspace(0.1, 1.0, size)
    wanted = rmad.grad(lambda x: f(x, np.copy))(x)
    right = agrees_or_names(lambda: rmad.grad(lambda x: f(x, lambda a: a))(x), wanted)
    assert right or size > SMALL + 2  # small ones are always right


def test_the_error_names_the_variable_and_the_function():
    n = LARGE

    class Model:
        def __init__(self):
            self.work = np.ones(n)

        def __call__(self, x):
            s = np.sum(self.work * x)
            self.work[3] = 2
            return s + np.sum(x)

    with pytest.raises(ValueError, match=rf"`self.work`, float64\[{n}\], used by np.multiply: .*copy"):
        rmad.grad(Model())(np.ones(n))

    ones = np.ones  # by this name it makes plain arrays in f, too

    def f(x):
        total, buffer = 0.0, ones(n)
        for _ in range(2):
            total = total + buffer @ x
            buffer *= 2
        return total

    with pytest.raises(ValueError, match=rf"`buffer`, float64\[{n}\], used by np.matmul: ") as caught:
        rmad.grad(f)(np.ones(n))
    assert isinstance(caught.value.__cause__, ValueError)  # NumPy's own, with the line


def test_other_errors_pass():
    a = np.ones(LARGE)
    constant = np.ones(3)
    constant.flags.writeable = False

    def f(x, action):
        y = np.sum(a * x)
        action()
        return y

    with pytest.raises(ValueError, match="could not convert"):
        rmad.grad(f)(a, lambda: float("one"))
    with pytest.raises(ValueError, match=r"^assignment destination is read-only$"):  # whose array it is
        rmad.grad(lambda x: constant.__setitem__(0, 1))(a)


def test_arrays_that_no_block_holds_may_be_written_into():
    n = LARGE

    def f(x):
        work, table, s = np.ones(n), np.ones((4, n)), 0.0
        for k in range(4):
            s = s + np.sum((x + work) ** 2) + np.sum(np.where(work > 2, x, work)) + np.sum(x - work)
            s = s + np.sum(np.concatenate([work, x])) + np.sum(np.stack([x, work]) ** 2)
            work += 1
            table[k] = k  # a row is written before its use, the array is not protected as a whole
            s = s + np.sum(table[k] * x)
        return s

    x = np.linspace(0, 1, n)
    wanted = sum(2 * (x + 1 + k) + (1 + k > 2) + 1 + k + 1 + 2 * x for k in range(4))
    np.testing.assert_allclose(rmad.grad(f)(x), wanted)


# -- arrays that are changed after f has run -------------------------------------------------------------------------

CHANGES = {
    "zero": lambda a: a.__imul__(0),
    "add": lambda a: a.__iadd__(1),
    "nan": lambda a: a.fill(np.nan),
    "half": lambda a: a.__setitem__(slice(0, len(a) // 2), -3),
    "flip": lambda a: a.__setitem__(slice(None), a[::-1].copy()),
}
LAYOUTS = {
    "own": lambda a: (a, a),
    "slice of a larger array": lambda a: (lambda w: (w[len(a) : 2 * len(a)], w))(np.concatenate([a, a, a])),
    "column": lambda a: (lambda w: (w[:, 0], w))(np.stack([a, a], axis=1)),
    "row": lambda a: (lambda w: (w[1], w))(np.stack([a, a])),
    "reversed": lambda a: (lambda w: (w[::-1], w))(a[::-1].copy()),
    "read-only view": lambda a: (np.broadcast_to(a, a.shape), a),
}


@settings(max_examples=50)
@given(
    size=st.sampled_from([1, SMALL, 1000, tuning.CAPTURED_COPY // 8, LARGE]),
    use=st.sampled_from(list(USES)),
    change=st.sampled_from(list(CHANGES)),
    layout=st.sampled_from(list(LAYOUTS)),
    planned=st.booleans(),
    which=st.sampled_from(["constant", "x", "f(x)"]),
)
def test_arrays_changed_after_linearize(size, use, change, layout, planned, which):
    size = max(6, size + size % 2)
    a, owner = LAYOUTS[layout](np.linspace(1.0, 2.0, size))
    x, x_owner = LAYOUTS[layout](np.linspace(0.1, 1.0, size))
    f = lambda x: (USES[use](a, x) * np.sin(x), np.exp(x))  # noqa: E731
    _, lin = rmad.linearize(f, x.copy())
    u = (np.ones(size), np.ones(size))
    wanted = (*lin.Jv(np.ones(size)), lin.JTu(u))
    y, lin = rmad.linearize(f, x)
    y2, pull = rmad.vjp(f, x)
    if planned:
        lin.Jv(np.ones(size))
        lin.JTu(u)
    for changed in {"constant": [owner], "x": [x_owner], "f(x)": [*y, *y2]}[which]:
        CHANGES[change](changed.reshape(-1))
        if not changed.flags.c_contiguous:
            changed *= 0.5
    right = [
        agrees_or_names(lambda: np.concatenate(lin.Jv(np.ones(size))), np.concatenate(wanted[:2])),
        agrees_or_names(lambda: lin.JTu(u), wanted[2]),
        agrees_or_names(lambda: pull(u), wanted[2]),
    ]
    assert all(right) or 8 * size > tuning.CAPTURED_COPY


def test_a_jacobian_that_does_not_need_the_array_stays_right():
    n = LARGE
    A, x = np.ones(n), np.ones(n)
    y, lin = rmad.linearize(lambda x: (3 * x + A) * 2, x)
    x += 1
    y *= 0
    A *= 0
    np.testing.assert_array_equal(lin.Jv(np.ones(n)), np.full(n, 6.0))
    _, lin = rmad.linearize(lambda x: (np.sum(A * x * x), np.sum(2 * x))[1], x)  # A is on no way to f(x)
    A += 5
    np.testing.assert_array_equal(lin.JTu(1.0), np.full(n, 2.0))


def test_memory_maps(tmp_path):
    n = 40_000
    big = np.memmap(tmp_path / "big", mode="w+", dtype=np.float64, shape=(n,))
    small = np.memmap(tmp_path / "small", mode="w+", dtype=np.float64, shape=(5,))
    big[:], small[:] = 2, 3
    x = np.ones(n)
    _, lin = rmad.linearize(lambda x: np.sum(big * x) + np.sum(small * x[:5]), x)
    np.testing.assert_array_equal(lin.JTu(1.0)[:6], [5, 5, 5, 5, 5, 2])
    small[:] = 0
    np.testing.assert_array_equal(lin.JTu(1.0)[:6], [5, 5, 5, 5, 5, 2])
    big += 1
    with pytest.raises(ValueError, match=r"float64\[40000\], used by np.multiply"):
        lin.JTu(1.0)
    read = np.memmap(tmp_path / "big", mode="r", dtype=np.float64, shape=(n,))
    np.testing.assert_array_equal(rmad.grad(lambda x: np.sum(read * x))(x), np.full(n, 3.0))


def test_a_stretch_of_a_thousandth_and_a_column_are_seen():
    A = np.random.default_rng(0).standard_normal((2000, 500))  # 8 MB
    x = np.ones(500)
    for change in (np.s_[::2], np.s_[:, 7:11], np.s_[100:104], np.s_[-4:]):
        before = A[change].copy()
        _, lin = rmad.linearize(lambda x: A @ x, x)
        A[change] += 1
        with pytest.raises(ValueError, match=r"float64\[2000, 500\], used by np.matmul, has been written into since"):
            lin.Jv(x)
        A[change] = before
        lin.Jv(x)  # as it was


def test_sparse_matrices_that_change():
    sparse = pytest.importorskip("scipy.sparse")
    mul = rmad.linear(lambda x, S: S @ x, lambda u, x, S: S.T @ u)
    for n in (5, 10_000):
        S, x = sparse.csr_array(sparse.diags_array(np.arange(1.0, n + 1))), np.ones(n)
        _, lin = rmad.linearize(lambda x: mul(x, S), x)  # noqa: B023
        S.data *= 2
        agrees_or_names(lambda: lin.Jv(x), np.arange(1.0, n + 1))  # noqa: B023


def test_rules_that_hold_arrays_in_other_ways():
    class Times:
        def __init__(self, a):
            self.a = a

        def __call__(self, v):
            return self.a * v

    holders = [Times, lambda a: partial(np.multiply, a), lambda a: Times(a).__call__, lambda a: lambda v: a.T * v]
    for holder in holders:
        scale = rmad.primitive(lambda x, a: a * x, lambda y, x, a: ((holder(a), holder(a)), None))  # noqa: B023
        for n in (5, LARGE):
            A, x = np.ones(n), np.ones(n)
            for planned in (False, True):
                _, lin = rmad.linearize(lambda x: scale(x, A), x)  # noqa: B023
                if planned:
                    lin.JTu(x)
                A += 1
                agrees_or_names(lambda: lin.Jv(x), A - 1)  # noqa: B023


def test_a_stopped_array_that_f_writes_into():
    for n in (5, LARGE):

        def f(x):
            y = np.exp(x)
            value = rmad.stop_gradient(y)
            value *= 0  # a work array, f thinks
            return np.sum(y * y)

        x = np.linspace(0, 1, n)
        agrees_or_names(lambda: rmad.grad(f)(x), 2 * np.exp(2 * x))  # noqa: B023


def test_a_checkpoint_that_captures_an_array():
    for n in (5, LARGE):
        A, x = np.ones(n), np.linspace(0.1, 1, n)
        _, lin = rmad.linearize(lambda x: rmad.checkpoint(lambda x: np.sin(A * x))(x), x)  # noqa: B023
        np.testing.assert_allclose(lin.Jv(x), np.cos(x) * x)
        A *= 2
        with pytest.raises(ValueError, match="returned something else when a product ran it again"):
            lin.Jv(x)


# -- arrays are the caller's own again -------------------------------------------------------------------------------


def test_arrays_are_writable_again_when_f_has_returned_or_raised():
    a = np.ones(LARGE)
    seen = []

    def f(x, fail=False):
        y = np.sum(a * x) + np.sum(a.reshape(2, -1) * 2 * x.reshape(2, -1))
        seen.append(a.flags.writeable)
        if fail:
            raise KeyError("mine")
        return y

    rmad.grad(f)(np.ones(LARGE))
    assert seen == [False]
    assert a.flags.writeable
    with pytest.raises(KeyError):
        rmad.grad(lambda x: f(x, fail=True))(np.ones(LARGE))
    assert a.flags.writeable
    a[0] = 5


def test_nested_functions_share_an_array():
    a, x = np.ones(LARGE), np.ones(LARGE)
    inside = []

    def inner(x):
        return np.sum(a * x * x)

    def outer(x):
        first = np.sum(a * x)
        g = rmad.grad(inner)(x)
        inside.append(a.flags.writeable)  # the inner run is over, the outer one is not
        return first + np.sum(g * g)

    np.testing.assert_allclose(rmad.grad(outer)(x), 1 + 8 * x)
    assert inside == [False]
    assert a.flags.writeable
    np.testing.assert_allclose(rmad.hvp(inner, x, x), 2 * x)
    assert a.flags.writeable


def test_threads_share_an_array():
    a, x = np.linspace(1, 2, LARGE), np.ones(LARGE)
    failed = []

    def work():
        for _ in range(20):
            g = rmad.grad(lambda x: np.sum(a * x) + np.sum(a * np.sin(x)))(x)
            if not np.allclose(g, a * (1 + np.cos(1))):
                failed.append(g)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    assert a.flags.writeable


def test_an_interrupt_leaves_arrays_writable(ctrl_c):
    arrays = [np.ones(LARGE) for _ in range(20)]

    def f(x):
        s = 0.0
        for k, a in enumerate(arrays):
            s = s + np.sum(a * x)
            if k == 10:
                os.kill(os.getpid(), signal.SIGINT)
        return s

    with pytest.raises(KeyboardInterrupt):
        rmad.grad(f)(np.ones(LARGE))
    assert all(a.flags.writeable for a in arrays)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_of_a_fork_may_write():
    a = np.ones(LARGE)

    def f(x):
        y = np.sum(a * x)
        child = os.fork()
        if not child:
            try:
                a[0] = 2
                rmad.grad(lambda x: np.sum(a * x))(np.ones(LARGE))
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        return y

    rmad.grad(f)(np.ones(LARGE))


def test_what_is_read_only_stays_so_and_is_not_copied():
    a = np.ones(LARGE)
    a.flags.writeable = False
    _, lin = rmad.linearize(lambda x: np.sum(a * x), np.ones(LARGE))
    assert not a.flags.writeable
    assert any(block.d is a for node in lin._record.tape.nodes for block in node.blocks if hasattr(block, "d"))


def test_views_made_while_f_runs_are_given_back_writable():
    a = np.ones(LARGE)
    value, part = rmad.jvp(lambda x: (np.sum(a * x), a[:10]), np.ones(LARGE), np.ones(LARGE))[0]
    assert value == LARGE
    part[0] = 5
    assert a[0] == 5
