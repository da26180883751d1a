"""linearize, jvp, vjp, grad, hvp, checkpoint, stop_gradient: values, nesting, errors."""

from __future__ import annotations

import gc
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.special

import rmad

RNG = np.random.default_rng(0)
W, X, B = RNG.standard_normal((3, 4)), RNG.standard_normal((5, 3)), RNG.standard_normal(4)


def net(p, x=X):
    return np.tanh(x @ p["W"] + p["b"])


P = {"W": W, "b": B}


def dense(f, x):
    """The Jacobian of f: R^n -> R^m, column by column."""
    columns = [rmad.jvp(f, x, e)[1].ravel() for e in np.eye(x.size).reshape(-1, *x.shape)]
    return np.stack(columns, axis=1)


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


# -- nesting ---------------------------------------------------------------------------------------------------


def forward(f):
    return lambda x: rmad.jvp(f, x, 1.0)[1]


def reverse(f):
    return lambda x: rmad.vjp(f, x)[1](1.0)


def cached_forward(f):
    return lambda x: rmad.linearize(f, x)[1].Jv(1.0)


def cached_reverse(f):
    return lambda x: rmad.linearize(f, x)[1].JTu(1.0)


WAYS = [forward, reverse, cached_forward, cached_reverse, rmad.grad]


@pytest.mark.parametrize("outer", WAYS)
@pytest.mark.parametrize("inner", WAYS)
def test_nesting_to_order_four(inner, outer):
    f = lambda x: np.sin(x) * x  # noqa: E731
    x = 0.7
    wanted = [
        np.sin(x) + x * np.cos(x),
        2 * np.cos(x) - x * np.sin(x),
        -3 * np.sin(x) - x * np.cos(x),
        -4 * np.cos(x) + x * np.sin(x),
    ]
    for k, y in enumerate(wanted):
        f = (outer if k % 2 else inner)(f)
        assert abs(f(x) - y) < 1e-13


@pytest.mark.parametrize("outer", WAYS)
@pytest.mark.parametrize("inner", WAYS)
def test_no_perturbation_confusion(inner, outer):
    """d/dx [x · d/dy (x + y)] = 1, and d/dx [x · d/dy (x y)] = 2x: the inner d sees y alone."""
    assert outer(lambda x: x * inner(lambda y: x + y)(1.0))(1.0) == 1
    assert outer(lambda x: x * inner(lambda y: x * y)(2.0))(3.0) == 6
    assert outer(lambda x: inner(lambda y: x * y * y)(x))(3.0) == 12


def test_closures_over_an_outer_traced_array():
    c = np.arange(1.0, 4.0)

    def f(w):
        return np.sum(rmad.grad(lambda x: np.sum(w * np.sin(x)))(c) * w)

    np.testing.assert_allclose(rmad.grad(f)(c), 2 * c * np.cos(c))
    np.testing.assert_allclose(rmad.hvp(f, c, c), 2 * c * np.cos(c))


def test_hvp_is_the_dense_hessian():
    f = lambda w: np.sum(np.tanh(X @ w) * np.exp(w[0] * 0.1))  # noqa: E731
    w, v = W[:, 0], W[:, 1]
    H = dense(rmad.grad(f), w)
    np.testing.assert_allclose(H, H.T, atol=1e-12)
    np.testing.assert_allclose(rmad.hvp(f, w, v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(rmad.linearize(rmad.grad(f), w)[1].Jv(v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(rmad.linearize(rmad.grad(f), w)[1].JTu(v), H @ v, rtol=1e-12)
    np.testing.assert_allclose(rmad.grad(lambda w: np.sum(rmad.grad(f)(w) * v))(w), H @ v, rtol=1e-12)


def test_grad_through_products():
    """The derivatives of ½‖Jv‖² and ½‖Jᵀu‖² in x, where J comes from linearize inside."""
    x, v, u = X[0], X[1], B
    f = lambda x: np.tanh(x @ W) * np.sin(x[0])  # noqa: E731
    rmad.check_grads(lambda x: np.sum(np.square(rmad.linearize(f, x)[1].Jv(v))), x)
    rmad.check_grads(lambda x: np.sum(np.square(rmad.linearize(f, x)[1].JTu(u))), x)
    rmad.check_grads(lambda v: rmad.linearize(f, x)[1].Jv(v), v)  # linear in v
    rmad.check_grads(lambda u: rmad.linearize(f, x)[1].JTu(u), u)


def test_one_linearization_in_and_outside_of_a_trace():
    """Products with plain and with traced vectors come from the same tape."""
    _, lin = rmad.linearize(np.sin, X)
    v = np.ones_like(X)
    np.testing.assert_allclose(lin.Jv(v), np.cos(X))
    np.testing.assert_allclose(rmad.jvp(lin.Jv, v, v)[1], np.cos(X))
    np.testing.assert_allclose(lin.JTu(v), np.cos(X))
    np.testing.assert_allclose(rmad.vjp(lin.JTu, v)[1](v), np.cos(X))
    np.testing.assert_allclose(lin.Jv(v), np.cos(X))


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


def test_in_place_operators_rebind():
    def f(x):
        y = x
        y += 1
        y *= x
        return np.sum(y)

    x = np.arange(3.0)
    np.testing.assert_array_equal(rmad.grad(f)(x), 2 * x + 1)
    np.testing.assert_array_equal(x, np.arange(3.0))


# -- errors ------------------------------------------------------------------------------------------------------


class NotATree:
    pass


ERRORS = {
    "float": (lambda x: float(x[0]), TypeError, r"float\(x\).*stop_gradient"),
    "int": (lambda x: int(x[0]), TypeError, r"int\(x\)"),
    "complex": (lambda x: complex(x[0]), TypeError, r"complex\(x\)"),
    "index": (lambda x: [1, 2][x[0]], TypeError, "index"),
    "item": (lambda x: x[0].item(), TypeError, "item"),
    "tolist": (lambda x: x.tolist(), TypeError, "tolist"),
    "asarray": (lambda x: np.asarray(x), TypeError, "without losing its derivative"),
    "array of": (lambda x: np.array([x[0], x[1]]), (TypeError, ValueError), "derivative"),
    "full": (lambda x: np.full(3, x[0]), (TypeError, ValueError), "derivative"),
    "setitem": (lambda x: x.__setitem__(0, 1.0), TypeError, r"x\[i\] = "),
    "out": (lambda x: np.sin(x, out=np.zeros(3)), TypeError, "sin.*out"),
    "out of a function": (lambda x: np.sum(x, out=np.zeros(())), TypeError, "sum.*out"),
    "unknown ufunc": (scipy.special.wrightomega, NotImplementedError, r"scipy.special.wrightomega has no deriv"),
    "how to add one": (scipy.special.wrightomega, NotImplementedError, r"Add one with rmad\.elementwise"),
    "unknown function": (lambda x: np.histogram(x), NotImplementedError, r"histogram has no derivative rule"),
    "unknown ufunc method": (lambda x: np.hypot.accumulate(x), NotImplementedError, r"numpy\.hypot\.accumulate"),
    "pickle": (lambda x: pickle.dumps(x), TypeError, "pickled without losing its derivative"),
    "returns no tree": (lambda x: NotATree(), TypeError, "f must return a tree of arrays.*NotATree"),
    "returns a string": (lambda x: {"a": "no"}, TypeError, r"f\(x\)\['a'\]"),
    "len of 0-d": (lambda x: len(x[0]), TypeError, "0-d"),
    "iterates 0-d": (lambda x: list(x[0]), TypeError, "0-d"),
}


@pytest.mark.parametrize("row", ERRORS.values(), ids=ERRORS)
def test_what_would_lose_a_derivative_is_an_error(row):
    f, kind, message = row
    with pytest.raises(kind, match=message):
        rmad.linearize(f, np.ones(3))


def test_a_traced_number_does_not_go_into_a_plain_array():
    """NumPy raises its own error here; ours, which says why, is the cause of it."""
    with pytest.raises((TypeError, ValueError)) as error:
        rmad.linearize(lambda x: np.zeros(3).__setitem__(0, x[0]), np.ones(3))
    chain = f"{error.value} {error.value.__cause__} {error.value.__context__}"
    assert "derivative" in chain


def test_wrong_arguments_name_the_leaf():
    x = {"w": np.ones((2, 3)), "b": [np.ones(3)]}
    f = lambda x: (np.sum(x["w"], 0) + x["b"][0], x["b"][0])  # noqa: E731
    _, lin = rmad.linearize(f, x)
    with pytest.raises(ValueError, match=r"v\['w'\] has shape \(3, 2\), but x\['w'\] has shape \(2, 3\)"):
        lin.Jv({"w": np.ones((3, 2)), "b": [np.ones(3)]})
    with pytest.raises(ValueError, match=r"v.*keys of x"):
        lin.Jv({"w": np.ones((2, 3))})
    with pytest.raises(ValueError, match=r"v\['b'\] must be a sequence of 1"):
        lin.Jv({"w": np.ones((2, 3)), "b": []})
    with pytest.raises(ValueError, match=r"u\[1\] has shape \(\), but f\(x\)\[1\] has shape \(3,\)"):
        lin.JTu((np.ones(3), 1.0))
    with pytest.raises(TypeError, match=r"u\[0\] is complex"):
        lin.JTu((np.ones(3) * 1j, np.ones(3)))
    for again in (rmad.jvp, rmad.hvp):
        with pytest.raises(ValueError, match=r"v\['w'\] has shape"):
            again(lambda x: np.sum(x["w"]), x, {"w": np.ones(2), "b": [np.ones(3)]})


def test_a_traced_array_that_outlives_its_function_is_an_error():
    leaked = []
    rmad.grad(lambda x: (leaked.append(np.sin(x)), np.sum(x))[1])(B)
    with pytest.raises(RuntimeError, match="after the function that it was traced in has returned"):
        np.sin(leaked[0])
    with pytest.raises(RuntimeError, match="has returned"):
        rmad.grad(lambda x: np.sum(leaked[0]) * x)(1.0)
    np.testing.assert_array_equal(rmad.stop_gradient(leaked[0]), np.sin(B))


def test_a_list_is_no_tangent():
    with pytest.raises(TypeError, match=r"v\[0\] is of type list, not an array like x\[0\]"):
        rmad.jvp(lambda x: x[0] * 2, [B], [list(B)])
    with pytest.raises(TypeError, match="v is of type list, not an array like x"):
        rmad.jvp(lambda x: x * 2, B, list(B))


def test_nothing_to_differentiate():
    for x in (3, np.arange(3), [np.arange(2), True], (), {}, None):
        with pytest.raises(TypeError, match="nothing to differentiate"):
            rmad.linearize(lambda x: x, x)
    with pytest.raises(TypeError, match=r"x\['a'\] is of type str"):
        rmad.linearize(lambda x: x, {"a": "text", "b": 1.0})


def test_gradients_are_of_real_scalars():
    with pytest.raises(TypeError, match=r"scalar, but f returned shape \(3,\)"):
        rmad.grad(np.sin)(np.ones(3))
    with pytest.raises(TypeError, match="tuple"):
        rmad.grad(lambda x: (x, x))(1.0)
    with pytest.raises(TypeError, match="complex"):
        rmad.grad(np.sin)(1j)


def test_no_derivative_in_that_argument():
    def half(f):
        return rmad.elementwise(f, lambda y, a, b: b, None, name="half")

    g = half(lambda a, b: a * b)
    assert rmad.grad(lambda a: g(a, 2.0))(1.0) == 2
    with pytest.raises(NotImplementedError, match="half has no derivative with respect to argument 1"):
        rmad.grad(lambda b: g(1.0, b))(1.0)
    assert rmad.grad(lambda b: g(b, rmad.stop_gradient(b)))(3.0) == 3


# -- stop_gradient and checkpoint --------------------------------------------------------------------------------


def test_stop_gradient():
    x = np.arange(3.0)
    np.testing.assert_array_equal(rmad.grad(lambda x: np.sum(x * rmad.stop_gradient(x)))(x), x)
    np.testing.assert_array_equal(rmad.hvp(lambda x: np.sum(x * rmad.stop_gradient(x)), x, x), 0 * x)
    tree = rmad.stop_gradient({"a": [x], "n": 3, "none": None})
    np.testing.assert_array_equal(tree["a"][0], x)
    assert rmad.grad(lambda t: np.sum(rmad.stop_gradient({"a": t})["a"] * t))(2.0) == 2
    assert rmad.grad(lambda x: float(rmad.stop_gradient(x)) * x)(2.0) == 2


def checkpointed_net(p, x):
    block = rmad.checkpoint(lambda q, h: {"h": np.tanh(h @ q["W"] + q["b"]), "n": 3})
    return block(p, np.sin(x))["h"] * 2.0


def plain_net(p, x):
    return np.tanh(np.sin(x) @ p["W"] + p["b"]) * 2.0


def test_checkpoint_gives_the_same():
    tree, v = (P, X), ({"W": W[::-1], "b": B[::-1]}, X[::-1])
    f, h = (lambda t: checkpointed_net(*t)), (lambda t: plain_net(*t))
    np.testing.assert_array_equal(f(tree), h(tree))
    y, lin = rmad.linearize(f, tree)
    _, wanted = rmad.linearize(h, tree)
    np.testing.assert_array_equal(y, h(tree))
    np.testing.assert_allclose(lin.Jv(v), wanted.Jv(v), rtol=1e-12)
    for a, b in zip(rmad.ravel(lin.JTu(y))[0], rmad.ravel(wanted.JTu(y))[0], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)
    rmad.check_grads(f, tree)
    s = lambda t: np.sum(np.square(f(t)))  # noqa: E731
    r = lambda t: np.sum(np.square(h(t)))  # noqa: E731
    np.testing.assert_allclose(rmad.hvp(s, tree, v)[1], rmad.hvp(r, tree, v)[1], rtol=1e-10)


def test_checkpoint_runs_f_again_and_keeps_nothing():
    calls, kept = [], []

    @rmad.checkpoint
    def f(x):
        calls.append(1)
        y = np.sin(x)
        kept.append(weakref.ref(rmad.stop_gradient(y)))
        return np.tanh(y * np.cos(x))

    x = np.ones(1000)
    y, lin = rmad.linearize(lambda x: f(x) * 2.0, x)
    assert len(calls) == 1
    lin.Jv(x)
    assert len(calls) == 2
    lin.JTu(y)
    assert len(calls) == 3
    lin.JTu(y)
    gc.collect()
    assert all(ref() is None for ref in kept)


def test_checkpoint_on_plain_arrays_is_f():
    f = rmad.checkpoint(lambda x, k: {"y": np.sin(x) * k})
    np.testing.assert_array_equal(f(B, 2)["y"], np.sin(B) * 2)


def test_checkpoint_refuses_closures():
    def f(x):
        return np.sum(rmad.checkpoint(lambda z: z * x)(np.sin(x)))

    with pytest.raises(ValueError, match="closes over a traced array"):
        rmad.grad(f)(B)


# -- threads, GPU --------------------------------------------------------------------------------------------------


def test_products_from_several_threads():
    """One Linearization, many threads: each gets the product of its own vector."""
    p = {"W": RNG.standard_normal((30, 40)), "b": RNG.standard_normal(40)}
    x = RNG.standard_normal((50, 30))
    y, lin = rmad.linearize(net, p, x)
    vs = [{"W": k * p["W"], "b": k * p["b"]} for k in range(40)]
    one_v, one_u = lin.Jv(p), lin.JTu(y)
    with ThreadPoolExecutor(4) as pool:
        forwards = list(pool.map(lin.Jv, vs))
        backwards = list(pool.map(lambda k: lin.JTu(k * y), range(40)))
        traces = list(pool.map(lambda v: rmad.jvp(net, p, v, x)[1], vs))
    for k in range(40):
        np.testing.assert_allclose(forwards[k], k * one_v, rtol=1e-12)
        np.testing.assert_allclose(backwards[k]["W"], k * one_u["W"], rtol=1e-12)
        np.testing.assert_allclose(traces[k], k * one_v, rtol=1e-12)


@pytest.mark.gpu
def test_cupy_arrays():
    cupy = pytest.importorskip("cupy")
    p, x = {k: cupy.asarray(a) for k, a in P.items()}, cupy.asarray(X)
    v, u = {k: a[::-1].copy() for k, a in p.items()}, cupy.ones((5, 4))
    _, lin = rmad.linearize(net, p, x)
    _, wanted = rmad.linearize(net, P, X)
    assert isinstance(lin.Jv(v), cupy.ndarray)
    np.testing.assert_allclose(lin.Jv(v).get(), wanted.Jv({k: a.get() for k, a in v.items()}), rtol=1e-12)
    np.testing.assert_allclose(lin.JTu(u)["W"].get(), wanted.JTu(u.get())["W"], rtol=1e-12)
    J = rmad.grad(lambda p: np.sum(np.square(net(p, x))))(p)
    np.testing.assert_allclose(J["b"].get(), rmad.grad(lambda p: np.sum(np.square(net(p, X))))(P)["b"], rtol=1e-12)
    rmad.check_grads(net, p, x)


@pytest.mark.gpu
def test_cupy_operators():
    cupy = pytest.importorskip("cupy")
    p, x = {k: cupy.asarray(a) for k, a in P.items()}, cupy.asarray(X)
    flat, _ = rmad.ravel(p)
    loss = lambda z: np.sum(np.exp(z) * z)  # noqa: E731
    G, H = rmad.GGNOperator(net, loss, p, x), rmad.HessianOperator(lambda p: loss(net(p, x)), p)
    plain = rmad.ravel(P)[0]
    np.testing.assert_allclose((G @ flat).get(), rmad.GGNOperator(net, loss, P, X) @ plain, rtol=1e-10)
    np.testing.assert_allclose((H @ flat).get(), rmad.HessianOperator(lambda p: loss(net(p, X)), P) @ plain, rtol=1e-10)


@pytest.mark.parametrize("x", [np.ma.array([1.0, 2.0], mask=[0, 1])])
def test_arrays_with_an_arithmetic_of_their_own_are_refused(x):
    with pytest.raises(TypeError, match="x holds a MaskedArray"):
        rmad.grad(np.sum)(x)


def test_a_rule_that_is_no_rule_names_its_primitive():
    with pytest.raises(TypeError, match=r"derivative 0 must be a function of \(y, x…\), 1, -1 or None, not 2"):
        rmad.elementwise(lambda x: 2 * x, 2)
    half = rmad.primitive(lambda x: x / 2, lambda y, x: (lambda v: v / 2, lambda u: u / 2), name="half")
    with pytest.raises(TypeError, match="half: the rule must give a pair"):
        rmad.grad(half)(1.0)


def test_keyword_arguments_pass_through():
    def f(x, power, scale=1.0):
        return scale * x**power

    assert rmad.grad(f)(2.0, 3, scale=2.0) == 24
    assert rmad.grad(f)(2.0, power=3) == 12
    assert rmad.value_and_grad(f)(2.0, 3, scale=2.0) == (16, 24)


def test_a_linearization_says_what_it_maps():
    _, lin = rmad.linearize(lambda x: np.tanh(x["A"] @ x["b"]), {"A": np.ones((2, 3)), "b": np.ones(3)})
    assert repr(lin).startswith("<Linearization: 9 numbers to 2, ")


def test_checkpoint_of_an_array_and_a_view_of_it():
    def twice(f, x):
        y = np.tanh(x)
        return f(y, y.T, y[1:]) + f(y[:, 1:] @ y.T[1:], y.T, y[1:])

    def plain(a, b, c):
        return np.sum(np.sin(a @ b)) + np.sum(c**3) * np.sum(a)

    x = np.random.default_rng(0).standard_normal((4, 4))
    expected = rmad.grad(lambda x: twice(plain, x))(x)
    _, lin = rmad.linearize(lambda x: twice(rmad.checkpoint(plain), x), x)
    np.testing.assert_allclose(lin.JTu(1.0), expected, rtol=1e-12)
    direct = rmad.linearize(lambda x: rmad.checkpoint(lambda a, b: np.tanh(a @ b) * a)(x, x.T), x)[1]
    reference = rmad.vjp(lambda x: np.tanh(x @ x.T) * x, x)[1]
    np.testing.assert_allclose(direct.JTu(x), reference(x), rtol=1e-12)
