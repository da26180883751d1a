"""Files: parameters as safetensors, and files that are either whole or not there."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nn.module import Module

__all__ = ["load", "save", "write_whole"]


def save(model: Module, path: str | os.PathLike[str]) -> None:
    """Writes the arrays of the model to a safetensors file, by the names of its state_dict.

    A crash leaves the file that was there before, or none. Raises ImportError without safetensors.
    """
    st = _safetensors()
    # the format stores the bytes as they lie and says nothing of strides: views must become contiguous
    arrays = {name: np.asarray(_on_host(a), order="C") for name, a in model.state_dict().items()}
    content = st.save(arrays)
    write_whole(path, lambda file: file.write(content))


def load(model: Module, path: str | os.PathLike[str]) -> None:
    """Rebinds the arrays of the model to those of a safetensors file.

    Raises ValueError that names the file and what is wrong with it, down to the parameter that does
    not fit and both shapes; the model is then as it was. ImportError without safetensors.
    """
    st = _safetensors()
    content = Path(path).read_bytes()
    try:
        state = st.load(content)
    except Exception as error:  # the package raises an exception of its own and KeyError for an unknown dtype
        raise ValueError(f"{path} is no safetensors file, or a damaged one: {error}") from error
    try:
        model.load_state_dict(state)
    except ValueError as error:
        raise ValueError(f"{path} does not fit the model. {error}") from None


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], Any]) -> None:
    """Makes the file at `path` from write(file): beside it first, then renamed, so no reader sees half of it."""
    path = Path(path)
    part = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with open(part, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _on_host(array: Any) -> Any:
    return array.get() if hasattr(array, "get") else array  # CuPy's arrays have `get`


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError("saving and loading models needs safetensors: pip install rmad[examples]") from None
    return safetensors.numpy
