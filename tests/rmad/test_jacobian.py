"""jacobian, hessian and argnums: against products with unit vectors, in both directions, nested, on trees."""

from __future__ import annotations

import numpy as np
import pytest

import nn
import rmad
from rmad import tuning
from rmad.record import Record
from rmad.transforms import dense
from rmad.trees import tree

R = np.random.default_rng
A = R(0).standard_normal((3, 4))
W = {"W": R(1).standard_normal((4, 3)), "b": R(2).standard_normal(3)}


def columns(f, x, *args):
    """∂f/∂x of real trees, (m, p), by one jvp for every number of x."""
    flat, unravel = rmad.ravel(x)
    return np.stack([rmad.ravel(rmad.jvp(f, x, unravel(e), *args)[1])[0] for e in np.eye(len(flat))], axis=1)


def matrix(J, x, y):
    """A tree like y of trees like x as one matrix."""
    leaves = iter(leaf for _, leaf in tree.leaves(J))
    shapes = [[np.shape(leaf) for _, leaf in tree.leaves(t)] for t in (y, x)]
    rows = []
    for of_y in shapes[0]:
        parts = []
        for of_x in shapes[1]:
            part = next(leaves)
            assert part.shape == of_y + of_x
            parts.append(part.reshape(int(np.prod(of_y)), int(np.prod(of_x))))
        rows.append(np.concatenate(parts, axis=1))
    return np.concatenate(rows)


def layer(p):
    return np.tanh(np.linspace(-1, 1, 8).reshape(2, 4) @ p["W"] + p["b"])


def loop(x):
    h, out = x[:2], []
    for k in range(5):
        h = np.stack([h[1] * x[2], np.sin(h[0]) + x[k % 3]])
        out.append(h)
    return {"all": np.stack(out), "last": h[0], "none": np.ones(2)}


def images(x):
    return nn.functional.relu(nn.Conv2d(2, 3, 3, padding=1, rng=R(0), dtype=float)(x))


FUNCTIONS = {
    "elementwise": (lambda x: np.sin(x) * x[::-1], A[0]),
    "scalar": (lambda x: x**3, 2.0),
    "linear": (lambda x: A @ x, A[0]),
    "tall": (lambda x: np.outer(x, x) @ A, A[:, 0]),
    "wide": (lambda x: np.sum(x**2, axis=0)[:2], A),
    "to a number": (lambda x: np.sum(np.exp(x)), A),
    "tree": (layer, W),
    "tree to tree": (lambda p: (p["W"] @ p["b"], {"s": np.sum(p["W"]), "W": p["W"].T}), W),
    "loop": (loop, A[0]),
    "solve": (lambda x: np.linalg.solve(x @ x.T + np.eye(3), x[:, 0]), A),
    "softmax": (lambda x: rmad.softmax(x, axis=1), A),
    "checkpoint": (lambda x: rmad.checkpoint(lambda a, b: (np.tanh(a @ b), np.sum(a)))(x, x.T), A),
    "recurrence": (lambda x: nn.RNN(2, 3, rng=R(0), dtype=float)(x.reshape(1, 6, 2)), A),
    "convolution": (images, R(4).standard_normal((2, 4, 3, 2))),
    "constant": (lambda x: np.ones((2, 2)), A[0]),
    "of nothing": (lambda x: np.concatenate([x, np.ones(2)]), np.ones(0)),
    "to nothing": (lambda x: x[:0], A[0]),
}
functions = pytest.mark.parametrize(("f", "x"), FUNCTIONS.values(), ids=FUNCTIONS)


@functions
@pytest.mark.parametrize("bound", [None, 1, 8 * 100])
def test_both_directions_equal_products_with_unit_vectors(f, x, bound, monkeypatch):
    """In one stack, one vector at a time, and a few at a time, with a smaller stack at the end."""
    if bound is not None:
        monkeypatch.setattr(tuning, "STACK_BYTES", bound)
    y = f(x)
    p, m = (rmad.ravel(t)[0].size for t in (x, y))
    wanted = columns(f, x) if p else np.zeros((m, 0))
    for found in (rmad.jacobian(f)(x), *(by(Record(f, x, ())) for by in (dense.by_columns, dense.by_rows))):
        np.testing.assert_allclose(matrix(found, x, y), wanted, rtol=1e-12, atol=1e-12)


@functions
def test_a_second_derivative_by_each_of_the_nestings(f, x):
    """∂²/∂x² of a sum of squares: hessian, jacobian of grad, grad of a jacobian's products, hvp."""

    def s(x):
        return sum(np.sum(a**2) for _, a in tree.leaves(f(x)))

    flat, unravel = rmad.ravel(x)
    H = [rmad.ravel(rmad.hvp(s, x, unravel(e)))[0] for e in np.eye(len(flat))] or np.zeros((0, 0))
    for found in (rmad.hessian(s)(x), rmad.jacobian(rmad.grad(s))(x), rmad.jacobian(rmad.jacobian(s))(x)):
        np.testing.assert_allclose(matrix(found, x, x), H, rtol=1e-10, atol=1e-10)


def test_a_jacobian_is_differentiated_as_any_function():
    f, x, v = FUNCTIONS["tall"][0], A[:, 0], A[:, 1]
    J = rmad.jacobian(f)
    third = rmad.jacobian(rmad.jacobian(J))(x)
    assert third.shape == (3, 4, 3, 3, 3)
    np.testing.assert_allclose(third, 0, atol=1e-12)  # f is quadratic
    np.testing.assert_allclose(rmad.jvp(J, x, v)[1], J(v), rtol=1e-12)
    rmad.check_grads(J, x)
    rmad.check_grads(lambda x: np.linalg.slogdet(rmad.jacobian(lambda x: np.sin(x) + x @ x)(x))[1], x)
    rmad.check_grads(lambda x: rmad.hessian(lambda y: np.sum(np.sin(y) * x * y[::-1]))(x**2), x)


def test_lengths_of_zero_have_their_limits_in_every_nesting():
    x, f = np.zeros(3), lambda x: np.linalg.norm(x) ** 2
    for second in (rmad.hessian(f), rmad.jacobian(rmad.jacobian(f)), rmad.jacobian(rmad.grad(f))):
        np.testing.assert_array_equal(second(x), 2 * np.eye(3))
    rows = lambda x: np.linalg.norm(x, axis=1) ** 2  # noqa: E731
    np.testing.assert_array_equal(
        np.sum(rmad.jacobian(rmad.jacobian(rows))(np.zeros((2, 2))), axis=0).reshape(4, 4), 2 * np.eye(4)
    )


# -- trees, dtypes, constants ------------------------------------------------------------------------------------------


def test_integer_leaves_give_zeros_of_their_own_dtype():
    x = {"w": np.arange(3.0), "k": np.array([0, 2]), "on": True, "nothing": None}
    J = rmad.jacobian(lambda x: (x["w"][x["k"]] ** 2, np.arange(4), 7))(x)
    np.testing.assert_array_equal(J[0]["w"], [[0, 0, 0], [0, 0, 4]])
    shapes = {(j, key): (a.shape, a.dtype) for j, row in enumerate(J) for key, a in row.items() if a is not None}
    assert shapes == {
        (0, "w"): ((2, 3), np.float64),
        (0, "k"): ((2, 2), np.int64),
        (0, "on"): ((2,), np.bool_),
        (1, "w"): ((4, 3), np.int64),
        (1, "k"): ((4, 2), np.int64),
        (1, "on"): ((4,), np.bool_),
        (2, "w"): ((3,), np.int64),
        (2, "k"): ((2,), np.int64),
        (2, "on"): ((), np.bool_),
    }
    H = rmad.hessian(lambda x: np.sum(x["w"][x["k"]] ** 3))(x)
    np.testing.assert_array_equal(H["w"]["w"], np.diag([0, 0, 12.0]))
    assert H["k"]["w"].shape == (2, 3)
    assert H["w"]["k"].dtype == np.int64


def test_a_module_in_gives_modules_out():
    net = nn.Sequential(nn.Linear(3, 2, rng=R(0)), nn.Dropout(0.5, rng=R(1)), nn.Tanh())
    net.eval()
    J = rmad.jacobian(lambda net: net(A.T[:, :3].astype("f4")))(net)
    assert isinstance(J, nn.Sequential)
    assert J[0].weight.shape == (4, 2, 3, 2)
    assert J[0].weight.dtype == np.float32


@pytest.mark.parametrize(("of_x", "of_y"), [("f4", "f4"), ("f4", "f8"), ("f8", "f4"), ("f4", "c8"), ("f4", "c16")])
@pytest.mark.parametrize("m", [2, 9])
def test_the_dtype_does_not_depend_on_the_direction(of_x, of_y, m):
    J = rmad.jacobian(lambda x: np.resize(x, m).astype(of_y) * 2)(np.ones(4, of_x))
    assert J.dtype == np.result_type(of_x, of_y)
    np.testing.assert_array_equal(J, 2 * np.resize(np.eye(4), (m, 4)))


def test_the_result_is_the_callers_to_write_into():
    x, B = A[0].copy(), A.copy()
    J = rmad.jacobian(lambda x: (B @ x, np.broadcast_to(x, (2, 4)), x))(x)
    for part in J:
        part += 1
    np.testing.assert_array_equal(B, A)
    np.testing.assert_array_equal(rmad.jacobian(lambda x: B @ x)(x), A)


def test_f_runs_once():
    runs = []
    rmad.jacobian(lambda x: runs.append(1) or np.tanh(x))(A)
    rmad.hessian(lambda x: runs.append(1) or np.sum(np.tanh(x)))(A)
    assert len(runs) == 2


# -- argnums and keywords ----------------------------------------------------------------------------------------------


def model(t, a, b, *, shift=0.0):
    return np.sum((a * np.exp(-b * t) + shift) ** 2)


T = np.linspace(0, 1, 5)


@pytest.mark.parametrize("argnums", [0, 1, -1, (1,), (2, 1), (0, -1), [1, 2]])
@pytest.mark.parametrize("transform", [rmad.grad, rmad.jacobian, rmad.hessian, rmad.value_and_grad])
def test_argnums(transform, argnums):
    args = (T, 2.0, 0.5)
    found = transform(model, argnums)(*args, shift=0.25)
    several = not isinstance(argnums, int)
    places = [k % 3 for k in argnums] if several else [argnums % 3]

    def of(x):
        full = list(args)
        for k, part in zip(places, x if several else (x,), strict=True):
            full[k] = part
        return model(*full, shift=0.25)

    x = tuple(args[k] for k in places) if several else args[places[0]]
    wanted = transform(of)(x)
    assert isinstance(found, tuple) == (several or transform is rmad.value_and_grad)
    for (_, a), (path, b) in zip(tree.leaves(found), tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


def test_wrong_argnums():
    for wrong in (1.0, "x", True, (0, None)):
        with pytest.raises(TypeError, match="argnums must be an int or a tuple of ints"):
            rmad.grad(model, wrong)
    with pytest.raises(TypeError, match="argnums names argument 3, but there are 2 positional arguments"):
        rmad.jacobian(model, 3)(T, 1.0, b=1.0)
    with pytest.raises(ValueError, match="names an argument twice"):
        rmad.hessian(model, (1, -2))(T, 1.0, 1.0)
    with pytest.raises(TypeError, match="first positional argument, and there is none"):
        rmad.grad(model)(t=T, a=1.0, b=1.0)
    with pytest.raises(TypeError, match="the function comes first"):
        rmad.jacobian(T, 1)(T, T)
    with pytest.raises(TypeError, match="nothing to differentiate"):
        rmad.jacobian(lambda k: k)(np.arange(3))


# -- complex numbers ---------------------------------------------------------------------------------------------------


Z = A[0] + 1j * A[1]
C = A[:, :3] + 1j * A[:, 1:]


@pytest.mark.parametrize("rows", [2, 3, 9])
def test_holomorphic_functions(rows):
    B = R(3).standard_normal((rows, 4)) * (1 + 2j)
    J = rmad.jacobian(lambda z: np.exp(B @ z / 10))(Z)
    np.testing.assert_allclose(J, np.exp(B @ Z / 10)[:, None] * B / 10, rtol=1e-12)
    rmad.check_grads(rmad.jacobian(lambda z: np.exp(B @ z / 10)), Z)


def test_real_functions_of_complex_numbers_have_gradients_as_rows():
    f = lambda z: np.stack([np.sum(np.abs(z) ** 2), np.sum(np.real(z * z)), np.real(z[0])])  # noqa: E731
    J = rmad.jacobian(f)(Z)
    for k in range(3):
        np.testing.assert_allclose(J[k], rmad.grad(lambda z, k=k: f(z)[k])(Z), rtol=1e-12)
    np.testing.assert_allclose(dense.by_columns(Record(f, Z, ())), J, rtol=1e-12)


def test_complex_functions_of_real_numbers():
    f, x = lambda x: np.exp(1j * x) * x[0], A[0]
    wanted = np.diag(1j * np.exp(1j * x) * x[0])
    wanted[:, 0] += np.exp(1j * x)
    for by in (dense.by_columns, dense.by_rows):
        np.testing.assert_allclose(by(Record(f, x, ())), wanted, rtol=1e-12)


def test_what_has_no_complex_derivative_is_refused():
    for f in (np.conj, lambda z: z * np.abs(z), lambda z: (np.real(z), np.real(z) + 0j)):
        for by in (dense.by_columns, dense.by_rows):
            with pytest.raises(ValueError, match="not holomorphic"):
                by(Record(f, Z, ()))
    with pytest.raises(TypeError, match=r"x\[1\] is complex, and second derivatives are of real numbers"):
        rmad.hessian(lambda a, z: np.sum(a * np.abs(z)), (0, 1))(A[0], Z)
    with pytest.raises(TypeError, match="the gradient is of a scalar"):
        rmad.hessian(np.sin)(A)
