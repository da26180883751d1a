"""Mistakes of the first hour with the engine, and the message that names each: what is wrong and what to do.

A row: the call, the kind of error, and a part of its message. tests/nn and tests/optim have such tables too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.sparse
import scipy.special

import rmad
from rmad.errors.other_names import HERE

Refuses = Callable[[Callable[[], Any], type[Exception], str], None]
ONES, array, zeros = np.ones(3), np.array, np.zeros  # by these names they stay NumPy's own


class NotATree:
    def __init__(self) -> None:
        self.w = np.ones(3)


def no_return(x):
    np.sum(x)


def collects_in_a_plain_array(x):
    held = [zeros(3)]
    held[0][:2] = x[:2]
    return np.sum(held[0])


def collects_numbers(x):
    held = [zeros(3)]
    held[0][0] = x[0]
    return np.sum(held[0])


def adds_to_a_plain_array(x):
    held = [zeros(3)]
    held[0] += x
    return np.sum(held[0])


def keeps_a_traced_array():
    kept = []
    rmad.grad(lambda x: kept.append(x) or np.sum(x))(ONES)
    return kept[0] * 2


def grad_of(f: Callable[..., Any], x: Any = ONES) -> Callable[[], Any]:
    return lambda: rmad.grad(f)(x)


def cycle() -> list[Any]:
    p: list[Any] = [1.0]
    p.append(p)
    return p


no_rule = rmad.primitive(lambda x: x * 1.0, lambda y, x: None, name="no_rule")
half_a_rule = rmad.primitive(lambda x: x * 1.0, lambda y, x: lambda v: v, name="half_a_rule")

ENGINE = {
    "integers": (grad_of(np.sum, np.arange(3)), TypeError, r"x is int64; pass floats, e.g. x.astype\(float\)"),
    "an integer": (grad_of(lambda x: x * x, 3), TypeError, "pass floats"),
    "strings": (grad_of(np.sum, np.array(["a"])), TypeError, "pass floats"),
    "a string": (grad_of(lambda x: x, "a"), TypeError, "x is of type str, not an array of floats"),
    "a set": (grad_of(np.sum, {1.0, 2.0}), TypeError, "x is of type set.*make it a list"),
    "a generator": (grad_of(np.sum, (a for a in ONES)), TypeError, "x is of type generator.*make it a list"),
    "an object that is no tree": (
        grad_of(lambda p: np.sum(p.w), NotATree()),
        TypeError,
        "x is of type NotATree.*tuples, lists, dicts and objects with __tree_items__, as nn.Module has",
    ),
    "masked": (grad_of(np.sum, np.ma.masked_array(ONES)), TypeError, "MaskedArray"),
    "no scalar": (
        grad_of(lambda x: x * x),
        TypeError,
        "of a scalar, but f returned shape.*use rmad.vjp or rmad.linearize",
    ),
    "no return": (grad_of(no_return), TypeError, "f returned None: does it end without a return?"),
    "arguments swapped": (
        lambda: rmad.linearize(ONES, np.tanh),
        TypeError,
        r"the function comes first.*linearize\(f, x\)",
    ),
    "a function for x": (lambda: rmad.linearize(np.tanh, no_return), TypeError, "a function; the function to diff"),
    "a slice into a plain array": (
        grad_of(collects_in_a_plain_array),
        TypeError,
        r"held\[0\] is a plain array that rmad does not follow.*np.zeros\(n\)",
    ),
    "x added to a plain array": (grad_of(adds_to_a_plain_array), TypeError, "use y = y [+] x"),
    "np.array by another name": (
        grad_of(lambda x: np.sum(array([x[0], x[1]]))),
        TypeError,
        "array by itself.*use np.array",
    ),
    "math.modf": (
        grad_of(lambda x: math.modf(x)[0], 1.0),
        TypeError,
        r"float\(x\) of a traced.*math.modf takes plain.*use np.modf",
    ),
    "scipy.linalg": (grad_of(lambda x: np.sum(scipy.linalg.expm(x)), np.eye(3)), TypeError, "use rmad.linalg.expm"),
    "a sparse matrix": (grad_of(lambda x: np.sum(scipy.sparse.eye(3) + x)), TypeError, "S @ x and x @ S.*S.toarray"),
    "out=": (grad_of(lambda x: np.sum(np.exp(x, out=zeros(3)))), TypeError, r"exp: .*`out=`"),
    "no rule": (
        grad_of(lambda x: np.sum(np.savetxt("nowhere", x))),
        NotImplementedError,
        "numpy.savetxt has no derivative rule in rmad. Add one with rmad.elementwise.*keep its argument constant",
    ),
    "no rule for a ufunc": (
        grad_of(lambda x: np.sum(scipy.special.kolmogorov(x))),
        NotImplementedError,
        "scipy.special.kolmogorov has",
    ),
    "no rule for a ufunc of neither NumPy nor scipy.special": (
        grad_of(lambda x: np.sum(scipy.special._ufuncs._cosine_cdf(x))),  # as other libraries bring them
        NotImplementedError,
        "^_cosine_cdf has no derivative rule",
    ),
    "no rule for an argument": (
        grad_of(lambda x: scipy.special.hyp2f1(x, 1.0, 2.0, 0.3), 2.0),
        NotImplementedError,
        "^hyp2f1 has no derivative with respect to argument 0; rmad.stop_gradient makes that argument a constant",
    ),
    **{
        f"{name} into a plain array": (
            grad_of(lambda x, write=write: write(x)),
            TypeError,
            rf"^{name}.* a traced .*plain.*np.zeros_like\(x, shape=…\)",
        )
        for name, write in {
            "numpy.copyto": lambda x: np.copyto(zeros(3), x),
            "numpy.put": lambda x: np.put(zeros(3), [0], x[:1]),
            "add.at": lambda x: np.add.at(zeros(3), [0, 1, 2], x),
        }.items()
    },
    "a number from an array": (
        grad_of(lambda x: x[0].item()),
        TypeError,
        r"^x.item\(\) of a traced array would lose its derivative.*or write rmad.stop_gradient\(x\).item\(\)$",
    ),
    "a range": (
        grad_of(lambda x: sum(x for _ in range(x)), 2.0),
        TypeError,
        r"no integer: range\(int\(x\)\)",
    ),
    "a sparse matrix as x": (grad_of(lambda x: x.sum(), scipy.sparse.eye(3)), TypeError, "x holds a dia_.*whose arith"),
    "a rule without return": (
        grad_of(lambda x: np.sum(no_rule(x))),
        TypeError,
        r"no_rule: the rule must return one pair \(push, pull\) per argument.*not a NoneType",
    ),
    "a traced array kept": (keeps_a_traced_array, RuntimeError, "after the function.*has returned; return it"),
    "half precision in linalg": (
        grad_of(lambda x: np.sum(np.linalg.inv(x)), np.eye(3, dtype=np.float16)),
        TypeError,
        "float16",
    ),
    "a tangent of another shape": (
        lambda: rmad.linearize(np.tanh, ONES)[1].Jv(np.ones(4)),
        ValueError,
        r"v has shape \(4,\), but x has shape \(3,\)",
    ),
    "a cotangent of another shape": (
        lambda: rmad.linearize(np.tanh, ONES)[1].JTu(np.ones(4)),
        ValueError,
        r"u has shape \(4,\), but f\(x\) has shape \(3,\)",
    ),
    "a tangent of another structure": (
        lambda: rmad.linearize(lambda p: p["a"] * 2, {"a": ONES})[1].Jv(ONES),
        ValueError,
        r"v must have the keys of x: \['a'\]",
    ),
    "a vector of another length": (
        lambda: rmad.HessianOperator(lambda x: np.sum(x**3), ONES) @ np.ones(4),
        ValueError,
        r"HessianOperator of shape \(3, 3\): v has shape \(4,\), expected \(3,\)",
    ),
    "a Hessian of no scalar": (lambda: rmad.HessianOperator(np.tanh, ONES), TypeError, "of a scalar"),
    "unravel": (
        lambda: rmad.ravel({"a": ONES})[1](np.ones(4)),
        ValueError,
        r"expected a vector of shape \(3,\), got \(4,\)",
    ),
    "a derivative that is a number": (lambda: rmad.elementwise(np.copy, 2.0), TypeError, "must be a function of"),
    "a rule that is no pair": (
        grad_of(lambda x: np.sum(half_a_rule(x))),
        TypeError,
        r"half_a_rule: .*pair \(push, pull\)",
    ),
    "show": (lambda: rmad.show(ONES), TypeError, "what rmad.linearize returns second"),
}


@pytest.mark.parametrize("case", ENGINE)
def test_the_engine_says_what_is_wrong(refuses: Refuses, case: str) -> None:
    refuses(*ENGINE[case])


@pytest.mark.parametrize(("ours", "theirs"), [(ours, name) for ours, names in HERE.items() for name in names])
def test_names_of_jax_and_autograd(refuses: Refuses, ours: str, theirs: str) -> None:
    if named := re.match(r"rmad\.(\w+)", ours):
        assert callable(getattr(rmad, named[1]))
    message = rf"^module 'rmad' has no attribute '{theirs}'; here it is {re.escape(ours)}$"
    refuses(lambda: getattr(rmad, theirs), AttributeError, message)


def test_a_name_that_nobody_has(refuses: Refuses) -> None:
    refuses(lambda: rmad.gradd, AttributeError, "^module 'rmad' has no attribute 'gradd'$")


def test_numbers_collected_in_a_plain_array() -> None:
    """The message is ours; NumPy's own, which Python prints above it, shows the line."""
    with pytest.raises(TypeError, match=r"np\.zeros\(n\)") as caught:
        rmad.grad(collects_numbers)(ONES)
    assert "setting an array element" in str(caught.value.__cause__)
