"""Files: parameters as safetensors, and files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nn.module import Module

__all__ = ["load", "save", "write_whole"]

DTYPES = {
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"u{size}") for size in (1, 2, 4, 8)},
    "BOOL": np.dtype(bool),
    "C64": np.dtype(np.complex64),
}
"""The types of safetensors files that NumPy has too."""


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Writes the arrays of the model to a safetensors file, by the names of its state_dict.

    Buffers, as running statistics, are among them. A crash leaves the file that was there before, or none.
    Raises TypeError that names a parameter of a dtype that the format lacks, ImportError without safetensors.
    """
    _check_order("save", model, path)
    st = safetensors_package()
    content = st.numpy.save(packed(model.state_dict(), "save"))
    write_whole(path, lambda file: file.write(content))


def packed(arrays: Mapping[str, Any], who: str) -> dict[str, Any]:
    """The arrays as a safetensors file holds them. Raises TypeError, in the name of `who`, for dtypes that it lacks."""
    # the format stores the bytes as they lie and says nothing of strides: views must become contiguous
    found = {name: np.asarray(on_host(a), order="C") for name, a in arrays.items()}
    for name, array in found.items():
        if array.dtype.newbyteorder("=") not in DTYPES.values():
            raise TypeError(f"{who}: {name!r} is {array.dtype}, for which safetensors files have no type")
    return found


def load(model: Module, path: str | os.PathLike[str]) -> None:
    """Rebinds the arrays of the model to those of a safetensors file.

    Raises ValueError that names the file and what is wrong with it, down to the parameter that does
    not fit and both shapes; the model is then as it was. ImportError without safetensors.
    """
    _check_order("load", model, path)
    st = safetensors_package()
    content = Path(path).read_bytes()
    try:
        entries = st.deserialize(content)
    except Exception as error:  # the package raises an exception of its own
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from error
    try:
        state = unpacked(entries)
        model.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f"{path} does not fit the model. {error}") from None


def _check_order(who: str, model: Any, path: Any) -> None:
    if not isinstance(model, Module):
        raise TypeError(f"{who}: the model comes first, nn.{who}(model, path); it is of type {type(model).__name__}")
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{who}: the path must be a str or a Path, not {type(path).__name__}")


def write_whole(
    path: str | os.PathLike[str], write: Callable[[BinaryIO], Any], *, previous: Path | None = None
) -> None:
    """Makes the file at `path` from write(file): beside it first, then renamed, so no reader sees half of it.

    previous: where the file that stood at `path` goes. Raises OSError.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(part, path)
    except BaseException as problem:
        part.unlink(missing_ok=True)
        if isinstance(problem, OSError) and problem.filename in (None, str(part)):
            problem.filename = str(path)  # a full disk does not say of which file
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """The names in a folder are on the disk when this returns, for a power cut; where the file system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def unpacked(entries: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """{name: array} from the entries of a safetensors file."""
    return {name: _array(name, entry["dtype"], entry["shape"], entry["data"]) for name, entry in entries}


def _array(name: str, dtype: str, shape: Sequence[int], data: bytes) -> Any:
    """The array of one entry. NumPy has no bfloat16; its bits are the upper half of a float32's."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in DTYPES:
        raise ValueError(f"{name!r} holds {dtype}, a type that NumPy lacks")
    return np.frombuffer(data, DTYPES[dtype].newbyteorder("<")).reshape(shape)


def on_host(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else array  # CuPy's arrays have `get`


def safetensors_package() -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError("saving and loading models needs safetensors: pip install rmad[examples]") from None
    return safetensors
