"""linearize, jvp, vjp, grad, hvp, stop_gradient: values, dtypes, control flow, threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import rmad

RNG = np.random.default_rng(0)
W, X, B = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3)), RNG.standard_normal(4)


def net(p, x=X):
    return np.tanh(x @ p["W"] + p["b"])


P = {"W": W, "b": B}


# -- the forms agree ---------------------------------------------------------------------------------------


def test_linearize_jvp_and_vjp_agree():
    v, u = {"W": RNG.standard_normal(W.shape), "b": RNG.standard_normal(4)}, RNG.standard_normal((5, 4))
    y, lin = rmad.linearize(net, P)
    y1, Jv = rmad.jvp(net, P, v)
    y2, pull = rmad.vjp(net, P)
    np.testing.assert_array_equal(y, net(P))
    np.testing.assert_array_equal(y1, y)
    np.testing.assert_array_equal(y2, y)
    np.testing.assert_allclose(lin.Jv(v), Jv, rtol=1e-13)
    for key, part in pull(u).items():
        np.testing.assert_allclose(lin.JTu(u)[key], part, rtol=1e-13)


def test_further_arguments_pass_through():
    x, c = np.arange(3.0), np.full(3, 2.0)
    for result in (
        rmad.grad(lambda x, c, k: np.sum(c * x * k))(x, c, 3),
        rmad.value_and_grad(lambda x, c, k: np.sum(c * x * k))(x, c, 3)[1],
        rmad.linearize(lambda x, c, k: np.sum(c * x * k), x, c, 3)[1].JTu(1.0),
        rmad.vjp(lambda x, c, k: np.sum(c * x * k), x, c, 3)[1](1.0),
    ):
        np.testing.assert_array_equal(result, 6 * np.ones(3))
    assert rmad.jvp(lambda x, c, k: np.sum(c * x * k), x, c, c, 3)[1] == 36
    np.testing.assert_array_equal(rmad.hvp(lambda x, c, k: np.sum(c * x * x * k), x, c, c, 3), 24 * np.ones(3))


def test_python_numbers():
    assert rmad.grad(lambda x: x * x * x)(2.0) == 12
    y, slope = rmad.jvp(np.sin, 0.5, 2.0)
    assert (y, slope) == (np.sin(0.5), 2 * np.cos(0.5))
    assert rmad.grad(lambda t: t[0] * t[1])((2.0, 5.0)) == (5.0, 2.0)
    assert rmad.hvp(lambda x: x * x * x, 2.0, 1.0) == 12
    assert abs(rmad.grad(lambda z: (z * np.conj(z)).real)(1 + 2j) - (2 + 4j)) < 1e-15


def test_zero_derivatives():
    """A function that does not depend on its input has a derivative of zero, in the shapes and dtypes of x and y."""
    x = {"a": np.ones((2, 3), np.float32), "b": np.ones(2)}
    f = lambda x: (np.ones(4, np.float32), 3.0, np.sum(x["b"]))  # noqa: E731
    _, lin = rmad.linearize(f, x)
    Jv, JTu = lin.Jv(x), lin.JTu((np.ones(4, np.float32), 1.0, 0.0))
    assert Jv[0].shape == (4,)
    assert Jv[0].dtype == np.float32
    assert (Jv[1], Jv[2]) == (0, 2)
    assert JTu["a"].shape == (2, 3)
    assert JTu["a"].dtype == np.float32
    assert not JTu["a"].any()
    assert not JTu["b"].any()
    np.testing.assert_array_equal(rmad.grad(lambda x: 1.0)(np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(rmad.hvp(lambda x: np.sum(x), np.ones(3), np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(rmad.grad(lambda x: np.sum(np.floor(x) * np.sign(x)))(B), np.zeros(4))


def test_integer_leaves_are_constants():
    x = {"w": np.arange(4.0), "index": np.array([0, 0, 3]), "n": 2, "on": True}
    f = lambda x: np.sum(x["w"][x["index"]] * x["n"]) if x["on"] else None  # noqa: E731
    J = rmad.grad(f)(x)
    np.testing.assert_array_equal(J["w"], [4, 0, 0, 2])
    assert np.shape(J["index"]) == (3,)
    assert not np.any(J["index"])
    assert J["n"] == 0
    _, lin = rmad.linearize(f, x)
    assert lin.Jv({"w": np.ones(4), "index": np.zeros(3), "n": 0.0, "on": 0.0}) == 6


def test_complex():
    """Under ⟨u, v⟩ = Re uᴴv the pull is the adjoint, and the gradient points uphill."""
    z = RNG.standard_normal(3) + 1j * RNG.standard_normal(3)
    A = RNG.standard_normal((3, 3)) + 1j * RNG.standard_normal((3, 3))
    f = lambda z: np.sin(A @ z) * z  # noqa: E731
    v, u = z[::-1], A[0]
    Jv, JTu = rmad.jvp(f, z, v)[1], rmad.vjp(f, z)[1](u)
    assert abs(np.vdot(u, Jv).real - np.vdot(JTu, v).real) < 1e-13
    np.testing.assert_allclose(rmad.grad(lambda z: np.sum((z * np.conj(z)).real))(z), 2 * z)
    rmad.check_grads(f, z)


def test_real_input_complex_output():
    x = RNG.standard_normal(3)
    rmad.check_grads(lambda x: np.exp(1j * x) * x, x)
    assert rmad.vjp(lambda x: np.exp(1j * x), x)[1](np.ones(3, complex)).dtype == float


# -- control flow ------------------------------------------------------------------------------------------------


def test_control_flow():
    def f(x):
        if x > 1:
            return x * x
        while x < 1:
            x = x * 2
        for _ in range(3):
            x = x * x
        return x if x.ndim == 0 and x != 5 else -x

    assert rmad.grad(f)(2.0) == 4
    assert rmad.grad(f)(0.3) == pytest.approx(4 * 8 * 1.2**7)
    rmad.check_grads(f, 0.3)
    assert rmad.grad(lambda x: sum(a * k for k, a in enumerate(x)))(np.ones(3)).tolist() == [0, 1, 2]
    assert rmad.grad(lambda x: x[int(np.argmax(x))] * 2)(np.array([1.0, 3.0, 2.0])).tolist() == [0, 2, 0]


def test_in_place_operators_change_every_name_of_an_array():
    def f(x):
        y = x
        y += 1
        y *= x
        return np.sum(y)

    x = np.arange(3.0)
    np.testing.assert_array_equal(rmad.grad(f)(x), 2 * (x + 1))
    np.testing.assert_array_equal(x, np.arange(3.0))


# -- stop_gradient and checkpoint --------------------------------------------------------------------------------


def test_stop_gradient():
    x = np.arange(3.0)
    np.testing.assert_array_equal(rmad.grad(lambda x: np.sum(x * rmad.stop_gradient(x)))(x), x)
    np.testing.assert_array_equal(rmad.hvp(lambda x: np.sum(x * rmad.stop_gradient(x)), x, x), 0 * x)
    tree = rmad.stop_gradient({"a": [x], "n": 3, "none": None})
    np.testing.assert_array_equal(tree["a"][0], x)
    assert rmad.grad(lambda t: np.sum(rmad.stop_gradient({"a": t})["a"] * t))(2.0) == 2
    assert rmad.grad(lambda x: float(rmad.stop_gradient(x)) * x)(2.0) == 2


# -- threads, GPU --------------------------------------------------------------------------------------------------


def test_products_from_several_threads():
    """One Linearization, many threads: each gets the product of its own vector."""
    rng = np.random.default_rng(1)
    p = {"W": rng.standard_normal((30, 40)), "b": rng.standard_normal(40)}
    x = rng.standard_normal((50, 30))
    y, lin = rmad.linearize(net, p, x)
    vs = [{"W": k * p["W"], "b": k * p["b"]} for k in range(40)]
    one_v, one_u = lin.Jv(p), lin.JTu(y)
    with ThreadPoolExecutor(4) as pool:
        forwards = list(pool.map(lin.Jv, vs))
        backwards = list(pool.map(lambda k: lin.JTu(k * y), range(40)))
        traces = list(pool.map(lambda v: rmad.jvp(net, p, v, x)[1], vs))
    for k in range(40):
        for found, one in ((forwards[k], one_v), (backwards[k]["W"], one_u["W"]), (traces[k], one_v)):
            rounding = 1e-14 * k * np.max(np.abs(one))  # of an entry that is a sum of larger terms
            np.testing.assert_allclose(found, k * one, rtol=1e-12, atol=rounding)


def test_keyword_arguments_pass_through():
    def f(x, power, scale=1.0):
        return scale * x**power

    assert rmad.grad(f)(2.0, 3, scale=2.0) == 24
    assert rmad.grad(f)(2.0, power=3) == 12
    assert rmad.value_and_grad(f)(2.0, 3, scale=2.0) == (16, 24)


def test_a_linearization_says_what_it_maps():
    _, lin = rmad.linearize(lambda x: np.tanh(x["A"] @ x["b"]), {"A": np.ones((2, 3)), "b": np.ones(3)})
    assert repr(lin).startswith("<Linearization: 9 numbers to 2, ")
