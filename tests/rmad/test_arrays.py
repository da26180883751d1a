"""Reductions, products, shapes and selection: conventions, errors and economy, which the table cannot show."""

import tracemalloc

import numpy as np
import pytest

import rmad
from rmad.primitives.index import Index
from rmad.primitives.join import Part
from rmad.primitives.matmul import _right
from rmad.primitives.products import matmul

X = np.random.default_rng(0).standard_normal((3, 4))


def nodes(f, *xs):
    """The primitives on the tape of f."""
    return [node.primitive for node in rmad.linearize(lambda t: f(*t), xs)[1]._record.tape.nodes if node.primitive]


# -- conventions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [np.max, np.min])
def test_ties_are_split_evenly(f):
    sign = 1.0 if f is np.max else -1.0
    x = sign * np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_allclose(rmad.grad(lambda x: np.sum(f(x, axis=1)))(x), [[0, 0.5, 0.5], [1 / 3] * 3])
    _, Jv = rmad.jvp(lambda x: f(x, axis=1), x, x * x)
    np.testing.assert_allclose(Jv, [9.0, 4.0])


def test_initial_that_ties_takes_half():
    np.testing.assert_allclose(rmad.grad(lambda x: np.max(x, initial=2.0))(np.array([1.0, 2.0])), [0, 0.5])


def test_a_maximum_of_nan_has_derivative_nan():
    x = np.array([[1.0, np.nan], [1.0, 2.0]])
    np.testing.assert_array_equal(rmad.grad(lambda x: np.sum(np.max(x, axis=1)))(x), [[np.nan] * 2, [0.0, 1.0]])


def test_extrema_of_nothing_are_the_initial_value():
    x = np.zeros((2, 0))
    y, lin = rmad.linearize(lambda x: (np.max(x, axis=1, initial=3.0), np.sum(x)), x)
    np.testing.assert_array_equal(y[0], [3.0, 3.0])
    assert lin.JTu((np.ones(2), 1.0)).shape == (2, 0)


def test_hessian_of_a_product_with_zeros():
    x = np.array([0.0, 2.0, 0.0, 3.0])
    H = np.stack([rmad.hvp(np.prod, x, e) for e in np.eye(4)])
    wanted = np.zeros((4, 4))
    wanted[0, 2] = wanted[2, 0] = 6.0
    np.testing.assert_array_equal(H, wanted)
    last = np.stack([rmad.hvp(lambda x: np.cumprod(x)[-1], x, e) for e in np.eye(4)])
    np.testing.assert_array_equal(last, wanted)


@pytest.mark.parametrize("x", [np.array([[0.3], [-1.7]]), np.array([[0.3 - 1.1j], [0.7 + 0.1j]])])
def test_a_product_of_one_number_has_no_second_derivative(x):
    v = np.random.default_rng(0).standard_normal(x.shape) * (1 + 1j if x.dtype.kind == "c" else 1)
    for f in (lambda x: np.prod(x, axis=1), lambda x: np.multiply.reduce(x, 1), lambda x: np.prod(x, 1, keepdims=True)):
        _, second = rmad.jvp(lambda x, f=f: rmad.jvp(f, x, v)[1], x, v)
        assert not np.any(second)
        np.testing.assert_array_equal(rmad.jvp(f, x, v)[1].ravel(), v.ravel())


def test_deviation_of_equal_numbers_has_derivative_zero():
    x = np.array([[2.0, 2.0], [1.0, 3.0]])
    np.testing.assert_allclose(rmad.grad(lambda x: np.sum(np.std(x, axis=1)))(x), [[0, 0], [-0.5, 0.5]])


def test_nothing_left_by_nan_is_nan():
    x = np.array([[np.nan, np.nan], [np.nan, 1.0]])
    f = lambda x: (np.nanmax(x, axis=1), np.nanmedian(x, axis=1))  # noqa: E731
    with pytest.warns(RuntimeWarning, match="All-NaN slice"):  # NumPy's own
        found = rmad.vjp(f, x)[0]
    for y in found:
        np.testing.assert_array_equal(y, [np.nan, 1.0])


def test_quantiles_of_nan_are_nan():
    x = np.array([[np.nan, 2.0, 1.0], [3.0, 2.0, 1.0]])
    y, pull = rmad.vjp(lambda x: np.median(x, axis=1), x)
    np.testing.assert_array_equal(y, [np.nan, 2.0])
    np.testing.assert_array_equal(pull(np.ones(2))[1], [0, 1, 0])


def test_interpolation_at_a_knot_has_the_slope_to_its_right():
    x, y = np.array([0.0, 1.0, 3.0]), np.array([0.0, 2.0, 3.0])
    slope = rmad.grad(lambda t: np.sum(np.interp(t, x, y)))(np.array([0.0, 1.0, 3.0, 4.0]))
    np.testing.assert_allclose(slope, [2.0, 0.5, 0.5, 0.0])


# -- selection ------------------------------------------------------------------------------------------


def test_repeated_indices_accumulate():
    for key in ([1, 1, 1, 0], np.array([-2, 1, 1, 0]), (np.array([1, 1]), np.array([0, 0]))):
        wanted = np.zeros((3, 4))
        np.add.at(wanted, key, 1.0)
        np.testing.assert_array_equal(rmad.grad(lambda x, key=key: np.sum(x[key]))(X), wanted)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex64])
@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 3, 2)])
def test_adding_many_rows(shape, dtype):
    """More indices than rows: each way of adding them gives what np.add.at gives."""
    rng = np.random.default_rng(1)
    x, rows = np.zeros(shape, dtype), rng.integers(-5, 5, (4, 6))
    for key in (rows, (slice(None), rows % 3)) if len(shape) > 1 else (rows,):
        u = rng.integers(-3, 4, x[key].shape).astype(dtype)
        wanted = np.zeros(shape, dtype)
        np.add.at(wanted, key, u)
        total = rmad.vjp(lambda x, key=key: x[key], x)[1](u)
        np.testing.assert_array_equal(total, wanted, strict=True)


def test_an_index_may_be_shuffled_afterwards():
    key = np.array([0, 2])
    _, lin = rmad.linearize(lambda x: x[key], X)
    key[:] = 1
    np.testing.assert_array_equal(lin.Jv(X), X[[0, 2]])


def test_slices_of_one_array_cost_slices():
    """Pull of T slices and push of T parts: no array of full size per slice."""
    x = np.zeros((200, 5000))
    f = lambda x: np.stack([x[t] * 2.0 for t in range(200)])  # noqa: E731
    for sweep in (lambda: rmad.jvp(f, x, x), lambda: rmad.vjp(f, x)[1](x)):
        sweep()
        tracemalloc.start()
        sweep()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 * x.nbytes
    _, lin = rmad.linearize(f, x)
    blocks = [b for node in lin._record.tape.nodes for b in node.blocks]
    assert sum(isinstance(b, Part) for b in blocks) == sum(isinstance(b, Index) for b in blocks) == 200


# -- products -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda A, B: A @ B,
        np.dot,
        lambda A, B: np.tensordot(A, B, 1),
        lambda A, B: np.einsum("ij,jk->ik", A, B),
        lambda A, B: np.einsum("ij,jk", A, B),
    ],
)
def test_products_of_matrices_are_one_node(f):
    assert nodes(f, X, X.T.copy()) == [matmul]


def test_a_stack_of_matrices_is_summed_by_one_product():
    A, u = np.random.default_rng(0).standard_normal((2, 5, 4, 3))
    B = _right(u, A, np.ones((3, 3)))
    np.testing.assert_allclose(B, np.einsum("amk,amn->kn", A, u))
    np.testing.assert_allclose(rmad.vjp(lambda B: A @ B, np.ones((3, 3)))[1](u), B)


def test_a_chain_of_operands_is_contracted_in_pairs():
    A, B, C = np.ones((2, 30)), np.ones((30, 30)), np.ones((30, 2))
    assert nodes(lambda *t: np.einsum("ij,jk,kl->il", *t), A, B, C).count(matmul) == 2


def test_views_cost_no_copy():
    x = np.zeros((300, 400))  # a small f(x) is copied for the caller
    views = lambda x: (x.T, x.reshape(2, -1), x[1:, ::2], np.flip(x), np.swapaxes(x, 0, 1), x[:, None])  # noqa: E731
    y, _ = rmad.linearize(views, x)
    assert all(np.shares_memory(part, x) for part in y)


# -- errors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "error", "match"),
    [
        (lambda x: x.resize(2), TypeError, "changes its memory"),
        (lambda x: np.sum(x, 0, None, np.zeros(4)), TypeError, "out"),
        (lambda x: np.max(x, where=X > 0), ValueError, "initial"),
        (lambda x: np.pad(x, 1, "empty"), NotImplementedError, "empty"),
        (lambda x: np.pad(x, 1, "edge", stat_length=1), ValueError, "stat_length"),
        (lambda x: np.nanquantile(x, 0.5, method="inverted_cdf", weights=X**2), NotImplementedError, "weights"),
        (lambda x: np.einsum("ij,jk", x, x), ValueError, "index 'j' has size 4 in one place and 3"),
        (lambda x: np.einsum("ijk->i", x), ValueError, "3 indices for an operand of shape"),
        (lambda x: np.einsum("ij->ik", x), ValueError, "must differ and occur"),
        (lambda x: np.tensordot(x, x, 1), ValueError, "do not match"),
        (lambda x: x @ x[0, 0], ValueError, "at least one axis"),
        (lambda x: np.matmul(x, x.T, axes=[(0, 1), (0, 1), (0, 1)]), NotImplementedError, "axes"),
        (lambda x: np.cross(x, x), ValueError, "2 or 3 components"),
        (lambda x: np.squeeze(x, 0), ValueError, "not of length 1"),
        (lambda x: np.reshape(x), TypeError, "missing 1 required positional argument: 'shape'"),
        (lambda x: x[:1, :1].reshape(), TypeError, "takes exactly 1 argument"),
        (lambda x: np.split(x, 3, axis=1), ValueError, "equal parts"),
        (lambda x: np.moveaxis(x, [0, 1], [0]), ValueError, "source"),
        (lambda x: np.gradient(x[:1]), ValueError, "edge_order"),
        (lambda x: np.gradient(x, 1.0, 2.0, 3.0), TypeError, "spacings"),
        (lambda x: np.gradient(x, np.arange(3.0)), TypeError, "coordinates must be given for every axis"),
        (lambda x: np.vander(x), ValueError, "one axis"),
        (lambda x: np.convolve(x[0], x[0], "half"), ValueError, "half"),
        (lambda x: np.choose([0, 3], [x[0, :2], x[1, :2]]), ValueError, "choices"),
        (lambda x: np.average(x, 0, np.array([1.0, -1.0, 0.0])), ZeroDivisionError, "zero"),
        (lambda x: np.average(x, 0, np.ones(4)), ValueError, "do not fit"),
        (lambda x: np.block([[x], x]), ValueError, "depths"),
    ],
)
def test_errors_say_what_is_wrong(f, error, match):
    with pytest.raises(error, match=match):
        rmad.linearize(f, X)


def test_parts_along_the_first_axis():
    """The axis of split and array_split, if none is given, for as many rows as columns too."""
    x = np.arange(16.0).reshape(4, 4)
    for split in (np.split, np.array_split):
        for a, b in zip(rmad.linearize(lambda x, split=split: split(x, 2), x)[0], split(x, 2), strict=True):
            np.testing.assert_array_equal(a, b)
