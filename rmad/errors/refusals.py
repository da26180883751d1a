"""Errors in place of a lost derivative: functions without a rule, writes, and conversions to what holds none.

A conversion that fails is also noted on the tape, because code in between may swallow the error and go on without the
derivative, as np.array_equal does: see `Tape.loses`.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import numpy as np

from rmad.machine.special import ufunc_of

__all__ = [
    "held_elsewhere",
    "into_plain",
    "label",
    "lossy_dtype",
    "lossy_operand",
    "lost_imaginary_part",
    "no_matrix",
    "no_rule",
    "not_a_number",
    "numpys_only",
    "objects_into_numbers",
    "part_written_by",
    "plain_array",
    "scalars_are_fixed",
    "swapped_by_views",
    "written_from_checkpoint",
    "written_from_the_gpu",
    "written_into_integers",
    "written_out",
]


def label(f: Any) -> str:
    """The name of a function as users write it: numpy.tanh, scipy.special.expit."""
    module = (getattr(f, "__module__", None) or "").removesuffix("._ufuncs")
    if isinstance(f, np.ufunc):
        homes = ("numpy", "scipy.special")  # a ufunc of neither, as np.frompyfunc makes one, has its name alone
        module = next((m for m in homes if ufunc_of(getattr(sys.modules.get(m), f.__name__, None)) is f), "")
    name = getattr(f, "__name__", repr(f))
    return f"{module}.{name}" if module and not hasattr(f, "__objclass__") else name


def no_matrix(name: str) -> TypeError:
    instead = "np.block" if name == "bmat" else "np.atleast_2d"
    return TypeError(f"np.{name} makes a matrix of NumPy's, which cannot hold a traced array; use {instead}")


def no_rule(what: str) -> NotImplementedError:
    return NotImplementedError(
        f"{what} has no derivative rule in rmad. Add one with rmad.elementwise, rmad.linear, rmad.bilinear "
        "or rmad.primitive, or keep its argument constant with rmad.stop_gradient"
    )


def scalars_are_fixed(dtype: np.dtype[Any]) -> TypeError:
    return TypeError(
        f"a number of NumPy, numpy.{dtype}, does not support item assignment; np.atleast_1d makes an array"
    )


def written_into_integers(dtype: np.dtype[Any]) -> TypeError:
    return TypeError(
        f"a traced number is written into an array of {dtype}, which has no derivatives; make an array of floats, "
        "as np.zeros(n) does, or write rmad.stop_gradient(x)"
    )


def swapped_by_views() -> TypeError:
    return TypeError(
        "compiled code, such as rng.shuffle(y), swaps rows of an array by views of each other, which would make some "
        "come twice; write y = y[rng.permutation(len(y))]"
    )


def part_written_by(name: str) -> TypeError:
    return TypeError(f"{name} writes into x.real or x.imag of a traced x; only assignment does that, x.real[key] = …")


def written_from_checkpoint() -> TypeError:
    return TypeError(
        "a function passed to rmad.checkpoint writes into an array from outside of it, or into its argument: it runs "
        "again in every product, so what it writes would be lost; write into a copy, and return it"
    )


def lost_imaginary_part() -> TypeError:
    return TypeError(
        "a complex number is written into an array of real ones and would lose its imaginary part; use np.real"
    )


def held_elsewhere(name: str) -> TypeError:
    return TypeError(
        f"a traced number is written into {name}, a plain array that something else holds, too, which would not see "
        f"its derivative: another name, a view, a list, or code outside of the function; write "
        f"{name} = np.array({name}) where the function begins with it"
    )


def into_plain(name: str) -> TypeError:
    return TypeError(
        f"{name} writes a traced array into a plain one, which would lose its derivative; make that by "
        "np.zeros_like(x, shape=…), x a traced array"
    )


def written_out(name: str, how: str, instead: str) -> TypeError:
    return TypeError(f"{name}: a traced array cannot be written into another one ({how}); use {instead}")


def numpys_only(what: str) -> TypeError:
    return TypeError(f"{what} takes NumPy's arrays only, not CuPy's; cupy.asnumpy(a) is the array a on the CPU")


def written_from_the_gpu() -> TypeError:
    return TypeError(
        "an array of CuPy is written into one of NumPy; np.zeros_like(x), of an array x of CuPy, or cupy.zeros(n) "
        "makes one on the GPU"
    )


def objects_into_numbers(ufunc: np.ufunc) -> TypeError:
    return TypeError(f"{ufunc.__name__}: objects cannot be written into a traced array of numbers; use x = x + o")


def plain_array() -> TypeError:
    lost = "a traced array cannot become a plain NumPy array without losing its derivative"
    if (name := _function_of_numpy()) is not None:
        lost = f"{name} of NumPy: {lost}"
    if known := _of_scipy() or _of_numpy():
        return TypeError(f"{lost}: {known}, or rmad.stop_gradient(x) for its value")
    return TypeError(
        f"{lost}: use NumPy functions on it as it is; np.array([…]) around a list of traced numbers, by that name, "
        "because `from numpy import array` keeps NumPy's own; x.astype(np.float64) for np.float64(x); rmad.expm, "
        "rmad.logsumexp, … for functions of SciPy; or rmad.stop_gradient(x) for its value"
    )


def not_a_number(
    call: str, also: str = "y[i] = x on a plain array y and o.astype(float) of an object array o do"
) -> TypeError:
    if known := _of_scipy():
        return TypeError(f"{call.format('x')} of a traced array would lose its derivative: {known}")
    return TypeError(
        f"{call.format('x')} of a traced array would lose its derivative ({also} the same); keep x as an array, "
        "collect with np.stack or in an array that the function makes, as np.zeros(n) in it does, or write "
        f"{call.format('rmad.stop_gradient(x)')}"
    )


def _function_of_numpy() -> str | None:
    """The function of NumPy, written in Python, that the user has called."""
    frame: FrameType | None = sys._getframe(2)
    found = None
    while frame is not None and (package := frame.f_globals.get("__name__", "").partition(".")[0]) in ("numpy", "rmad"):
        if package == "numpy":
            name, _, method = frame.f_code.co_qualname.partition(".")
            found = name if method.startswith("__") else frame.f_code.co_name
        frame = frame.f_back
    return found


def _of_scipy() -> str:
    """Advice, if it is a function of SciPy that has asked for plain numbers."""
    from rmad.errors.instead import advice  # only for errors

    return advice(sys._getframe(3))


def _of_numpy() -> str:
    """Advice, if it is as_strided, which asks nobody and whose view no rule can follow."""
    frame = sys._getframe(3)
    for _ in range(3):
        if frame.f_code.co_name == "as_strided":
            return "in place of as_strided use sliding_window_view(x, …), or slices and reshape"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return ""


def lossy_dtype(what: str, dtype: np.dtype[Any]) -> TypeError:
    """The error for text, bytes, records, dates and times made of traced numbers."""
    return TypeError(
        f"{what} makes {dtype} of a traced array, which would lose its derivative; compute with floats, "
        "or with rmad.stop_gradient(x) if only the value is wanted"
    )


def lossy_operand(f: Any, operands: Any) -> TypeError:
    """The error for an operand that is no number, as a timedelta."""
    kinds = " and ".join(f"a {type(a).__name__}" for a in operands)
    return TypeError(f"{label(f)} of {kinds} is no number, and loses the derivative")
