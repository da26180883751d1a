"""Small files of data, whole and damaged."""

import gzip
import struct

import numpy as np

from nn.data.sources import IDX


def levels(x):
    return np.rint(255 * x).astype(np.uint8)


def flip(content, where):
    return content[:where] + bytes([content[where] ^ 0xFF]) + content[where + 1 :]


def idx(array, code=0x08):
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(5 * 784, dtype=np.uint8).reshape(5, 28, 28)
LABELS = np.arange(5, dtype=np.uint8)


def write_set(folder, **other):
    """A small set of four files; `other` replaces the content of some, by the start of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in IDX:
        content = idx(IMAGES if "images" in name else LABELS)
        for key, replacement in other.items():
            if name.startswith(key.replace("_", "-")):
                content = idx(replacement)
        (folder / name).write_bytes(gzip.compress(content, mtime=0))
