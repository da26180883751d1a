"""Sweeps over the tape, operators and checkpoints on CuPy's arrays."""

from __future__ import annotations

import numpy as np
import pytest
import test_squares
from moving import assert_equal, on_device, to_device
from recorded import identity_columns, mlp, normal, recorded, rng

import nn
import rmad
from rmad.record import Record
from rmad.sweeps import squares
from rmad.sweeps.averaged import averaged

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

F64 = {"dtype": np.float64}
USES = test_squares.USES | {name: (lambda m, x: m(x), *row) for name, row in test_squares.MODELS.items()}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if k % 6 == 0 else pytest.mark.slow) for k, n in enumerate(USES)]
)
def test_squares_of_the_gradients_of_all_cases(name, nothing_leaves_the_device):
    f, params, x = USES[name]
    here, there = Record(f, params, (x,)), Record(on_device(f), to_device(params), (to_device(x),))
    u = [np.random.default_rng(1).standard_normal(np.shape(z)) for _, z in rmad.trees.tree.leaves(here.y)]
    u_there = to_device(u)
    wanted = squares(here.tape, u, here.outputs, here.n_inputs, len(x))
    with nothing_leaves_the_device(at_most=1):  # which rows belong to a case
        found = squares(there.tape, u_there, there.outputs, there.n_inputs, len(x))
    assert_equal(tuple(found), tuple(wanted))


NETWORKS = {  # a network, the shape of x, and the copies to the host for a primitive whose map KFRA has to look for
    "mlp": (lambda: mlp(rng()), (6, 4), 0),
    "convolutional": (
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, rng=rng(), **F64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(6, 2, rng=rng(), **F64),
        ),
        (4, 4, 6, 2),
        2,
    ),
    "layer norm": (
        lambda: nn.Sequential(
            nn.Linear(4, 3, rng=rng(), **F64), nn.LayerNorm(3, **F64), nn.Linear(3, 2, rng=rng(), **F64)
        ),
        (6, 4),
        2,
    ),
}


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
@pytest.mark.parametrize("name", NETWORKS)
def test_kronecker_factors_and_averaged_curvature(name, sharing, nothing_leaves_the_device):
    make, shape, looks = NETWORKS[name]
    x = normal(*shape)
    here, meetings = recorded(lambda m, x: m(x), make(), x, sharing)
    _, there = recorded(lambda m, x: m(x), to_device(make()), cupy.asarray(x), sharing)
    S = identity_columns(here.y)
    H = np.eye(len(S))
    S_there, H_there = to_device((S, H))
    with nothing_leaves_the_device():
        found = there.activations(), there.cotangents([S_there])
    with nothing_leaves_the_device(at_most=looks):
        found = *found, averaged([there], [1.0], H_there)
    assert_equal(found, (meetings.activations(), meetings.cotangents([S]), averaged([meetings], [1.0], H)))


# -- operators -------------------------------------------------------------------------------------------------------

W, X, B = normal(3, 4), normal(5, 3, seed=1), normal(4, seed=2)


def net(p, x):
    return np.tanh(x @ p["W"] + p["b"])


def bowl(z):
    return np.sum(np.exp(z) * z)


def operators(p, x):
    return {
        "J": rmad.JacobianOperator(net, p, x),
        "G": rmad.GGNOperator(net, bowl, p, x),
        "H": rmad.HessianOperator(lambda p: bowl(net(p, x)), p),
    }


def test_operators(nothing_leaves_the_device):
    from cupyx.scipy.sparse.linalg import LinearOperator

    p = {"W": W, "b": B}
    here, there = operators(p, X), operators(*to_device((p, X)))
    for name, A in here.items():
        D = there[name]
        assert isinstance(D, LinearOperator)
        assert (D.shape, D.dtype) == (A.shape, A.dtype)
        v, u, V = normal(A.shape[1]), normal(A.shape[0]), normal(A.shape[1], 3)
        v_there, u_there, V_there = to_device((v, u, V))
        with nothing_leaves_the_device():
            found = D @ v_there, D.matvec(v_there), D.rmatvec(u_there), D.matmat(V_there), D.T @ u_there
        assert_equal(found, (A @ v, A.matvec(v), A.rmatvec(u), A.matmat(V), A.T @ u), name)


def test_what_is_made_of_operators():
    """Sums, products, multiples and powers are cupyx's operators too, and pass derivatives on."""
    from cupyx.scipy.sparse.linalg import LinearOperator

    p = {"W": W, "b": B}
    here, there = operators(p, X), operators(*to_device((p, X)))
    combined = {
        "sum": lambda J, G, H: J.T @ J / 2 - G,
        "power": lambda J, G, H: G**2,
        "multiple": lambda J, G, H: 3 * H + G,
        "adjoint": lambda J, G, H: (1j * J).H,
    }
    for name, combine in combined.items():
        A, D = combine(**here), combine(**there)
        assert isinstance(D, LinearOperator), name
        v = normal(A.shape[1])
        assert_equal(D @ cupy.asarray(v), A @ v, name)
        wanted = rmad.grad(lambda v, A=A: np.sum(np.abs(A @ v) ** 2))(v)
        assert_equal(rmad.grad(lambda v, D=D: np.sum(np.abs(D @ v) ** 2))(cupy.asarray(v)), wanted, name)


def test_cupyx_solves_with_an_operator():
    from cupyx.scipy.sparse.linalg import cg

    A = normal(8, 8)
    A, b = A @ A.T / 8 + np.eye(8), normal(8, seed=3)
    A_there = cupy.asarray(A)
    H = rmad.HessianOperator(lambda x: 0.5 * x @ (A_there @ x), cupy.zeros(8))
    x, info = cg(H, cupy.asarray(b), rtol=1e-12)
    assert info == 0
    np.testing.assert_allclose(x.get(), np.linalg.solve(A, b), rtol=1e-9)


def test_dense_matrices():
    f = lambda x: np.tanh(x) * np.sum(x**2)  # noqa: E731
    x = normal(4)
    for transform in (rmad.jacobian, rmad.hessian):
        g = f if transform is rmad.jacobian else lambda x: np.sum(f(x))
        assert_equal(transform(g)(cupy.asarray(x)), transform(g)(x))


def test_checkpoint(nothing_leaves_the_device):
    def f(args):
        p, x = args
        return rmad.checkpoint(net)(p, np.sin(x)) * 2.0

    args = ({"W": W, "b": B}, X)
    args_there = to_device(args)
    y, lin = rmad.linearize(f, args)
    y_there, lin_there = rmad.linearize(f, args_there)
    u_there = cupy.asarray(y)
    with nothing_leaves_the_device():
        found = y_there, lin_there.Jv(args_there), lin_there.JTu(u_there)
    assert_equal(found, (y, lin.Jv(args), lin.JTu(y)))
    s = lambda args: np.sum(np.square(f(args)))  # noqa: E731
    assert_equal(rmad.hvp(s, args_there, args_there)[1], rmad.hvp(s, args, args)[1])


def test_leaves_without_a_derivative_have_zeros_of_the_device():
    p = to_device({"used": W, "unused": B, "integers": np.arange(3)})
    f = lambda p: np.sum(np.sin(p["used"]))  # noqa: E731
    assert_equal(rmad.grad(f)(p)["unused"], np.zeros(4))
    assert_equal(rmad.grad(lambda p: 3.0)(p)["used"], np.zeros((3, 4)))


def test_check_grads_on_the_device():
    rmad.check_grads(net, *to_device(({"W": W, "b": B}, X)))
