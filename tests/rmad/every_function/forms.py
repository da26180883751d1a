"""The forms of a call: how its arrays are given, and which options go with them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from every_function.arguments import ARRAYS

__all__ = ["ARRAY_FORMS", "FORMS", "Call", "called", "forms_of", "nested"]


def _spread_out(a: Any) -> Any:
    """The same numbers with gaps between them, in Fortran's order."""
    wide = np.full([2 * n for n in a.shape[::-1]], 7.0)
    gaps = wide[(slice(None, None, 2),) * a.ndim + (...,)].T
    gaps[...] = a
    return gaps


def nested(a: Any) -> Any:
    """Nested lists of the numbers in an array."""
    return [nested(row) for row in a] if a.shape else a


ARRAY_FORMS: dict[str, Callable[[Any], Any]] = {
    "arrays": lambda a: a,
    "one more axis": lambda a: np.stack([a, 0.9 * a]),
    "numbers": lambda a: np.asarray(a.ravel()[0]),
    "complex": lambda a: a + 0.3j * np.cos(7 * a),
    "float32": lambda a: a.astype(np.float32),
    "gaps": _spread_out,
    "one element": lambda a: a.reshape(-1)[:1].reshape((1,) * a.ndim),
    "no element": lambda a: a[:0] if a.ndim else a,
}
"""What is done to the arrays of a call before they are traced."""

FORMS = [*ARRAY_FORMS, "lists", "with integers", "options"]

OPTIONS = """
axis: 0 | -1 | None | 1
keepdims retstep returned tensor hermitian upper deg density bias stable equal_nan include_initial: True
increasing sparse overwrite_input optimize return_index return_inverse return_counts subok: True
full_matrices compute_uv endpoint rowvar: False
dtype: np.float32 | complex | int
initial rcond rtol prepend append: 0.3
ddof correction k offset decimals: 1
n edge_order m: 2
ndmin: 3
order: 'F'
weights: Y
norm: 'ortho'
axes: (0, 1)
mode: 'valid' | 'wrap' | 'complete'
ord: 1 | np.inf | 'fro'
UPLO: 'U'
method: 'lower' | 'hazen'
kind: 'stable'
period discont: 3.0
to_end to_begin left: O
copy: True | None
casting: 'unsafe'
indexing: 'ij'
dx posinf: 0.5
trim: 'f'
side: 'right'
"""
"""Values of options, for the functions that have them."""


class Call(NamedTuple):
    """A call as text, the form of its arrays, and the names of those that are traced."""

    text: str
    form: str
    traced: list[str]

    def __str__(self) -> str:
        return f"{self.text} [{self.form}; {', '.join(self.traced)} traced]"


def called(name: str) -> Any:
    """The function of this name; AttributeError if this NumPy has none."""
    f: Any = np
    for part in name.split(".")[1:]:
        f = getattr(f, part)
    return f


def forms_of(text: str) -> Iterator[Call]:
    """A call with its arrays in every form, all of them traced; as arrays and lists also each alone."""
    used = _arrays_in(text)
    if not used:
        yield Call(text, "arrays", [])
        return
    alone = [[name] for name in used] if len(used) > 1 else []
    for form in [*ARRAY_FORMS, "lists"]:
        for traced in [used, *alone] if form in ("arrays", "lists") else [used]:
            yield Call(text, form, traced)
    for traced in alone:
        yield Call(text, "with integers", traced)


def with_options(name: str, arguments: str) -> Iterator[Call]:
    """A call with each option that the function has, with its arguments by name, and with `out`."""
    f, names = called(name), _parameters(called(name))
    for line in filter(None, OPTIONS.splitlines()):
        options, _, values = line.partition(": ")
        for option in set(options.split()) & set(names):
            for value in values.split(" | "):
                text = f"{name}({arguments}, {option}={value})"
                if f"{option}=" not in arguments:
                    yield Call(text, "options", _arrays_in(text))
    used = _arrays_in(arguments)
    parts = _parts(arguments)
    if not isinstance(f, np.ufunc) and len(names) >= len(parts) and not any("=" in part for part in parts):
        by_name = ", ".join(f"{n}={part}" for n, part in zip(names, parts, strict=False))
        yield Call(f"{name}({by_name})", "options", used)
    if isinstance(f, np.ufunc) or "out" in names:
        out = f"np.zeros_like({name}({arguments}))"
        yield Call(f"(lambda y: {name}({arguments}, out=y))({out})", "options", used)
        if isinstance(f, np.ufunc) and arguments.startswith("X") and f.nout == 1:
            yield Call(f"(lambda y: {name}({arguments}, out=y, where=M))({out})", "options", used)


def _arrays_in(text: str) -> list[str]:
    return [name for name in ARRAYS if re.search(rf"\b{name}\b", text)]


def _parameters(f: Any) -> list[str]:
    if isinstance(f, np.ufunc):
        return ["dtype", "casting", *(["axis", "keepdims"] if f.signature else [])]
    try:
        return list(inspect.signature(f).parameters)
    except (ValueError, TypeError):
        return []


def _parts(arguments: str) -> list[str]:
    """The arguments between the commas that stand in no brackets."""
    parts, depth = [""], 0
    for c in arguments:
        depth += (c in "([{") - (c in ")]}")
        if c == "," and not depth:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts]
