"""Alternatives to functions that take plain arrays only: the end of the error for a traced one.

NumPy's protocols reach the ufuncs of scipy.special and nothing else of SciPy. A function of it that gets a traced array
asks for a plain one, deep inside; the frames of the call tell which function that is. Other packages are
named likewise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import FrameType

from rmad.errors.plain_calls import of_line
from rmad.errors.scipy_names import INSTEAD, WITH_THE_VARIABLE
from rmad.errors.source import called_at

__all__ = ["INSTEAD", "advice"]

OURS = ("rmad", "nn", "optim")
METHODS = ("logpdf", "pdf", "logpmf", "pmf", "cdf", "sf", "logcdf", "logsf")  # of rmad.stats
QUANTILES = ("ppf", "isf")
CONTINUOUS = (
    "beta cauchy chi2 expon f gamma gumbel_r invgamma laplace logistic lognorm norm pareto t uniform weibull_min"
)
_WRAPPED = ("func", "f", "fun", "hypotest_fun_in", "function")  # names for a function in the wrappers of SciPy


def advice(frame: FrameType | None) -> str:
    """Says which function of SciPy, or of the user's own line, has met a traced array, and what to write instead."""
    for above in reversed(list(_of_scipy(frame))):
        for module, name in _called(above):
            return _advised(module, name)
    if name := _of_a_package(frame):
        return f"{name} takes plain arrays only; write what it computes in NumPy"
    package = "" if frame is None else frame.f_globals.get("__name__", "").partition(".")[0]
    return "" if package in ("numpy", "rmad", "scipy") else _of_compiled(frame) or of_line(frame)


def _advised(module: str, name: str) -> str:
    return f"scipy.{module}.{name} takes plain arrays only; use {_written(module, name)}{_or_set(module, name)}"


def _of_compiled(frame: FrameType | None) -> str:
    """The same for compiled code of SciPy, which has no frame: by what the user's line calls."""
    f = (called_at(frame) or ("", None))[1] if frame is not None else None
    owner = getattr(f, "__self__", None)
    kind = owner if isinstance(owner, type) else f
    home, name = getattr(kind, "__module__", None) or "", getattr(kind, "__name__", "")
    if not home.startswith("scipy."):
        return ""
    for module in _public(home, name):
        return _advised(module, name if kind is f else f"{name}.{getattr(f, '__name__', '')}")
    return ""


def _of_a_package(frame: FrameType | None) -> str:
    """The public name of what the user has called in an installed package, such as scikit-learn; empty for none."""
    found = ""
    while frame is not None:
        parts = frame.f_globals.get("__name__", "").split(".")
        if parts[0] not in ("numpy", "scipy", *OURS):
            if not any(folder in frame.f_code.co_filename for folder in ("site-packages", "dist-packages")):
                break
            name = frame.f_code.co_qualname.removesuffix(".__init__")
            first, prefixes = name.partition(".")[0], [".".join(parts[: k + 1]) for k in range(len(parts))]
            public = next((p for p in prefixes if hasattr(sys.modules.get(p), first) and "._" not in p), "")
            found = f"{public}.{name}" if public and not first.startswith("_") else found
        frame = frame.f_back
    return found


def _of_scipy(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of SciPy between the error and the user's call, from the inside out."""
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package == "scipy":
            yield frame
        elif package not in ("numpy", "rmad"):
            return
        frame = frame.f_back


def _called(frame: FrameType) -> Iterator[tuple[str, str]]:
    """The module and the public name of what runs in a frame, or is wrapped by it."""
    here, name, home = frame.f_locals, frame.f_code.co_name, frame.f_globals["__name__"]
    if (owner := here.get("self")) is not None:  # a method: with its distribution or its class
        owner = getattr(owner, "dist", owner)
        kind = getattr(owner, "name", None) if home.startswith("scipy.stats.") else getattr(owner, "__name__", None)
        kind = kind or type(owner).__name__.removesuffix("_gen").removesuffix("_frozen")
        for module in _public(home, kind):
            yield module, kind if name.startswith("_") or name == "freeze" else f"{kind}.{name}"
    else:
        short, _, method = frame.f_code.co_qualname.partition(".")  # a static method has the name of its class
        for module in _public(home, short):
            yield module, f"{short}.{method}" if method.isidentifier() else short
    for wrapped in filter(callable, map(here.get, _WRAPPED)):
        name = getattr(wrapped, "__name__", "")
        for module in _public(getattr(wrapped, "__module__", None) or "", name):
            yield module, name


_WITHIN = {
    "cluster": ("hierarchy", "vq"),
    "optimize": ("elementwise",),
    "sparse": ("linalg", "csgraph"),
    "spatial": ("distance", "transform"),
}
"""Modules of SciPy's packages that users import by their own names."""


def _public(home: str, name: str) -> Iterator[str]:
    """The modules of SciPy in which users find the name: special for what is defined in scipy.special._basic."""
    package = ".".join(home.split(".")[1:2])
    for module in (*(f"{package}.{inner}" for inner in _WITHIN.get(package, ())), package):
        if not name.startswith("_") and hasattr(sys.modules.get(f"scipy.{module}"), name):
            yield module


def _written(module: str, name: str) -> str:
    """What the table has for a function; methods stay in the name of a distribution."""
    short, _, method = name.partition(".")
    if module == "stats" and method in QUANTILES and short not in CONTINUOUS.split():
        return "the ufunc of its quantiles, such as scipy.special.ndtri, gammaincinv or betaincinv"
    for ours, theirs in INSTEAD.get(module, {}).items():
        if short in theirs.split():
            return ours.replace("{}", name if module == "stats" and method in (*METHODS, *QUANTILES) else short)
    return "its density written in NumPy" if method in METHODS else "functions of NumPy"


def _or_set(module: str, name: str) -> str:
    """Says that SciPy's own function would do with the variable, if that is not set."""
    if name not in WITH_THE_VARIABLE.get(module, "").split() or os.environ.get("SCIPY_ARRAY_API"):
        return ""
    return ", or the function itself with the environment variable SCIPY_ARRAY_API=1, set before SciPy is imported"
