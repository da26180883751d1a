"""Functions of the array API standard that NumPy has with other arguments, or not in every version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.array_api.names import DTYPES, function
from rmad.tracing.traced import Traced

__all__ = ["OF_FFT", "OWN", "information"]

_DEVICES = (None, "cpu")


def _on_the_cpu(device: Any) -> None:
    if device not in _DEVICES:
        raise ValueError(f'device must be "cpu" or None, got {device!r}')


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    _on_the_cpu(device)
    return x.astype(dtype, copy=copy)


def argsort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    kind: Any = "stable" if stable else None
    if not descending:
        return np.argsort(x, axis=axis, kind=kind)
    # Equal elements keep their order if the flipped array is sorted upwards, and the result is flipped.
    order = np.flip(np.argsort(np.flip(x, axis=axis), axis=axis, kind=kind), axis=axis)
    return x.shape[axis] - 1 - order


def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    y = np.sort(x, axis=axis, kind="stable" if stable else None)
    return np.flip(y, axis=axis) if descending else y


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    if min is None and max is None:
        return x.copy()
    return np.clip(x, min, max).astype(x.dtype, copy=False)  # type: ignore[no-any-return]


def expand_dims(x: Any, /, *, axis: int | tuple[int, ...] = 0) -> Any:
    return np.expand_dims(x, axis)


def reshape(x: Any, /, shape: Any, *, copy: bool | None = None) -> Any:
    if copy:
        x = x.copy()
    y = np.reshape(x, shape)
    if copy is False and not isinstance(x, Traced) and not np.may_share_memory(x, y):
        raise ValueError("reshape: this shape needs a copy, and copy=False forbids it")
    return y


def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    return np.take_along_axis(x, indices, axis)


def finfo(type: Any, /) -> Any:
    return np.finfo(type.dtype if isinstance(type, np.ndarray | np.generic | Traced) else type)


def iinfo(type: Any, /) -> Any:
    return np.iinfo(type.dtype if isinstance(type, np.ndarray | np.generic | Traced) else type)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Any, ...]:
    return tuple(np.moveaxis(x, axis, 0))


def _cumulative(f: Callable[..., Any], start: Callable[..., Any], name: str) -> Callable[..., Any]:
    def cumulative(x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False) -> Any:
        if axis is None:
            if x.ndim > 1:
                raise ValueError(f"{name}: an array of {x.ndim} dimensions needs axis=")
            axis = 0
        y = f(np.atleast_1d(x), axis=axis, dtype=dtype)
        if not include_initial:
            return y
        first = [1 if k == axis % y.ndim else n for k, n in enumerate(y.shape)]
        return np.concatenate([start(first, dtype=y.dtype), y], axis=axis)

    cumulative.__name__ = name
    return cumulative


cumulative_sum = _cumulative(np.cumsum, np.zeros, "cumulative_sum")
cumulative_prod = _cumulative(np.cumprod, np.ones, "cumulative_prod")

OWN: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        *(argsort, astype, clip, cumulative_prod, cumulative_sum, expand_dims, finfo, iinfo, reshape, sort),
        *(take_along_axis, unstack),
    )
}

# -- fft ------------------------------------------------------------------------------------------


def _frequencies(name: str) -> Callable[..., Any]:
    own = function(np.fft, name)

    def frequencies(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Any:
        _on_the_cpu(device)
        y = own(n, d)
        return y if dtype is None else y.astype(dtype)

    frequencies.__name__ = name
    return frequencies


OF_FFT = {name: _frequencies(name) for name in ("fftfreq", "rfftfreq")}

# -- what the namespace says of itself ---------------------------------------------------------------------------


class information:
    """The namespace's answers about devices and dtypes."""

    def capabilities(self) -> dict[str, Any]:
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        return "cpu"

    def devices(self) -> list[str]:
        return ["cpu"]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        _on_the_cpu(device)
        dtypes = {"real floating": np.float64, "complex floating": np.complex128}
        return {name: np.dtype(d) for name, d in (dtypes | {"integral": np.intp, "indexing": np.intp}).items()}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        _on_the_cpu(device)
        found = {name: np.dtype(getattr(np, name)) for name in DTYPES}
        return found if kind is None else {name: d for name, d in found.items() if np.isdtype(d, kind)}
