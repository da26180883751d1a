"""A call under tracing next to the plain one: value, dtype, shape and kind to the last bit, and the derivative."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from same_as_numpy.table import evaluated, unequal

import rmad
from every_function.arguments import ARRAYS, CONSTANTS
from every_function.forms import ARRAY_FORMS, Call, nested

__all__ = ["Found", "tried"]


class Found(NamedTuple):
    """What a traced call does: "value", "last bits" (the value but for these), "error" (NumPy's own), "refused"
    (rmad's error) or "differs"; and its derivative.

    derivative: "right", "zero", "none" (of integers and text), "not checked" (no measure by differences), or the fault.
    """

    kind: str
    words: str = ""
    derivative: str = "none"


def written(f: Any, a: Any, *rest: Any, **kwargs: Any) -> Any:
    """The array a after f has written into it."""
    a = np.array(a)
    f(a, *rest, **kwargs)
    return a


NAMES = {"np": np, "written": written, **CONSTANTS}


def arrays_of(call: Call) -> dict[str, Any]:
    form = ARRAY_FORMS.get(call.form, ARRAY_FORMS["arrays"])
    others = (lambda a: np.round(10 * a).astype(int)) if call.form == "with integers" else form
    return {name: form(a) if name in call.traced else others(a) for name, a in ARRAYS.items()}


def tried(call: Call) -> Found:
    code = compile(call.text, "<a user's call>", "eval")
    arrays = arrays_of(call)

    others: list[Any] = []  # results that are no arrays

    def f(x: Any) -> Any:
        given = {name: nested(a) for name, a in x.items()} if call.form == "lists" else x
        y = eval(code, NAMES | arrays | given)
        if _is_tree(y):
            return y
        others.append(repr(y))
        return np.zeros(0)

    x = {name: arrays[name] for name in call.traced}
    plain, plain_error = evaluated(lambda: f({name: a.copy() for name, a in x.items()}))
    if not x:
        return Found("error" if plain_error else "value", str(plain_error or ""))
    pair, error = evaluated(lambda: rmad.linearize(f, x))
    if plain_error is not None:
        if error is None:
            return Found("differs", f"a value, where NumPy raises {type(plain_error).__name__}: {plain_error}")
        same = isinstance(error, type(plain_error))
        return Found("error" if same else "refused", f"{type(error).__name__}: {error}")
    if error is not None:
        return Found("refused", f"{type(error).__name__}: {error}")
    y, lin = pair
    if others and others[0] != others[-1]:
        return Found("differs", f"{others[-1]} for {others[0]}")
    different = unequal(y, plain)
    if different is not None:
        return Found("differs" if _apart(y, plain) else "last bits", different)
    return Found("value", "", _derivative(f, x, y, lin))


def _is_tree(y: Any) -> bool:
    if isinstance(y, tuple | list):
        return all(map(_is_tree, y))
    if isinstance(y, type):
        return False
    return isinstance(y, bool | int | float | complex | np.ndarray) or (hasattr(y, "dtype") and hasattr(y, "shape"))


def _apart(y: Any, plain: Any) -> bool:
    """True if the numbers differ by more than rounding."""
    try:
        a, b = np.asarray(y), np.asarray(plain)
        return type(y) is not type(plain) or a.dtype != b.dtype or not np.allclose(a, b, rtol=1e-5, atol=0)
    except (TypeError, ValueError):
        return True


def _leaves(y: Any) -> list[Any]:
    if isinstance(y, tuple | list):
        return [a for part in y for a in _leaves(part)]
    return [np.asarray(y)] if np.asarray(y).dtype.kind in "fc" else []


def _derivative(f: Any, x: dict[str, Any], y: Any, lin: Any) -> str:
    rng = np.random.default_rng(3)
    v = {name: _direction(rng, a) for name, a in x.items()}
    if not _leaves(y):
        return "none"
    Jv, error = evaluated(lambda: lin.Jv(v))
    if error is not None:
        return f"Jv: {type(error).__name__}: {error}"
    u = _like(rng, y)
    JTu, error = evaluated(lambda: lin.JTu(u))
    if error is not None:
        return f"JTu: {type(error).__name__}: {error}"
    if (wrong := unequal(_kinds(Jv), _kinds(y))) is not None:
        return f"Jv is of another kind: {wrong}"
    if (wrong := unequal(_kinds(JTu), _kinds(x))) is not None:
        return f"JTu is of another kind: {wrong}"
    a, b = _inner(_leaves(u), _leaves(Jv)), _inner([JTu[n] for n in x], [v[n] for n in x])
    small = (
        1e-3 if any(a.dtype.itemsize == (4 if a.dtype.kind == "f" else 8) for a in (*_leaves(y), *x.values())) else 1e-8
    )
    size = sum(float(np.sum(np.abs(p) * np.abs(q))) for p, q in zip(_leaves(u), _leaves(Jv), strict=True))
    if np.isfinite(size) and not abs(a - b) <= small * (1 + size):
        return f"⟨u, Jv⟩ = {a:.8g}, ⟨Jᵀu, v⟩ = {b:.8g}"
    found = _leaves(Jv)
    right = "right" if any(np.any(part != 0) for part in found) else "zero"
    if small == 1e-3:
        return right
    fine, coarse = _difference(f, x, v, 1e-4), _difference(f, x, v, 2e-4)
    if fine is None or coarse is None or len(fine) != len(found):
        return "not checked"
    checked = False
    for p, q, r in zip(fine, coarse, found, strict=True):
        sure = np.abs(p - q) <= 1e-5 * (1 + np.abs(p))
        sure &= np.isfinite(p)
        checked |= bool(np.any(sure)) or p.size == 0
        if np.any(np.abs(p - r)[sure] > 1e-4 * (1 + np.abs(p[sure]))):
            return f"Jv is {r!r}, by differences {p!r}"
    return right if checked else "not checked"


def _direction(rng: Any, a: Any) -> Any:
    v = rng.normal(size=a.shape) + (1j * rng.normal(size=a.shape) if a.dtype.kind == "c" else 0)
    return v.astype(a.dtype)


def _like(rng: Any, y: Any) -> Any:
    if isinstance(y, tuple | list):
        parts = [_like(rng, part) for part in y]
        return type(y)(*parts) if hasattr(y, "_fields") else type(y)(parts)
    a = np.asarray(y)
    if a.dtype.kind not in "fc":
        return np.zeros_like(a)
    return np.asarray(_direction(rng, a))


def _kinds(y: Any) -> Any:
    """y as zeros: shapes and dtypes of its floats."""
    return [np.zeros(a.shape, a.dtype) for a in _leaves(list(y.values()) if isinstance(y, dict) else y)]


def _inner(a: list[Any], b: list[Any]) -> float:
    return sum(float(np.real(np.vdot(p, q))) for p, q in zip(a, b, strict=True))


def _difference(f: Any, x: dict[str, Any], v: dict[str, Any], h: float) -> list[Any] | None:
    """(f(x + h v) - f(x - h v)) / 2h of the plain function."""
    at = lambda t: evaluated(lambda: f({n: np.asarray(x[n] + t * v[n]) for n in x}))  # noqa: E731
    (up, e), (down, d) = at(h), at(-h)
    if e is not None or d is not None:
        return None
    a, b = _leaves(up), _leaves(down)
    if [p.shape for p in a] != [q.shape for q in b]:
        return None
    with np.errstate(all="ignore"):
        return [(p - q) / (2 * h) for p, q in zip(a, b, strict=True)]
