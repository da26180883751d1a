"""Random programs: the compiled plan against the plain sweeps over the tape, which are the definition.

A plan shares buffers, works in place, takes views and fuses products. Whatever it does, its Jv and Jᵀu must be
those of `rmad.jvp` and `rmad.vjp`, twice in a row, whichever way round, with results used more than once.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import rmad
from rmad import tuning
from rmad.plan.calls import Sweep
from rmad.primitives.layers.normalize import standardize
from rmad.trees import tree

SEEDS = 25


def columns(a):
    """a as a matrix (…, n) with n ≥ 1."""
    return np.reshape(a, (1, 1)) if np.ndim(a) == 0 else np.reshape(a, (1, -1)) if np.ndim(a) == 1 else a


def affine(k, h, x, constant):
    """An affine map in one of several forms, by parameters if their shapes fit, or by constants."""
    if k == 4 and h.shape[-1] == x["U"].shape[0]:  # two products and a bias in one sum
        return h @ x["U"] + np.sin(h) @ x["U"] + x["b"]
    if k == 5 and h.shape[-1] == x["W"].shape[0]:
        return h @ x["W"] + np.tanh(h @ x["W"] + x["b"]) @ x["U"] + x["b"]
    if k > 3:
        return STEPS[21](h, x, None, None)
    square = {x["W"].shape[0]: (x["W"], x["b"]), x["V"].shape[0]: (x["V"], x["c"])}
    M, b = square.get(h.shape[-1], (constant(h.shape[-1], 2), constant(2)))
    return h @ M + b if k == 0 else b + h @ M if k == 1 else h @ M if k == 2 else np.tanh(h @ M - b)


STEPS = {  # f(h, x, rng, first): h is a value of the program so far, first its input
    6: lambda h, x, rng, first: h + h,
    7: lambda h, x, rng, first: h - 2.0 * h * x["s"],
    8: lambda h, x, rng, first: -h,
    9: lambda h, x, rng, first: h * h[:1],
    10: lambda h, x, rng, first: h[::-1],
    11: lambda h, x, rng, first: h.T,
    12: lambda h, x, rng, first: np.reshape(h, (h.shape[-1], -1)),
    13: lambda h, x, rng, first: h[:, : max(1, h.shape[1] - 1)],
    14: lambda h, x, rng, first: h[rng.integers(0, h.shape[0], 3)],
    15: lambda h, x, rng, first: np.sum(h, axis=0, keepdims=True) + h,
    16: lambda h, x, rng, first: np.exp(-np.square(h)),
    17: lambda h, x, rng, first: np.concatenate([h, 0.5 * h, first if first.shape[1:] == h.shape[1:] else h]),
    18: lambda h, x, rng, first: np.where(h > 0, h, x["s"]),
    19: lambda h, x, rng, first: h.reshape(1, *h.shape)[0] + 1,
    20: lambda h, x, rng, first: np.broadcast_to(h[:1], h.shape),
    21: lambda h, x, rng, first: np.sin(h) + x["s"] - h,
}


class Program:
    """A random straight-line program over the arrays of x: the same in every run, on plain and on traced arrays."""

    def __init__(self, seed, dtype, steps):
        self.seed, self.dtype, self.steps = seed, dtype, steps
        rng = np.random.default_rng(seed)
        n, i, o = rng.integers(1, 5, 3)
        imaginary = 0.2j if dtype == np.complex128 else 0.0
        draw = lambda *s: (0.5 * rng.standard_normal(s) + imaginary * rng.standard_normal(s)).astype(dtype)  # noqa: E731
        self.x = {
            "W": draw(i, o),
            "U": draw(o, o),
            "b": draw(o),
            "V": draw(o, i),
            "c": draw(i),
            "s": draw(),
            "a": draw(n, i),
        }

    def __call__(self, x):
        rng = np.random.default_rng(self.seed + 1)
        constant = lambda *shape: rng.standard_normal(shape).astype(self.dtype)  # noqa: E731
        pool = [x["a"], np.tanh(x["a"] @ x["W"] + x["b"])]
        for _ in range(self.steps):
            h = columns(pool[rng.integers(len(pool))])
            k = rng.integers(22)
            y = affine(k, h, x, constant) if k < 6 else STEPS[k](h, x, rng, pool[0])
            pool.append(y if np.size(y) < 200 else np.sum(y, axis=0))
        picked = [pool[j] for j in rng.integers(0, len(pool), 3)]
        total = sum(np.sum(np.sin(p)) for p in pool[-4:])
        return {"last": pool[-1], "picked": picked, "sum": total, "again": picked[0]}


def random_like(t, rng):
    def like(a):
        b = np.asarray(rng.standard_normal(np.shape(a))).astype(a.dtype)
        return b * (1 - 2j) if b.dtype.kind == "c" else b

    return tree.map_leaves(like, t)


def assert_close(a, b, what, rtol):
    for (path, p), (_, q) in zip(tree.leaves(a, what), tree.leaves(b, what), strict=True):
        assert np.shape(p) == np.shape(q), path
        assert p.dtype == q.dtype, path
        scale = float(np.max(np.abs(q), initial=0)) + 1e-3
        np.testing.assert_allclose(p, q, rtol=rtol, atol=rtol * scale, err_msg=path)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
@pytest.mark.parametrize("steps", [2, 6, 15])
def test_plans_of_random_programs(steps, dtype):
    rtol = 2e-3 if dtype == np.float32 else 1e-9
    for seed in range(SEEDS):
        f = Program(seed, dtype, steps)
        x = f.x
        rng = np.random.default_rng(seed + 2)
        with np.errstate(over="ignore", invalid="ignore"):
            y, lin = rmad.linearize(f, x)
        if not all(np.all(np.isfinite(a)) and np.all(np.abs(a) < 1e4) for _, a in tree.leaves(y)):
            continue
        v, u, w = random_like(x, rng), random_like(y, rng), random_like(y, rng)
        Jv, JTu, JTw = rmad.jvp(f, x, v)[1], rmad.vjp(f, x)[1](u), rmad.vjp(f, x)[1](w)
        kept = tree.map_leaves(np.copy, (x, v, u, w))
        label = f"seed {seed}: "
        first = lin.Jv(v)
        assert_close(first, Jv, label + "Jv", rtol)
        assert_close(lin.JTu(u), JTu, label + "JTu", rtol)
        assert_close(lin.JTu(w), JTw, label + "JTu of another", rtol)
        assert_close(lin.JTu(u), JTu, label + "JTu again", rtol)
        assert_close(lin.Jv(v), Jv, label + "Jv again", rtol)
        assert_close(first, Jv, label + "Jv kept", rtol)
        assert_close((x, v, u, w), kept, label + "inputs", 0)


def test_second_order_of_random_programs():
    """Plans of gradients: H from the cached tape of the gradient, against jvp of grad; and H is symmetric."""
    for seed in range(15):
        program = Program(seed, np.float64, 5)
        f = lambda x, p=program: p(x)["sum"]  # noqa: E731
        rng = np.random.default_rng(seed)
        v, w = random_like(program.x, rng), random_like(program.x, rng)
        _, lin = rmad.linearize(rmad.grad(f), program.x)
        Hv = rmad.hvp(f, program.x, v)
        assert_close(lin.Jv(v), Hv, f"seed {seed}: Hv", 1e-9)
        assert_close(lin.JTu(v), Hv, f"seed {seed}: Hᵀv", 1e-9)
        left = rmad.ravel(w)[0] @ rmad.ravel(Hv)[0]
        right = rmad.ravel(rmad.hvp(f, program.x, w))[0] @ rmad.ravel(v)[0]
        assert left == pytest.approx(right, rel=1e-8, abs=1e-8)


def assert_plan_is_right(f, x, seed=0):
    """The plan of f at x against the plain sweeps, in a random order of Jv and Jᵀu, with results overwritten."""
    rng = np.random.default_rng(seed)
    y, lin = rmad.linearize(f, x)
    vs, us = [random_like(x, rng) for _ in range(2)], [random_like(y, rng) for _ in range(2)]
    pushed, pulled = [rmad.jvp(f, x, v)[1] for v in vs], [rmad.vjp(f, x)[1](u) for u in us]
    for _ in range(8):
        k, push = rng.integers(2), rng.integers(2)
        found = lin.Jv(vs[k]) if push else lin.JTu(us[k])
        assert_close(found, pushed[k] if push else pulled[k], f"seed {seed}: {'Jv' if push else 'Jᵀu'}", 1e-9)
        for _, a in tree.leaves(found):
            if isinstance(a, np.ndarray) and rng.integers(2):
                a[...] = np.nan  # results are the caller's


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x["W"] @ x["W"] + x["W"] @ x["V"] + x["b"],
        lambda x: x["V"] @ x["W"] + np.tanh(x["a"]) @ x["V"] + x["b"],
        lambda x: x["W"] @ x["V"] + x["b"] + x["V"] + x["c"],
        lambda x: x["b"] + x["W"].T @ x["V"] + x["b"] + np.sin(x["W"]) @ x["W"],
    ],
)
def test_a_parameter_in_two_roles_in_one_sum(f):
    """W as the left and as the right factor of one sum of products: a stack must not take one for the other."""
    rng = np.random.default_rng(10)
    x = {name: rng.standard_normal((3, 3)) for name in "aWV"} | {
        "b": rng.standard_normal(3),
        "c": rng.standard_normal(3),
    }
    for seed in range(6):
        assert_plan_is_right(f, x, seed)


@pytest.mark.parametrize("order", ["C", "F"])
def test_views_of_views_of_residuals_of_any_layout(order):
    """Buffers are in C order whatever the layout of the arrays on the tape: views are probed on that."""
    rng = np.random.default_rng(11)
    A = np.asarray(rng.standard_normal((2, 2)), order=order)

    def f(x):
        y = A @ np.sin(x) @ A.T
        z = np.swapaxes(y, 0, 1)
        return [z.reshape(-1)[:2], z.T, z, y, z.T.reshape(-1), np.sin(x.T.reshape(-1)), x.T.reshape(-1)[1:3]]

    for x in (rng.standard_normal((2, 2)), np.asfortranarray(rng.standard_normal((2, 2)))):
        for seed in range(6):
            assert_plan_is_right(f, x, seed)


def views_and_roles(seed, i=2, n=3):
    """A random program over one flat vector: views of views, overlapping slices, weights in several roles, 3-d sums."""

    def f(flat):
        rng = np.random.default_rng(seed)
        ends = np.cumsum([0, i * i, i * i, i, i, n * i])
        W, V, b, c, a = (flat[p:q] for p, q in pairwise(ends))
        W, V, a = W.reshape(i, i), V.reshape(i, i), a.reshape(n, i)
        pool = [a, W, V.T, W.T @ V]
        for _ in range(rng.integers(2, 9)):
            h = pool[rng.integers(len(pool))]
            affine = [
                lambda h=h: h @ W + h @ V + b,
                lambda h=h: np.tanh(h @ W + np.sin(h) @ V + b + c),
                lambda h=h: np.concatenate([h[:1] @ W + b, h @ V + c, h[-1:] * b]),
                lambda h=h: np.stack([h, h[::-1]])[1] @ W + b.reshape(1, i) - b,
                lambda h=h: -(h @ W) + 2.0 * (h @ V) - b,
            ]
            plain = [
                lambda h=h: h.T,
                lambda h=h: np.swapaxes(h, 0, 1).T.reshape(-1)[: h.size].reshape(h.shape),
                lambda h=h: h[::-1][1:] + h[:-1] if len(h) > 1 else h - h,
                lambda h=h: h[:, ::-1].T.reshape(h.shape),
                lambda h=h: h[np.array([0, 0, -1])],
                lambda h=h: h[..., None][..., 0] * np.cos(h),
            ]
            choices = affine + plain if h.shape[1] == i else plain
            pool.append(choices[rng.integers(len(choices))]())
        picked = [pool[k] for k in rng.integers(0, len(pool), 3)]
        return [*picked, picked[0].T, picked[1].reshape(-1)[:2], picked[0], b, np.sum(pool[-1]), flat[1:4]][
            :: rng.choice([1, -1])
        ]

    return f, np.random.default_rng(seed).standard_normal(2 * i * i + 2 * i + n * i) * 0.5


def test_views_and_roles_of_one_flat_vector():
    for seed in range(60):
        f, x = views_and_roles(seed)
        assert_plan_is_right(f, x, seed)


@pytest.mark.parametrize(("n", "size", "unplanned"), [(400, 1, 2), (2000, 1, 12), (1100, 40_000, 0), (40, 40_000, 0)])
def test_a_plan_is_made_from_the_product_on_for_which_it_pays(n, size, unplanned, monkeypatch):
    """At once on large arrays; on small ones when a product comes again, and after a dozen on a long loop."""

    monkeypatch.setattr(tuning, "PRODUCTS_ON_A_SHORT_TAPE", 2)  # as it is outside of tests

    def f(x):
        for k in range(n):
            x = np.sin(x) if k % 2 else x + 0.1
        return x

    _, lin = rmad.linearize(f, np.full(size, 0.5))
    v = np.ones(size)
    found = []
    for _ in range(unplanned + 2):
        found.append((lin._plan is not None, lin.Jv(v)))
    assert [planned for planned, _ in found] == [k > unplanned for k in range(unplanned + 2)]
    for _, Jv in found:
        np.testing.assert_allclose(Jv, found[-1][1], rtol=1e-12)
    if unplanned:
        np.testing.assert_allclose(lin.JTu(v), found[-1][1], rtol=1e-12)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 2)])
def test_a_normalization_along_any_axes(axes):
    """Both sweeps are one call that writes into a buffer; a mean over middle axes has another than one over rows."""
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    assert_plan_is_right(lambda x: standardize(x, axes, 0.1), x, 1)


def test_products_and_diagonals_are_written_into_buffers(monkeypatch):
    """Neither sweep over a net calls a block that makes an array of its own (`computed`)."""
    made = []
    monkeypatch.setattr(Sweep, "computed", lambda self, f, a, out, add: made.append(f))
    rng = np.random.default_rng(0)
    p = {"W": rng.normal(size=(4, 3)), "b": rng.normal(size=3), "s": rng.normal(size=3), "x": rng.normal(size=(5, 4))}
    key = np.array([0, 2, 2, 5, 1])

    def f(p):
        h = np.tanh(p["x"] @ p["W"] + p["b"]) * p["s"]
        return np.concatenate([h, h * h], axis=1), np.stack([h, h]) @ np.swapaxes(np.stack([h, 2 * h]), 1, 2)

    for g, sweeps in ((f, ("Jv", "JTu")), (lambda p: p["x"][key - 3] @ p["W"], ("JTu",))):  # a push reads x[key] anew
        y, lin = rmad.linearize(g, p)
        for name in sweeps * 2:
            getattr(lin, name)(p if name == "Jv" else y)
    assert made == []


def test_a_checkpoint_that_does_not_depend_on_x():
    x = np.linspace(0.5, 2.0, 4)
    assert_plan_is_right(
        lambda x: rmad.checkpoint(lambda x: np.floor(rmad.stop_gradient(x)) + 0 * np.sign(x))(x) * x, x, 0
    )
    assert_plan_is_right(lambda x: rmad.checkpoint(lambda x: (np.rint(x), np.sin(x)))(x)[0] + x, x, 0)
