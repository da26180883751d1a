"""IDX files, the format of MNIST: two zero bytes, the type, the number of axes, their lengths, the numbers."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from nn.data.store import Readable, read_up_to, rest_of, unpacked
from rmad.extend import Array

__all__ = ["read_idx"]

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str], ndim: int | None = None) -> Array:
    """Reads the array in an IDX file, compressed by gzip if its name ends in .gz.

    Parameters
    ----------
    path : str or Path
        The file.
    ndim : int, optional
        Number of axes that it must have; its numbers must be bytes, then.

    Returns
    -------
    array in the shape and type of the header

    Raises
    ------
    ValueError
        Names the file and its fault: not gzip, cut short, damaged, of another format or of another length.

    References
    ----------
    Y. LeCun, C. Cortes & C. Burges, "The MNIST database", file formats.
    """
    with unpacked(Path(path)) as file:
        dtype, shape = _header(path, file, ndim)
        expected = math.prod(shape) * dtype.itemsize
        data = read_up_to(file, expected)
        actual = len(data) + rest_of(file)
    if actual != expected:
        raise ValueError(f"{path}: holds {actual} bytes of data, but its header {shape} says {expected}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _header(path: str | os.PathLike[str], file: Readable, ndim: int | None) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Reads type and shape, and nothing more of the file."""
    start = file.read(4)
    if len(start) < 4:
        raise ValueError(f"{path}: {len(start)} bytes are too few for an IDX file")
    zeros, code, axes = struct.unpack(">HBB", start)
    if zeros or code not in _TYPES:
        raise ValueError(f"{path}: starts with {start.hex(' ')}, which is no IDX file")
    if ndim is not None and (axes != ndim or code != 0x08):
        magic, expected = int.from_bytes(start, "big"), 0x0800 + ndim
        raise ValueError(f"{path}: magic number {magic}, expected {expected} (bytes along {ndim} axes)")
    lengths = file.read(4 * axes)
    if len(lengths) < 4 * axes:
        raise ValueError(f"{path}: ends within its header, after {4 + len(lengths)} of {4 + 4 * axes} bytes")
    return np.dtype(_TYPES[code]), struct.unpack(f">{axes}I", lengths)
