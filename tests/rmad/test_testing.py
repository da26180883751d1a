"""rmad.testing finds rules and functions that are wrong in every way we know, and no fault in right ones."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import rmad
from rmad import testing
from rmad.plan.plan import Plan
from rmad.testing import arrays, check
from rmad.tracing.handlers import HANDLERS, register


@pytest.fixture
def make():
    """make(family, f, …): a primitive that is forgotten after the test."""
    made = []

    def build(family, f, *rules):
        made.append(f)
        return family(f, *rules, name="wrong")

    yield build
    for f in made:
        del HANDLERS[f]
        rmad.rules.PRIMITIVES[:] = [p for p in rmad.rules.PRIMITIVES if p.f is not f]


BUFFER = np.empty(3)


def reused(x):
    """A push that gives its one buffer as every result."""
    plain = isinstance(x, np.ndarray) and x.shape == BUFFER.shape
    return lambda v: np.multiply(2 * x, v, out=BUFFER) if plain and isinstance(v, np.ndarray) else 2 * x * v


def overwritten(v):
    if isinstance(v, np.ndarray) and v.ndim and v.flags.writeable:
        v *= 2
        return v
    return 2 * v


WRONG = {
    "derivative 0.05 %": (rmad.elementwise, lambda x: x**3, [lambda y, x: 3.0015 * x**2], "central differences"),
    "sign": (rmad.elementwise, lambda x: -x, [1], "central differences"),
    "nan": (rmad.elementwise, lambda x: x**2, [lambda y, x: 2 * x * np.nan], "not adjoint|not finite"),
    "push right, pull wrong": (
        rmad.primitive,
        lambda x: x**2,
        [lambda y, x: ((lambda v: 2 * x * v, lambda u: 2.001 * x * u),)],
        "not adjoint",
    ),
    "pull right, push wrong": (
        rmad.primitive,
        lambda x: x**2,
        [lambda y, x: ((lambda v: 2.001 * x * v, lambda u: 2 * x * u),)],
        "not adjoint",
    ),
    "transposition": (rmad.linear, lambda x: 2 * x[::-1], [lambda u, x: 2 * u], "not adjoint"),
    "a shape that broadcasting hides": (
        rmad.primitive,
        lambda x: np.sum(x, keepdims=True),
        [lambda y, x: ((lambda v: np.sum(v, keepdims=True), lambda u: u),)],
        r"has shape \(\d,\), must have \(\d,\)",
    ),
    "second derivative": (
        rmad.elementwise,
        lambda x: x**3,
        [lambda y, x: 3 * rmad.stop_gradient(x) * x],
        "in x ↦ Jv",
    ),
    "a result that the next product overwrites": (
        rmad.primitive,
        lambda x: x**2,
        [lambda y, x: ((reused(x), lambda u: 2 * x * u),)],
        "while other products follow",
    ),
    "a push that writes into v": (
        rmad.primitive,
        lambda x: 2.0 * x,
        [lambda y, x: ((overwritten, lambda u: 2 * u),)],
        "Jv",
    ),
}


@pytest.mark.parametrize("row", WRONG.values(), ids=WRONG)
def test_a_wrong_rule_is_found_and_the_smallest_case_shown(make, row):
    family, f, rules, message = row
    g = make(family, f, *rules)
    with pytest.raises(AssertionError, match=message) as error:
        check(g, arrays(("n",), lo=0.5), max_examples=30)
    assert "the smallest example, argument 0: array([" in str(error.value)
    if message in ("not adjoint", "central differences", "in x ↦ Jv"):
        assert "∂wrong/∂(argument 0)" in str(error.value)


def test_the_primitive_among_others_is_named(make):
    cube = make(rmad.elementwise, lambda x: x**3, lambda y, x: 3.0015 * x**2)
    with pytest.raises(AssertionError, match=r"the block that is wrong: ∂wrong/∂\(argument 0\)") as error:
        check(lambda x, y: np.tanh(x) * cube(np.exp(y)), arrays(), arrays(), max_examples=20)
    assert "∂tanh" not in str(error.value)


@pytest.mark.parametrize("argument", [0, 1])
def test_the_wrong_argument_is_named(make, argument):
    right = [lambda u, A, B: u @ B.T, lambda u, A, B: A.T @ u]
    right[argument] = lambda u, A, B, t=right[argument]: 1.001 * t(u, A, B)
    product = make(rmad.bilinear, lambda A, B: A @ B, *right)
    with pytest.raises(AssertionError, match=rf"∂wrong/∂\(argument {argument}\).*not adjoint"):
        check(product, arrays((2, 3), lo=0.5), arrays((3, 2), lo=0.5), max_examples=20)


@pytest.mark.parametrize(
    ("traced", "message"),
    [
        (lambda x: 1.0005 * np.tanh(x), r"under tracing, f\(x\)\[\] = .* must be"),
        (lambda x: np.tanh(x).astype(np.float64), "of float32, under tracing, .* dtype float64, must have float32"),
        (lambda x: np.tanh(x)[None], r"under tracing, f\(x\) has shape \(1,\), must have \(\)"),
    ],
)
def test_a_recorded_call_that_differs_from_the_plain_one(traced, message):
    def plain(x):
        return np.tanh(x)

    register(plain, traced)
    f = lambda x: traced(x) if isinstance(x, rmad.tracing.traced.Traced) else plain(x)  # noqa: E731
    with pytest.raises(AssertionError, match=message):
        check(f, np.array(0.5))
    del HANDLERS[plain]


def test_a_fault_of_the_plan_alone(monkeypatch):
    right = Plan.Jv
    monkeypatch.setattr(Plan, "Jv", lambda plan, v: [1.0005 * z for z in right(plan, v)])
    with pytest.raises(AssertionError, match="Jv by the plan, which differs from that of the tape"):
        check(lambda x: np.sin(x) * x, np.ones(3))


def test_functions_that_are_none():
    def writes(x):
        y = np.sin(x)
        if isinstance(x, np.ndarray):
            x *= 2
        return y

    rng = np.random.default_rng(0)
    with pytest.raises(AssertionError, match=r"f writes into its argument: after f\(x\), x\[0\] = 2.0, must be 1.0"):
        check(writes, np.ones(3))
    with pytest.raises(AssertionError, match="f is no function of x alone"):
        check(lambda x: x * rng.standard_normal(), np.ones(3))

    def lenient(x):
        if not isinstance(x, rmad.tracing.traced.Traced) and np.any(x < 1):
            raise ValueError("x < 1")
        return x * x

    with pytest.raises(AssertionError, match=r"the plain call raises .*, but a recorded one gives a value"):
        check(lenient, np.zeros(2))


RIGHT = {
    "ufunc": (np.tanh,),
    "kinks": (np.abs, arrays(kinks=(0.0,))),
    "ties": (np.median, arrays((3,))),
    "order": (lambda x: np.sort(x, axis=None), arrays(distinct=True)),
    "domain": (np.log, arrays(lo=0.1, hi=3)),
    "partly outside of the domain": (np.sqrt, arrays(special=True)),
    "infinite derivative": (np.cbrt, arrays(kinks=(0.0,))),
    "singular matrices": (np.linalg.solve, arrays(("i", "i")), arrays(("i",))),
    "complex": (np.multiply, arrays((2,), dtype=complex), arrays((2,), dtype=complex)),
    "any dtype and layout": (np.sin, arrays(dtype=testing.dtypes(), layout="any")),
    "cancelling second derivatives": (np.hypot, arrays((2,), kinks=(1.0, 0.004)), arrays((2,))),
    "broadcast": (lambda ab: ab[0] * ab[1], testing.broadcastable()),
    "trees": (lambda t: t, testing.trees().filter(lambda t: isinstance(t, dict))),
    "a tree of strategies": (lambda t: t["w"] * t["k"], {"w": arrays((2,)), "k": 3}),
    "integers are constants": (lambda x, i: x[i], arrays((3,)), arrays(("n",), dtype=int, lo=0, hi=2)),
}


@pytest.mark.parametrize("row", RIGHT.values(), ids=RIGHT)
def test_right_functions_pass(row):
    check(*row, max_examples=10)


def test_examples_outside_of_the_domain_prove_nothing():
    with pytest.raises(ValueError, match="log has no derivative at any of the examples"):
        check(np.log, -np.ones(3))
    for bad in (3, np.ones(3)):
        with pytest.raises(TypeError, match="neither callable nor a loss"):
            check(bad)
    with pytest.raises(TypeError, match="kind must be one of"):
        check(np.sin, kind="model")
    with pytest.raises(ValueError, match="layout must be one of"):
        arrays(layout="diagonal")


def test_ratios_of_zero_have_second_derivatives():
    """∂²(a log b)/∂a∂b = 1/b at a = 0, too."""
    from scipy.special import xlog1py, xlogy

    for f, wanted in ((xlogy, 0.5), (xlog1py, 1 / 3)):
        slope = rmad.grad(lambda b, f=f: f(0.0, b))
        assert slope(2.0) == 0
        mixed = rmad.grad(lambda a, f=f: rmad.grad(lambda b: f(a, b))(2.0))(0.0)
        assert mixed == pytest.approx(wanted)


def test_without_hypothesis_the_error_names_the_extra():
    code = "import sys; sys.modules['hypothesis'] = None\nimport rmad\nimport rmad.testing"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'ImportError: rmad.testing needs hypothesis: pip install "rmad[test]"' in run.stderr
