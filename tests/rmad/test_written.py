"""Arrays that a function writes into, and views of them: NumPy's semantics, and the derivatives of the values."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from written_programs import run

import rmad
from rmad.written.memory import Memory
from rmad.written.pieces import laid_out

BLOCK = 100


def start(seed):
    rng = np.random.default_rng(10_000 + seed)
    shape = [(6,), (3, 4), (2, 3, 2), (4, 4)][seed % 4]
    return rng.integers(-8, 9, shape) / 8, rng.normal(size=shape)


def check_program(seed) -> None:
    x, v = start(seed)
    given = x.copy()
    plain = run(seed, x.copy())
    y, lin = rmad.linearize(lambda x: run(seed, x), x)
    assert (x == given).all(), "the caller's array has changed"
    np.testing.assert_array_equal(y, plain)
    assert y.dtype == plain.dtype
    Jv = lin.Jv(v)
    want = run(seed, x + 1e-30j * v).imag / 1e-30
    np.testing.assert_allclose(Jv, want, rtol=1e-11, atol=1e-12 * max(1, abs(want).max(initial=0)))
    u = np.random.default_rng(seed).normal(size=y.shape)
    scale = np.linalg.norm(u) * np.linalg.norm(Jv) + 1e-300
    assert abs(u @ Jv - np.sum(lin.JTu(u) * v)) <= 1e-12 * scale + 1e-14


def check_second_order(seed) -> None:
    x, v = start(seed)

    def f(x):
        return np.sum(np.sin(run(seed, x)))

    Hv = rmad.hvp(f, x, v)
    h = 1e-5
    want = (rmad.grad(f)(x + h * v) - rmad.grad(f)(x - h * v)) / (2 * h)
    np.testing.assert_allclose(Hv, want, rtol=1e-5, atol=1e-5 * max(1, abs(want).max()))
    w = np.random.default_rng(seed).normal(size=x.shape)
    assert np.isclose(np.sum(w * Hv), np.sum(v * rmad.hvp(f, x, w)), rtol=1e-9, atol=1e-9 * max(1, abs(want).max()))


@pytest.mark.parametrize("block", range(20))
def test_random_programs(block):
    for seed in range(BLOCK * block, BLOCK * (block + 1)):
        try:
            check_program(seed)
            if seed % 10 == 0:
                check_second_order(seed)
        except Exception as error:
            error.add_note(f"seed {seed}")
            raise


# -- programs as people write them -------------------------------------------------------------------------------------


def poisson(n):
    """−Δu + eᵘ on an n × n grid by slices, with zero boundary."""

    def residual(u):
        u = u.reshape(n, n)
        d = np.zeros_like(u)
        d[1:-1] = u[2:] - 2 * u[1:-1] + u[:-2]
        d[0], d[-1] = u[1] - 2 * u[0], u[-2] - 2 * u[-1]
        d[:, 1:] += u[:, :-1]
        d[:, :-1] += u[:, 1:]
        return (np.exp(u) - d).ravel()

    return residual


def edit_distance(c):
    """The table of a soft edit distance, number by number."""
    D = np.zeros_like(c, shape=(5, 5))
    D[0, 1:] = np.arange(1, 5)
    D[1:, 0] = np.arange(1, 5)
    for i in range(1, 5):
        for j in range(1, 5):
            D[i, j] = -np.log(
                np.exp(-D[i - 1, j] - 1) + np.exp(-D[i, j - 1] - 1) + np.exp(-D[i - 1, j - 1] - c[i - 1, j - 1])
            )
    return D


def eliminated(A):
    """LU without pivoting, in place in a copy."""
    A = A.copy()
    for k in range(4):
        A[k, k] += 4
    for k in range(4):
        for i in range(k + 1, 4):
            A[i, k] /= A[k, k]
            A[i, k + 1 :] -= A[i, k] * A[k, k + 1 :]
    return A


def filtered(x):
    """A recursive filter that reads what it has written."""
    y = x.copy()
    for k in range(2, len(y)):
        y[k] = x[k] + 0.5 * y[k - 1] - 0.2 * np.sum(y[k - 2 : k])
    return y


def sorted_in_place(x):
    y = np.sin(x)
    y.sort()
    y.fill(y[0] * y[1])
    y[::2] *= x[::2]
    return y


def parts(x):
    z = x * (1 + 2j)
    z.real[1:] = x[:-1]
    z.imag *= 3
    z.real += 1
    return z


def out_of_functions(x):
    y = np.empty_like(x)
    np.sin(x, out=y)
    np.add(y, 1, y)
    np.exp(x, out=y, where=x > 0)
    total = np.empty_like(x, shape=())
    np.sum(y * x, out=total)
    return y * total


def histogram(x):
    h = np.zeros_like(x, shape=3)
    np.add.at(h, np.arange(len(x)) % 3, x**2)
    np.multiply.at(h, [0, 0, 2], x[:3])
    np.maximum.at(h, [1], 0.1)
    return h


def written_by_key(x):
    y = np.zeros_like(x, shape=(3, 4))
    y[[0, 2], 1:3] = x[:2]
    y[y > 0] = x[0]
    y[..., -1], y[1, None] = x[1], x[:4] * 2
    y.flat[5] = x[3]
    y.T[2, :2] = [x[0], 7.0]
    y[1] = y[1, ::-1]
    return y


PROGRAMS = {
    "Poisson's equation": (poisson(4), 16),
    "a table of dynamic programming": (edit_distance, (4, 4)),
    "Gauss's elimination": (eliminated, (4, 4)),
    "a filter": (filtered, 7),
    "sorted in place": (sorted_in_place, 5),
    "real and imaginary parts": (parts, 4),
    "out= and where=": (out_of_functions, 4),
    "ufunc.at": (histogram, 7),
    "keys": (written_by_key, 5),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_as_people_write_them(name):
    f, shape = PROGRAMS[name]
    x = np.random.default_rng(3).uniform(0.2, 1.5, shape)
    plain = f(x.copy())
    y, _ = rmad.linearize(f, x)
    np.testing.assert_array_equal(y, plain)
    rmad.check_grads(f, x, order=2)


def test_a_gradient_of_a_gradient_sees_what_was_written_before():
    """A block of the inner tape holds y as it was, although y is written into afterwards."""

    def f(x):
        y = x * 2
        inner = rmad.grad(lambda z: np.sum(z * z * y))(x)
        y[0] = 0
        y += 1
        return np.sum(inner * y)

    x = np.array([1.0, 2.0])
    rmad.check_grads(f, x, order=2)
    np.testing.assert_allclose(rmad.grad(f)(x), [8, 112])  # of Σ 4x² y with y = 1 and 2x + 1


def test_a_checkpoint_of_a_function_that_writes():
    f = rmad.checkpoint(filtered)
    x = np.random.default_rng(4).normal(size=6)
    _, lin = rmad.linearize(f, x)
    _, plain = rmad.linearize(filtered, x)
    np.testing.assert_allclose(lin.Jv(x), plain.Jv(x), rtol=1e-13)
    np.testing.assert_allclose(lin.JTu(x), plain.JTu(x), rtol=1e-13)


def test_what_is_written_is_taken_as_it_was():
    def f(x):
        y, v = np.zeros_like(x), x * 2
        y[:] = v
        v[0] = 5
        numbers = np.ones(3)
        y[1:] = numbers[1:]
        numbers[:] = 9
        return y

    y, lin = rmad.linearize(f, np.ones(3))
    np.testing.assert_array_equal(y, [2, 1, 1])
    np.testing.assert_array_equal(lin.JTu(np.ones(3)), [2, 0, 0])


PLAIN = np.zeros(4)
ERRORS = {
    "shapes": (lambda x: x.__setitem__(slice(2), x[:3]), ValueError, r"from shape \(3,\) into shape \(2,\)"),
    "an index": (lambda x: x.__setitem__(7, 1.0), IndexError, "out of bounds"),
    "a view that is read-only": (lambda x: np.broadcast_to(x, (2, 4)).__setitem__(0, 1.0), ValueError, "read-only"),
    "a number": (lambda x: np.sum(x).__setitem__((), 1.0), TypeError, "does not support item assignment"),
    "a complex number": (lambda x: x.__setitem__(0, 1j * x[0]), TypeError, "imaginary part"),
    "integers": (lambda x: np.zeros_like(x, dtype=int).__setitem__(0, x[0]), (TypeError, ValueError), "derivative"),
    "a plain array": (lambda x: np.copyto(PLAIN, x), TypeError, r"numpy.copyto writes.*zeros_like\(x, shape"),
    "out, a plain array": (lambda x: np.sin(x, out=PLAIN), TypeError, r"out.*zeros_like\(x, shape"),
    "out, another shape": (lambda x: np.add(x, 1, out=x[:2]), ValueError, "broadcast"),
    "shared memory": (lambda x: shared(x), TypeError, "a plain array shares"),
}


asarray = np.asarray  # NumPy's own, also while a function is recorded


def shared(x):
    c = np.zeros_like(x)
    alias = asarray(c)
    c[0] = x[0]
    return alias


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    f, kind, match = ERRORS[name]
    with pytest.raises(kind, match=match):
        rmad.linearize(lambda x: (f(x), x)[1] if name != "shared memory" else f(x), np.ones(4))


def test_numbers_in_a_loop_are_linear_in_time_and_memory():
    """As many nodes as with a list of the numbers, whatever n is."""

    def written(n):
        def f(x):
            y = np.zeros_like(x, shape=n)
            for k in range(n):
                y[k] = x[k % 3] * 2
            return np.sum(y)

        return f

    nodes = [len(rmad.linearize(written(n), np.ones(3))[1]._record.tape.nodes) for n in (100, 200, 400)]
    assert nodes[2] - nodes[1] == 2 * (nodes[1] - nodes[0]) == 200  # x[k % 3] leaves three


def test_other_threads_write_into_plain_arrays_meanwhile():
    stop, wrong = threading.Event(), []

    def work():
        while not stop.is_set():
            a = np.zeros(5)
            a[1:3] += 1
            v = a[::2]
            v *= 2
            if type(a) is not np.ndarray or a.tolist() != [0, 1, 2, 0, 0]:
                wrong.append(a)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for seed in range(30):
            check_program(seed)
    finally:
        stop.set()
        thread.join()
    assert not wrong


def test_a_number_that_is_read_again_and_again():
    def f(x):
        y = np.zeros_like(x, shape=(1,))
        y[0] = x[0] * x[1]
        s = y[:1] @ y[:1]
        return s[()] * s + np.array(s)[()] * y[0]

    rmad.check_grads(f, np.array([1.5, 0.5]), order=2)


def test_functions_that_write_are_differentiated_on_several_threads():
    """Each writes into arrays of its own: the gradients are those of one thread, to the last bit."""

    def made(k):
        def f(x):
            y = np.zeros(50)
            for i in range(k + 1):
                y[i:] += x[: 50 - i] * k
            y[::2] *= y[1::2]
            return np.sum(y * y)

        return f

    functions, x = [made(k) for k in range(6)], np.random.default_rng(0).normal(size=50)
    wanted = [rmad.grad(f)(x) for f in functions]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda f: rmad.grad(f)(x), functions * 4))
    np.testing.assert_array_equal(found, wanted * 4)


@pytest.mark.parametrize(
    ("shape", "strides"),
    [((2, 3), (8, 16)), ((1, 2, 3), (0, 8, 16)), ((1, 2, 3), (4, 8, 16)), ((2, 3), (24, 8)), ((3,), (16,))],
    ids=["columns", "a repeated axis of one", "an odd axis of one", "rows", "every other"],
)
def test_an_index_map_lies_in_memory_as_its_array(shape, strides):
    """Whatever the stride of an axis of length 1 is: nothing is read along it."""
    a = np.lib.stride_tricks.as_strided(np.arange(12.0), shape, strides)
    found, read = laid_out(a), [k for k, n in enumerate(shape) if n > 1]
    assert found.shape == shape
    assert [found.strides[k] for k in read] == [strides[k] for k in read]


def test_shuffling_rows_in_place_is_warned_of():
    """NumPy swaps the rows of what is no array of its own by views, which see each other: its warning says so."""

    def f(x, rows):
        y = np.zeros((5, 2))
        y[:] = x
        rng = np.random.default_rng(3)
        if rows:
            rng.shuffle(y)
            return y
        return y[rng.permutation(5)]

    x = np.arange(10.0).reshape(5, 2)
    np.testing.assert_array_equal(rmad.linearize(lambda x: f(x, False), x)[0], f(x, False))
    with pytest.raises(UserWarning, match=r"shuffling .* may contain duplicates"):  # warnings are errors here
        rmad.linearize(lambda x: f(x, True), x)


def assembled_by_elements(x):
    """A stiffness matrix, element by element: reads and writes of small blocks of a large array."""
    n = len(x)
    K = np.zeros((n + 1, n + 1))
    for e in range(n):
        K[e : e + 2, e : e + 2] += x[e] * np.array([[1, -1], [-1, 1]])
    for e in range(n):
        d = [e, (e + 3) % n]
        K[np.ix_(d, d)] *= x[e]
    return K


def test_small_blocks_of_a_large_array_cost_what_they_hold():
    x = np.random.default_rng(5).uniform(0.5, 1.5, 24)
    np.testing.assert_array_equal(rmad.linearize(assembled_by_elements, x)[0], assembled_by_elements(x))
    rmad.check_grads(assembled_by_elements, x[:8])
    sizes = []
    for n in (24, 48):
        nodes = rmad.linearize(assembled_by_elements, np.ones(n))[1]._record.tape.nodes
        sizes.append(sum(node.spec.size for node in nodes if node.inputs))
    assert sizes[1] < 5 * sizes[0]  # with a copy at every write it is eight times as much


def test_a_long_chain_of_views():
    def f(x):
        rest = np.zeros(600)
        rest[:] = x
        s = 0
        while len(rest):
            s, rest = s + rest[0] ** 2, rest[1:]
        return s

    np.testing.assert_array_equal(rmad.grad(f)(np.ones(600)), np.full(600, 2.0))


def test_a_safe_division():
    def f(x):
        return np.divide(1.0, x, out=np.zeros_like(x), where=x > 0) * x**2

    x = np.array([2.0, 0.0, 3.0])
    np.testing.assert_array_equal(rmad.linearize(f, x)[0], f(x))
    np.testing.assert_array_equal(rmad.jacobian(f)(x), np.diag([1.0, 0, 1]))


def writes_into_its_argument(u):
    u[0] = 5 * u[1]
    return u * u


def test_a_checkpoint_does_not_write_outside():
    """It runs again in every product, so what it writes outside would be lost."""

    def into_argument(x):
        rmad.checkpoint(writes_into_its_argument)(x)
        return np.sum(x)

    def into_captured(x, y):
        def step(u):
            y[0] = u[0] ** 2
            return u * 3

        rmad.checkpoint(step)(x)
        return np.sum(y)

    for f in (into_argument, lambda x: into_captured(x, np.zeros(2)), lambda x: into_captured(x, x * 1)):
        for derivative in (rmad.grad, rmad.hessian):
            with pytest.raises(TypeError, match=r"rmad\.checkpoint writes into an array from outside of it"):
                derivative(f)(np.ones(2))
    copies = rmad.checkpoint(lambda u: writes_into_its_argument(u.copy()))
    rmad.check_grads(lambda x: copies(x) * np.sum(x), np.array([0.5, 2.0]))


def test_a_conversion_without_a_copy_is_the_array_itself():
    def f(x):
        y = x.astype(float, copy=False)
        y[0] = x[1] ** 2
        z = x.astype(float)
        z[1] = 0
        return x

    np.testing.assert_array_equal(rmad.jacobian(f)(np.array([1.0, 3.0])), [[0, 6], [0, 1]])


def test_views_that_nobody_holds_are_forgotten():
    class View:
        pass

    memory = Memory(root := View(), 0)
    for _ in range(1000):
        memory.add(View())
    assert len(memory.members) <= 66
    kept = [View() for _ in range(1000)]
    for view in kept:
        memory.add(view)
    assert memory.alive() == [root, *kept]


def test_a_masked_result_that_is_complex_does_not_fit_into_real_numbers():
    def f(x):
        return np.multiply(x, 1j, out=np.zeros_like(x), where=np.array([True, True, False]))

    for call in (f, lambda x: rmad.linearize(f, x)):
        with pytest.raises(TypeError, match="Cannot cast ufunc 'multiply' output from"):
            call(np.ones(3))


def test_a_written_array_without_views_takes_a_shape():
    def f(x):
        y = x * 1.0
        y[0] = 2 * x[1]
        y.shape = (3, 1)
        return np.sum(y[:, 0] * np.array([1.0, 10.0, 100.0]))

    np.testing.assert_array_equal(rmad.grad(f)(np.ones(3)), [0, 12, 100])


def test_a_value_with_more_axes_is_not_written():
    def f(x):
        y = x * 1.0
        y[:2] = np.stack([x, x])[:, :2]
        return y

    with pytest.raises(ValueError, match=r"could not broadcast input array from shape \(2,2\) into shape \(2,\)"):
        rmad.linearize(f, np.ones(3))


def test_axes_of_length_one_in_front_of_a_value_are_dropped():
    def f(x):
        y = x * 1.0
        y[:2] = x[None, None, 1:]
        return y

    y, lin = rmad.linearize(f, np.arange(3.0))
    np.testing.assert_array_equal(y, [1, 2, 2])
    np.testing.assert_array_equal(lin.JTu(np.array([1.0, 10.0, 100.0])), [0, 1, 110])
