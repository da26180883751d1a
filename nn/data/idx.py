"""IDX files, the format of MNIST: two zero bytes, the type, the number of axes, their lengths, the numbers."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np

from nn.data.store import read_unpacked
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
    content = read_unpacked(Path(path))
    if len(content) < 4:
        raise ValueError(f"{path}: {len(content)} bytes are too few for an IDX file")
    zeros, code, axes = struct.unpack(">HBB", content[:4])
    magic = int.from_bytes(content[:4], "big")
    if zeros or code not in _TYPES:
        raise ValueError(f"{path}: starts with {content[:4].hex(' ')}, which is no IDX file")
    if ndim is not None and (axes != ndim or code != 0x08):
        expected = 0x0800 + ndim
        raise ValueError(f"{path}: magic number {magic}, expected {expected} (bytes along {ndim} axes)")
    start = 4 + 4 * axes
    if len(content) < start:
        raise ValueError(f"{path}: ends within its header, after {len(content)} of {start} bytes")
    shape = struct.unpack(f">{axes}I", content[4:start])
    dtype = np.dtype(_TYPES[code])
    expected, actual = math.prod(shape) * dtype.itemsize, len(content) - start
    if actual != expected:
        raise ValueError(f"{path}: holds {actual} bytes of data, but its header {shape} says {expected}")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
