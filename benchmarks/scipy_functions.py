"""Tries every public function of SciPy's modules on a traced array: does it run, and is its gradient right?

    python benchmarks/scipy_functions.py --write docs/scipy_functions.md    the table, without and with SCIPY_ARRAY_API
    python benchmarks/scipy_functions.py special.expit stats                some functions or modules

What is found for a call:

    gradient      equal to central differences
    constant      the result does not depend on x, or in steps only, and the gradient is zero
    error         one that says what is not possible, and what to write instead
    unclear       an error that does not name rmad, nor anything else to write
    WRONG         another gradient than that of differences, without an error
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy
from scipy_calls import CALLS, WITHOUT_NUMBERS

import rmad

X = np.array([0.311, 0.723, 0.458, 0.642, 0.239, 0.915, 0.587, 0.124, 0.836])
V = np.cos(np.arange(9.0))
STEPS = (1e-5, 1e-6, 1e-7)  # a gradient is right if it is that of one of them


def names() -> dict[str, Any]:
    """What the calls are written in."""
    w = np.array([0.907, 0.351, 0.553, 0.219, 0.778, 0.424, 0.665, 0.152, 0.506])
    found: dict[str, Any] = {"np": np, "w": w, "W": w.reshape(3, 3), "t": np.linspace(0, 1, 9), "n": np.arange(9) % 3}
    found["M"] = lambda x: np.reshape(x, (3, 3))
    found["S"] = lambda x: np.reshape(x, (3, 3)) + np.reshape(x, (3, 3)).T + 4 * np.eye(3)
    found["C"] = lambda x: x + 0.5j * x[::-1]
    found["sampled"] = np.random.default_rng(0).standard_normal
    found["B"] = lambda x: np.stack([x, x + 4])
    for module in CALLS:
        found[module.rpartition(".")[2]] = importlib.import_module(f"scipy.{module}")
    return found


def public(module: str) -> list[str]:
    """The names of its functions, without classes, modules and SciPy's distributions."""
    scipys = importlib.import_module(f"scipy.{module}")
    kept = []
    for name in scipys.__all__:
        f = getattr(scipys, name, None)
        if isinstance(f, np.ufunc | types.FunctionType) or (inspect.isbuiltin(f)) or _is_multi(f):
            kept.append(name)
    return sorted(set(kept))


def _is_multi(f: Any) -> bool:
    """True for the collections of ufuncs such as special.sph_harm_y, and for functions of uarray."""
    return type(f).__name__ in ("MultiUFunc", "_Function", "cython_function_or_method")


def calls(module: str) -> dict[str, list[str]]:
    """Per function of the module the calls to try, in which x is differentiated."""
    found: dict[str, list[str]] = {}
    for line in CALLS[module].replace("\n", ";").split(";"):
        if call := line.strip():
            name = re.match(r"(list\(interpolate\.)?(\w+)", call)
            assert name is not None
            short = module.rpartition(".")[2]
            found.setdefault(name[2], []).append(call if name[1] else f"{short}.{call}")
    scipys = importlib.import_module(f"scipy.{module}")
    for name in public(module):
        f = getattr(getattr(scipys, name), "__wrapped__", getattr(scipys, name))
        if name not in found and isinstance(f, np.ufunc):
            found[name] = _of_ufunc(module, name, f)
    return {name: found[name] for name in sorted(found) if hasattr(scipys, name)}


GUESSES = ("2", "1", "0.4", "3", "5")  # of integers NumPy makes what the ufunc takes


def _of_ufunc(module: str, name: str, f: np.ufunc) -> list[str]:
    """One call per argument that can be differentiated, with constants for which the value is finite."""
    found = []
    for k in range(f.nin):
        for offset in ("", "1 + ", "3 + ", "-"):
            call = _finite(module, name, f, k, offset)
            if call:
                found.append(call)
                break
    return found


def _finite(module: str, name: str, f: np.ufunc, k: int, offset: str) -> str:
    for guess in np.ndindex(*(len(GUESSES),) * (f.nin - 1)):
        constants = [GUESSES[j] for j in guess]
        args = [*constants[:k], f"{offset}x", *constants[k:]]
        value = [eval(a, {"x": X}) for a in args]
        try:
            with np.errstate(all="ignore"):
                parts = list(_parts(f(*value)))
        except TypeError:
            return ""
        smooth = parts and all(np.isfinite(p).all() for p in parts)
        if smooth and (name in OF_STEPS or any(np.ptp(np.abs(p)) > 1e-12 for p in parts)):
            return f"{module}.{name}({', '.join(args)})"
    return ""


CLEAR = ("rmad.stop_gradient", "has no derivative with respect to argument", "non-NumPy", "has no derivative rule")
OF_STEPS = ("round", "gammasgn")


def _parts(y: Any) -> Iterator[Any]:
    """The arrays of floats in a result, one by one."""
    if isinstance(y, dict):
        y = list(y.values())
    if isinstance(y, tuple | list):
        for part in y:
            yield from _parts(part)
    elif (
        y is not None
        and getattr(np.asarray(y) if isinstance(y, int | float | complex) else y, "dtype", None) is not None
    ):
        y = np.asarray(y) if isinstance(y, int | float | complex) else y
        if y.dtype.kind in "fc":
            yield y


def number(y: Any) -> Any:
    """A real number that depends on all floats in a result."""
    total: Any = 0.0
    for part in _parts(y):
        for real in (np.real(part), np.imag(part)) if part.dtype.kind == "c" else (part,):
            total = total + np.sum(real * np.cos(1 + np.arange(real.size)).reshape(real.shape))
    return total


def tried(call: str, known: dict[str, Any]) -> tuple[str, str]:
    """What is found for a call, and what its error says."""
    f: Callable[[Any], Any] = eval(f"lambda x: {call}", known)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            slopes = [(number(f(X + h * V)) - number(f(X - h * V))) / (2 * h) for h in STEPS]
        except Exception as error:
            return "broken", f"{type(error).__name__}: {error}"
        try:
            gradient = rmad.grad(lambda x: 0.0 * np.sum(x) + number(f(x)))(X)
        except Exception as error:
            text = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
            clear = any(f"{name}" in text for name in (call.partition("(")[0], *CLEAR))
            return "error" if clear else "unclear", text
    found = float(np.sum(gradient * V))
    if not np.isclose(found, slopes, rtol=1e-4, atol=1e-6).any():
        return "WRONG", f"{found:.6g} for {slopes[0]:.6g}"
    return ("gradient", "") if found else ("constant", "")


def found_here(wanted: list[str]) -> dict[str, list[tuple[str, str, str]]]:
    """Per function the calls, what was found, and what the errors say, with the environment as it is."""
    known = names()
    found = {}
    for module in CALLS:
        for name, each in calls(module).items():
            full = f"{module}.{name}"
            if not wanted or full in wanted or module in wanted:
                found[full] = [(call, *tried(call, known)) for call in each]
    return found


def found_in_a_process(variable: bool, wanted: list[str]) -> dict[str, list[tuple[str, str, str]]]:
    """`found_here` of another process, with or without the variable."""
    environment = {name: value for name, value in os.environ.items() if name != "SCIPY_ARRAY_API"}
    if variable:
        environment["SCIPY_ARRAY_API"] = "1"
    command = [sys.executable, "-W", "ignore", __file__, "--json", *wanted]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return dict(json.loads(run.stdout.splitlines()[-1]))


# -- the page ------------------------------------------------------------------------------------------------

GROUPS = {
    ("gradient", "gradient"): "Gradient",
    ("some", "some"): "Gradient in the arguments of these numbers, an error in the others",
    ("some", "gradient"): "Gradient with the variable, in some arguments without it",
    ("error", "gradient"): "Gradient with the variable, an error without it",
    ("error", "constant"): "Zero with the variable, as the result is piecewise constant; an error without it",
    ("gradient", "error"): "Gradient, an error with the variable",
    ("constant", "constant"): "Zero, as the result is piecewise constant",
    ("error", "error"): "An error",
}


def summed_up(each: list[tuple[str, str, str]]) -> str:
    """One word for all calls of a function; "broken" if there is none."""
    if not each:
        return "broken"
    words = {word for _, word, _ in each}
    if len(words) == 1:
        return words.pop()
    for fault in ("broken", "unclear", "WRONG"):
        if fault in words:
            return fault
    return "some" if "gradient" in words else "error"


def listed(name: str, each: list[tuple[str, str, str]]) -> str:
    """The name, with the numbers of the arguments in which it has a derivative if it is only some."""
    if summed_up(each) != "some":
        return f"`{name}`"
    numbers = [str(1 + _position(call)) for call, word, _ in each if word == "gradient"]
    return f"`{name}` ({', '.join(numbers)})"


def _position(call: str) -> int:
    return next(k for k, arg in enumerate(call.partition("(")[2].split(", ")) if "x" in arg)


def grouped(module: str, plain: dict[str, Any], with_variable: dict[str, Any]) -> dict[tuple[str, str], list[str]]:
    """The names of the module's functions by what was found without and with the variable."""
    groups: dict[tuple[str, str], list[str]] = {}
    for full, each in plain.items():
        home, _, name = full.rpartition(".")
        if home == module:
            key = summed_up(each), summed_up(with_variable[full])
            groups.setdefault(key, []).append(listed(name, each))
    return groups


def page(plain: dict[str, Any], with_variable: dict[str, Any]) -> str:
    """The text of docs/scipy_functions.md."""
    lines, sections = [], []
    for module in CALLS:
        groups = grouped(module, plain, with_variable)
        counts = [sum(len(v) for k, v in groups.items() if k[i] in words) for i in (0, 1) for words in COLUMNS]
        lines.append(f"| `{module}` | {' | '.join(map(str, counts))} |")
        parts = [_wrapped(f"*{GROUPS.get(key, ' / '.join(key))}:* {', '.join(groups[key])}.") for key in _order(groups)]
        if nothing := WITHOUT_NUMBERS.get(module, "").split():
            parts.append(_wrapped(f"*Nothing to differentiate:* {', '.join(f'`{name}`' for name in sorted(nothing))}."))
        sections.append(f"## scipy.{module}\n\n" + "\n\n".join(parts))
    return TEXT.format(version=scipy.__version__, rows="\n".join(lines), sections="\n\n".join(sections))


COLUMNS = (("gradient", "some"), ("constant",), ("error",))


def _order(groups: dict[tuple[str, str], list[str]]) -> list[tuple[str, str]]:
    return sorted(groups, key=lambda key: (list(GROUPS).index(key) if key in GROUPS else len(GROUPS), key))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


TEXT = """# SciPy's functions on traced arrays

What the public functions of SciPy {version} do with a traced array, as they are and with the
environment variable `SCIPY_ARRAY_API=1` ([how](#the-environment-variable)). The page is written by
`benchmarks/scipy_functions.py`, which calls every function, and takes a gradient for right if it
equals central differences. An error says which function has met a traced array, and what to write
instead if rmad or NumPy have it.

| functions of | gradient | zero | error | gradient, with the variable | zero | error |
|---|---|---|---|---|---|---|
{rows}

Distributions are in [rmad.stats](densities.md), solvers in
[Solvers inside a function](tutorials/solvers.md).

## The environment variable

Without further measures, the ufuncs of `scipy.special` take traced arrays, and no other function of
SciPy does; the error says what to write instead. If the environment variable `SCIPY_ARRAY_API=1` is
set before SciPy is imported, SciPy hands the work of its functions to the library of their
arguments, here to rmad: `x.__array_namespace__()` is `rmad.array_api`, the array API standard,
version 2024.12, for traced arrays and for plain ones. Then `scipy.stats.zscore(x)` and many others
run on a traced x as they are.

```sh
SCIPY_ARRAY_API=1 python fit.py
```

* Arrays of NumPy next to traced ones are constants, as everywhere in rmad.
* What SciPy computes in compiled code takes plain arrays only, and raises the error as before.
* The functions of `scipy.special` need SciPy 1.14 or newer for it. Arrays on a GPU are left out.

{sections}
"""


def differences(plain: dict[str, Any], with_variable: dict[str, Any], text: str) -> list[str]:
    """Functions of which the page says something else than what was found."""
    known = {}
    for section in text.split("\n## scipy.")[1:]:
        module, _, rest = section.partition("\n")
        for key, title in GROUPS.items():
            found = re.search(rf"\*{re.escape(title)}:\*([^*]*)", " ".join(rest.split()))
            for name in re.findall(r"`(\w+)`(?: \([\d, ]+\))?", found[1]) if found else ():
                known[f"{module}.{name}"] = key
    found = {full: (summed_up(each), summed_up(with_variable[full])) for full, each in plain.items()}
    return [f"{full}: {key}, not {known.get(full)}" for full, key in found.items() if known.get(full) != key]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*", help="such as special.expit, or a module such as stats; default: all")
    parser.add_argument("--json", action="store_true", help="what is found in this process")
    parser.add_argument("--write", metavar="PAGE", help="writes the page")
    parser.add_argument("--check", metavar="PAGE", help="exits with 1 if the page says something else")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(found_here(options.functions)))
        sys.exit()
    both = [found_in_a_process(variable, options.functions) for variable in (False, True)]
    if options.write:
        pathlib.Path(options.write).write_text(page(*both), encoding="utf-8")
    elif options.check:
        sys.exit("\n".join(differences(*both, pathlib.Path(options.check).read_text(encoding="utf-8"))) or 0)
    else:
        for title, found in zip(("as it is", "SCIPY_ARRAY_API=1"), both, strict=True):
            print(f"== {title}")
            for name, each in found.items():
                for call, word, said in each:
                    print(f"  {word:9} {name:35} {call}  {said[:300]}")
