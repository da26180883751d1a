"""Parameters as safetensors files, and files that are either whole or absent."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import numpy as np

from nn.module import Module
from rmad.extend import Array

__all__ = ["load", "save", "write_whole"]

DTYPES = {
    **{f"F{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    **{f"I{8 * size}": np.dtype(f"i{size}") for size in (1, 2, 4, 8)},
    **{f"U{8 * size}": np.dtype(f"u{size}") for size in (1, 2, 4, 8)},
    "BOOL": np.dtype(bool),
    "C64": np.dtype(np.complex64),
}
"""The types that safetensors files and NumPy have in common."""


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Writes the arrays of the model, buffers included, to a safetensors file, by the names of its state_dict.

    A crash leaves the file that was there before, or none.

    Parameters
    ----------
    model : Module
        Any module.
    path : str or Path
        The file; the usual suffix is .safetensors.

    Raises
    ------
    TypeError
        Names a parameter of a dtype that the format lacks.
    ImportError
        If the package safetensors is not installed.

    Examples
    --------
    >>> import nn, tempfile
    >>> layer, other = (nn.Linear(3, 2, rng=np.random.default_rng(seed)) for seed in (0, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save(layer, f"{folder}/model.safetensors")
    ...     nn.load(other, f"{folder}/model.safetensors")
    >>> bool((layer.weight == other.weight).all())
    True
    """
    _check_order("save", model, path)
    st = safetensors_package()
    content = st.numpy.save(packed(model.state_dict(), "save"))
    write_whole(path, lambda file: file.write(content))


def packed(arrays: Mapping[str, Array], who: str) -> dict[str, Array]:
    """Returns contiguous arrays of types that safetensors has. Raises TypeError, begun with `who`, for others."""
    # the format stores bytes without strides: views must become contiguous
    found = {name: np.asarray(on_host(a), order="C") for name, a in arrays.items()}
    for name, array in found.items():
        if array.dtype.newbyteorder("=") not in DTYPES.values():
            raise TypeError(f"{who}: {name!r} is {array.dtype}, for which safetensors files have no type")
    return found


def load(model: Module, path: str | os.PathLike[str]) -> None:
    """Rebinds the arrays of the model to those of a safetensors file.

    Parameters
    ----------
    model : Module
        A model with the same names and shapes as the saved one.
    path : str or Path
        The file.

    Raises
    ------
    ValueError
        Names the file and its fault, or the parameter that does not fit and both shapes, or holds NaN; the model is
        as it was.
    ImportError
        If the package safetensors is not installed.
    """
    _check_order("load", model, path)
    st, path = safetensors_package(), Path(path)
    try:
        header = header_of(path)
    except OSError:
        raise
    except Exception as error:  # whatever the bytes happen to be
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from error
    try:
        model._fitting_arrays(_outlines(header))  # before the numbers are read: they may be more than memory holds
        entries = st.deserialize(path.read_bytes())
        model.load_state_dict(unpacked(entries))
    except ValueError as error:
        raise ValueError(f"{path} does not fit the model. {error}") from None
    except st.SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from error


def header_of(path: Path) -> dict[str, Any]:
    """Returns the header of a safetensors file. ValueError unless the file is as long as the header says.

    The rest of the file is not read, and a header only as far as there is a file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 8 + length <= size:
            raise ValueError(f"it has {size} bytes, too few for its header")
        header = json.loads(file.read(length))
    ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    if 8 + length + max(ends, default=0) != size:
        raise ValueError(f"it has {size} bytes, its header says {8 + length + max(ends, default=0)}")
    return header


def _outlines(header: dict[str, Any]) -> dict[str, Array]:
    """Returns {name: array} of zeros that take no memory, in the types and shapes of a header."""
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    dtypes = {name: _array(name, str(entry.get("dtype")), (0,), b"").dtype for name, entry in entries.items()}
    try:
        return {
            name: np.broadcast_to(np.zeros((), dtypes[name]), tuple(entry["shape"])) for name, entry in entries.items()
        }
    except (KeyError, TypeError) as error:
        raise ValueError(f"its header has a shape that is none: {error}") from None


def _check_order(who: str, model: Any, path: Any) -> None:
    """Raises TypeError unless the arguments are a model and a path, in this order."""
    if not isinstance(model, Module):
        raise TypeError(f"{who}: the model comes first, nn.{who}(model, path); it is of type {type(model).__name__}")
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"{who}: the path must be a str or a Path, not {type(path).__name__}")


def write_whole(
    path: str | os.PathLike[str], write: Callable[[BinaryIO], Any], *, previous: Path | None = None
) -> None:
    """Makes the file at `path` from write(file): under another name first, then renamed, so no reader sees half of it.

    Parameters
    ----------
    path : str or Path
        The file.
    write : function
        Writes the content into the binary file that it gets.
    previous : Path, optional
        New place of the file that stood at `path`.

    Raises
    ------
    OSError
        Names the file that could not be written.
    """
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            path.replace(previous)
        part.replace(path)
    except BaseException as problem:
        part.unlink(missing_ok=True)
        if isinstance(problem, OSError) and problem.filename in (None, str(part)):
            problem.filename = str(path)  # the error of a full disk names no file
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Writes the names in a folder to the disk, in case of a power cut, if the file system can do that."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def unpacked(entries: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, Array]:
    """Returns {name: array} from the entries of a safetensors file."""
    return {name: _array(name, entry["dtype"], entry["shape"], entry["data"]) for name, entry in entries}


def _array(name: str, dtype: str, shape: Sequence[int], data: bytes) -> Array:
    """Returns the array of one entry. NumPy has no bfloat16; its bits are the upper half of a float32's."""
    if dtype == "BF16":
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype not in DTYPES:
        raise ValueError(f"{name!r} holds {dtype}, a type that NumPy lacks")
    return np.frombuffer(data, DTYPES[dtype].newbyteorder("<")).reshape(shape)


def on_host(array: Any) -> Any:
    """Returns a NumPy copy of an array of CuPy, and anything else as it is."""
    return array.get() if hasattr(array, "get") else array


def safetensors_package() -> ModuleType:
    """Returns the package safetensors, imported on first use; ImportError that says how to install it."""
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError("saving and loading models needs safetensors: pip install rmad[examples]") from None
    return safetensors
