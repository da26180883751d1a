"""Calls as text, the arrays in them, and the comparison of what a traced and a plain call give."""

from __future__ import annotations

import itertools
import math
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.special as sp

import rmad

# -- rows ------------------------------------------------------------------------------------------------------------


def listed(text: str) -> list[str]:
    """The calls between the bars."""
    return text.split(" | ")


def calls(*templates: str, **groups: str) -> list[str]:
    """Every combination of the entries of the groups in the places <group> of the templates."""
    found = []
    for template in templates:
        names = [name for name in groups if f"<{name}>" in template]
        for entries in itertools.product(*(groups[name].split(" | ") for name in names)):
            call = template
            for name, entry in zip(names, entries, strict=True):
                call = call.replace(f"<{name}>", entry)
            found.append(call.replace("(, ", "(").replace(", )", ")"))
    return found


# -- arrays ----------------------------------------------------------------------------------------------------------


def _arrays() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    X, F = rng.uniform(0.2, 1.8, (3, 4)), rng.uniform(0.2, 1.8, (3, 4)).astype(np.float32)
    Z = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
    N = X.copy()
    N[0, 1] = N[2, 2] = np.nan
    N[:, 3] = np.nan
    S = rng.normal(size=(3, 3)) + 3 * np.eye(3)
    S = S @ S.T
    return {
        "X": X, "F": F, "Z": Z, "C": Z.astype(np.complex64), "H": X.astype(np.float16),
        "T": rng.uniform(0.1, 2, (2, 3, 4)), "D": np.array([[3.0, 1.0, 2.0], [1.0, 3.0, 2.0]]), "ONE": np.ones((1, 1)),
        "V": rng.uniform(0.2, 0.9, 4), "VF": rng.uniform(0.2, 0.9, 4).astype(np.float32), "W": rng.normal(size=4),
        "S": S, "SF": S.astype(np.float32), "SC": S + 1j * (np.triu(S, 1) - np.tril(S, -1)),
        "N": N, "NF": N.astype(np.float32), "A": np.array([-1.5, 0.0, 2.5, np.inf, -np.inf, np.nan, -0.0]),
        "E": np.zeros((0, 3)), "EV": np.zeros(0), "O": np.array(0.7), "OF": np.array(0.7, np.float32),
    }  # fmt: skip


ARRAYS = _arrays()
CONSTANTS = {
    "I": np.arange(12).reshape(3, 4),
    "J": np.array([2, 0, 1]),
    "M": np.arange(12).reshape(3, 4) % 3 > 0,
    "M4": np.array([True, False, True, True]),
    "M0": np.zeros((3, 4), bool),
    "B": np.array([True, False, True]),
}
NAMES = {"np": np, "math": math, "sp": sp, **CONSTANTS, **ARRAYS}


def traced_together(call: str) -> list[list[str]]:
    """The sets of arrays to trace: all that the call names, and each alone."""
    used = [name for name in ARRAYS if re.search(rf"\b{name}\b", call)]
    return [used, *([name] for name in used if len(used) > 1)] if used else []


# -- comparison ------------------------------------------------------------------------------------------------------


def evaluated(f: Any) -> tuple[Any, Exception | None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return f(), None
        except Exception as error:
            return None, error


def as_it_is(x: Any) -> Any:
    return x


def as_lists(x: Any) -> Any:
    """Nested lists of the numbers in an array."""
    return [as_lists(row) for row in x] if x.shape else x


def difference(call: str, traced: list[str], form: Callable[[Any], Any] = as_it_is) -> str | None:
    """What differs between the plain call and the traced one, as `rmad.linearize` returns it; None if nothing does.

    form: in which the arrays are given to both.
    """
    code = compile(call, call, "eval")
    arrays = {name: form(ARRAYS[name]) for name in traced}
    wanted, plain_error = evaluated(lambda: eval(code, NAMES | arrays))
    x = {name: ARRAYS[name] for name in traced}
    of_forms = lambda x: eval(code, NAMES | {name: form(x[name]) for name in x})  # noqa: E731
    found, error = evaluated(lambda: rmad.linearize(of_forms, x)[0])
    if error is not None and plain_error is None:
        return f"{type(error).__name__}, where NumPy returns a value: {error}"
    if plain_error is not None and error is None:
        return f"a value, where NumPy raises {type(plain_error).__name__}: {plain_error}"
    if plain_error is not None:
        if isinstance(error, type(plain_error)):
            return None
        return f"{type(error).__name__}: {error}, where NumPy raises {type(plain_error).__name__}: {plain_error}"
    return unequal(found, wanted)


def derivative(call: str, traced: list[str], form: Callable[[Any], Any]) -> tuple[Any, Exception | None]:
    """Jv of the call for tangents of ones, with the arrays given in a form."""
    code, x = compile(call, call, "eval"), {name: ARRAYS[name] for name in traced}
    v = {name: np.ones_like(a) for name, a in x.items()}
    return evaluated(lambda: rmad.jvp(lambda x: eval(code, NAMES | {name: form(x[name]) for name in x}), x, v)[1])


def unequal(found: Any, wanted: Any) -> str | None:
    if isinstance(wanted, tuple | list):
        if type(found) is not type(wanted) or len(found) != len(wanted):
            return f"{type(found).__name__}, where NumPy returns {type(wanted).__name__} of {len(wanted)}"
        return next(filter(None, map(unequal, found, wanted)), None)
    if type(found) is not type(wanted):  # a scalar of each dtype is a type of its own
        return f"{type(found).__name__} for {type(wanted).__name__}"
    if not hasattr(wanted, "dtype"):
        same = found == wanted or (found != found and wanted != wanted)  # NaN
        return None if same else f"{found!r} for {wanted!r}"
    if (found.shape, found.dtype) != (wanted.shape, wanted.dtype):
        return f"{found.dtype}{list(found.shape)} for {wanted.dtype}{list(wanted.shape)}"
    a, b = np.asarray(found), np.asarray(wanted)
    same = (a == b) | ((a != a) & (b != b))
    if a.dtype.kind == "f":
        same &= (np.signbit(a) == np.signbit(b)) | np.isnan(a)
    return None if np.all(same) else f"{found!r} for {wanted!r}"


def differences(rows: list[str], form: Callable[[Any], Any] = as_it_is) -> Iterator[tuple[str, list[str], str]]:
    """(call, arrays that are traced, what differs) for every call with a difference."""
    for call in dict.fromkeys(rows):
        for traced in traced_together(call):
            found = difference(call, traced, form)
            if found is not None:
                yield call, traced, found
