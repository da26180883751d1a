"""CIFAR-10 in its binary version: records of a label and three planes of 32×32 pixels."""

from __future__ import annotations

import gzip
import math
import struct
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nn.data.dataset import Dataset
from nn.data.sources import CIFAR
from nn.data.store import (
    Folder,
    fetch,
    folders,
    missing,
    read_up_to,
    refuse_foreign,
    refuse_other_content,
    rest_of,
    unpacked,
)
from rmad.extend import Array

__all__ = ["cifar10"]

PIXELS = (3, 32, 32)
RECORD = 1 + math.prod(PIXELS)
FULL = 10_000  # records of a whole file
ARCHIVE = 8 * FULL * RECORD  # bytes of which no whole archive has more
TRAIN = tuple(f"data_batch_{k}.bin" for k in range(1, 6))
TEST = "test_batch.bin"
SHA256 = {TRAIN[0]: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"}


def cifar10(data_dir: Folder = None) -> Dataset:
    """CIFAR-10: 50,000 + 10,000 small photographs of ten classes. x: (n, 32, 32, 3) float32 in [0, 1], t: (n,) int64.

    A folder holds the archive cifar-10-binary.tar.gz, or single files: at least one of data_batch_1.bin …
    data_batch_5.bin, and test_batch.bin, plain or as .bin.gz; all that are there are read, and they may have fewer
    records than the official ones. Without data_dir it is found like `mnist`: in $RMAD_DATA, in the cache, or by a
    download (162 MB). Labels: airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck.

    Parameters
    ----------
    data_dir : str or Path, optional
        Folder with the files, or with a folder `cifar10` or `cifar-10-batches-bin` that holds them.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        Names a damaged or foreign file and its fault.
    FileNotFoundError
        Names the places that were searched.

    References
    ----------
    Krizhevsky, "Learning multiple layers of features from tiny images" (2009).
    """
    places = [place for folder in folders("cifar10", data_dir) for place in (folder, folder / "cifar-10-batches-bin")]
    for folder in places:
        if (folder / CIFAR).is_file():
            refuse_foreign(folder / CIFAR, "cifar10", CIFAR)
            return _from_archive(folder / CIFAR)
        train = [path for file in TRAIN for path in _lying(folder, file)]
        test = list(_lying(folder, TEST))
        if train and test:
            return Dataset(*_together([_read(path) for path in train]), *_read(test[0]))
        if train or test:
            there, lacking = (train or test)[0].name, "test batch" if train else "batch for training"
            raise FileNotFoundError(f"cifar10: {folder} has {there} but no {lacking}")
    if data_dir is not None:
        raise missing("cifar10", f"{CIFAR}, {TRAIN[0]} or {TRAIN[0]}.gz", data_dir)
    return _from_archive(fetch("cifar10", CIFAR))


def _lying(folder: Path, file: str) -> Iterator[Path]:
    """Yields the file, or else the compressed one, if there is either."""
    for path in (folder / file, folder / f"{file}.gz"):
        if path.is_file():
            yield path
            return


def _read(path: Path) -> tuple[Array, Array]:
    with unpacked(path) as file:
        content = read_up_to(file, FULL * RECORD)
    if len(content) > FULL * RECORD:
        raise ValueError(f"{path}: holds more than {FULL} records of {RECORD} bytes")
    return _images(content, path, path.name.removesuffix(".gz"))


def _from_archive(path: Path) -> Dataset:
    """Reads six members of the archive, without unpacking it onto the disk."""
    found: dict[str, tuple[Array, Array]] = {}
    try:
        with gzip.open(path) as content, tarfile.open(fileobj=_Counted(content), mode="r|") as archive:  # type: ignore[call-overload]
            for member in archive:
                name = member.name.rpartition("/")[2]
                if member.isreg() and name in (*TRAIN, TEST):
                    if member.size != FULL * RECORD:
                        raise ValueError(f"{path}: {name} in it has {member.size} bytes, expected {FULL * RECORD}")
                    found[name] = _images(archive.extractfile(member).read(), path, name)  # type: ignore[union-attr]
            rest_of(content)  # to the end, because gzip keeps its checksum there
    except (tarfile.TarError, EOFError, OSError, OverflowError, UnicodeError, struct.error, zlib.error) as error:
        raise ValueError(f"{path}: the archive is cut short, damaged or none at all: {error}") from None
    for name in (*TRAIN, TEST):
        if name not in found:
            raise ValueError(f"{path}: has no {name} in it")
    return Dataset(*_together([found[name] for name in TRAIN]), *found[TEST])


class _Counted:
    """The content of the archive, of which no more is read than a whole one has: a name in it may be gigabytes long."""

    def __init__(self, content: gzip.GzipFile) -> None:
        self._content, self._left = content, ARCHIVE

    def read(self, size: int) -> bytes:
        """Reads up to `size` bytes; tarfile.ReadError beyond the end of a whole archive."""
        self._left -= size
        if self._left < 0:
            raise tarfile.ReadError(f"it unpacks to more than {ARCHIVE} bytes")
        return self._content.read(size)


def _together(parts: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    return np.concatenate([x for x, _ in parts]), np.concatenate([t for _, t in parts])


def _images(content: bytes, path: Path, name: str) -> tuple[Array, Array]:
    """Returns x: (n, 32, 32, 3), t: (n,) for the records in one file; `name` is its official name."""
    if not content or len(content) % RECORD:
        raise ValueError(
            f"{path}: holds {len(content)} bytes, expected a multiple of {RECORD} (a label, 3 × 32 × 32 pixels)"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    t = records[:, 0]
    if t.max() > 9:
        k = int(np.argmax(t > 9))
        raise ValueError(f"{path}: record {k} has the label {t[k]}, expected 0 … 9")
    if len(records) == FULL and name in SHA256:
        refuse_other_content(path, content, SHA256[name], f"CIFAR-10's {name}")
    x = records[:, 1:].reshape(-1, *PIXELS).transpose(0, 2, 3, 1).astype(np.float32, order="C")
    x /= 255
    return x, t.astype(np.int64)
