"""docs/numpy_functions.md, made of what the sweep finds: one line per function."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

from every_function.arguments import LEFT_OUT, WRITERS, calls, methods
from every_function.forms import FORMS, Call, called, forms_of, with_options
from every_function.sweep import Found, tried

__all__ = ["PAGE", "functions", "line", "page", "results"]

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs" / "numpy_functions.md"

HEAD = """# NumPy's functions under tracing

What a recorded function may call: every public function of `numpy`, `numpy.linalg` and `numpy.fft`,
of `np.emath` and `numpy.polynomial`, and every method. `python -m every_function` in `tests/rmad`
makes this page (with NumPy {version}): it calls each of them in ten forms, next to NumPy, and
compares value, dtype, shape and kind to the last bit, and the derivative with differences.

* **derivative**: the function is differentiated, in both directions and to any order.
* **constant**: there is no derivative by nature, as of indices, comparisons and rounding; the
  result is NumPy's.
* **error**: a traced array is refused, in words that say so.

The forms are plain arrays, one more axis, 0-d arrays, complex numbers, float32, gaps between the
elements, one element, no element, lists of traced numbers, other arguments of integers, and the
options (`axis=`, `dtype=`, `out=`, `where=`, …, and the arguments by name). The last column names
those in which a call is an error, or differs:

* *lists*: a ufunc is never wrapped, and takes no bare list of traced numbers; write
  `np.exp(np.array([…]))` ([why](lists.md)).
* *last bits*: the numbers are summed in another order ([where](values.md#values)).
"""

SECTIONS = {
    "numpy": "np.",
    "numpy.linalg": "np.linalg.",
    "numpy.fft": "np.fft.",
    "numpy.emath": "np.emath.",
    "numpy.lib": "np.lib.",
    "numpy.polynomial": "np.polynomial.",
}

ELSEWHERE = """## What takes no part

| names | why |
|---|---|
{rows}
| `np.char`, `np.strings`, `np.rec`, datetimes | text, records and dates hold no derivative |
| `np.ma` | masked arrays [lose their mask](traced.md) |
| `np.random` | draws numbers, and differentiates nothing; `shuffle` [moves rows](arrays.md) |
| `np.matrix`, `np.broadcast` | classes that ask for plain arrays: an error |
| `np.ndenumerate`, `np.ndindex`, `np.nditer` | work |
| `np.poly1d`, `np.vectorize`, `np.r_`, `np.c_`, `np.mgrid`, `np.ogrid` | work |
"""


def functions() -> dict[str, list[str]]:
    """The functions that this NumPy has, and what they are called with."""
    found = {}
    for name, arguments in calls().items():
        try:
            called(name)
        except AttributeError:
            continue
        found[name] = arguments
    return found


def every_call(name: str, arguments: Iterable[str]) -> Iterator[Call]:
    """Every form of every call of a function or method."""
    for a in arguments:
        if name in WRITERS:
            yield from forms_of(f"written({name}, {a})")
        elif name in _METHODS:
            owner = re.search(r"\b[A-Z]\b", a)[0]  # type: ignore[index]
            yield from (call for call in forms_of(a) if owner in call.traced)
        else:
            yield from forms_of(f"{name}({a})")
            yield from with_options(name, a)


_METHODS = methods()


def results(name: str, arguments: Iterable[str]) -> list[tuple[Call, Found]]:
    return [(call, tried(call)) for call in every_call(name, arguments)]


def line(name: str, found: list[tuple[Call, Found]]) -> str:
    """The row of a function."""
    shown = name.removeprefix("np.").rpartition(".polynomial.")[2]
    return f"| `{shown}` | {_kind(found)} | {_exceptions(found)} |"


def _kind(found: list[tuple[Call, Found]]) -> str:
    if any(f.derivative == "right" for _, f in found):
        return "derivative"
    return "constant" if any(f.kind in ("value", "last bits") for _, f in found) else "error"


def _exceptions(found: list[tuple[Call, Found]]) -> str:
    if _kind(found) == "error":
        return "all"
    refused = {call.form for call, f in found if f.kind == "refused"}
    last_bits = {call.form for call, f in found if f.kind == "last bits"}
    parts = [form for form in FORMS if form in refused]
    if len(last_bits) > len(FORMS) // 2:
        return ", ".join([*parts, "last bits"])
    return ", ".join([*parts, *(f"{form}: last bits" for form in FORMS if form in last_bits)])


def page() -> str:
    """The whole page."""
    lines = {name: line(name, results(name, arguments)) for name, arguments in functions().items()}
    text = [HEAD.format(version=np.__version__)]
    for title, prefix in SECTIONS.items():
        rows = [lines[name] for name in sorted(lines) if _section(name) == prefix]
        text.append(f"\n## {title}\n\n| function | | except |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    rows = [line(name, results(name, a)) for name, a in _METHODS.items() if name.startswith("x.")]
    text.append("\n## Methods of arrays\n\n| method | | except |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    text.append(
        "\n## Methods of ufuncs\n\nOf `f(a, b)` with a derivative, `f.reduce`, `f.accumulate`, `f.reduceat`, `f.outer`"
        " and `f.at` have\none, too; those of comparisons are constants.\n\n"
    )
    left_out = [f"| {', '.join(f'`{n}`' for n in names.split())} | {why} |" for why, names in LEFT_OUT.items()]
    text.append(ELSEWHERE.format(rows="\n".join(left_out)))
    return "".join(text)


def _section(name: str) -> str:
    return max((prefix for prefix in SECTIONS.values() if name.startswith(prefix)), key=len)
