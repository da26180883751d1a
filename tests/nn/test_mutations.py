"""Every file that is read, damaged in every way: the documented error, which names the file, and little memory.

Bytes are turned over, the file is cut short, pieces are doubled or swapped, and headers promise what is not there.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import pathlib
import random
import struct
import tarfile
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import scipy.io

import nn
from nn.data import cifar, housing, portraits

RNG = np.random.default_rng(0)
MOST = 20 << 20  # bytes that reading a file of a few kilobytes may take, its error included


@contextlib.contextmanager
def at_most(size: int) -> Iterator[None]:
    """Fails if more memory is in use at a time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 2, rng=np.random.default_rng(0)), nn.BatchNorm(2))


def saved(write: Callable[[pathlib.Path], Any], tmp_path: pathlib.Path) -> bytes:
    path = tmp_path / "whole"
    write(path)
    content = path.read_bytes()
    path.unlink()
    return content


def checkpoint(tmp_path: pathlib.Path) -> bytes:
    nn.Checkpoints(tmp_path).save(
        {"k": 1, "x": np.arange(3.0), "list": [1, {"a": None}], "rng": RNG.bit_generator.state}
    )
    return (tmp_path / "checkpoint.safetensors").read_bytes()


def idx(_: Any) -> bytes:
    images = np.arange(2 * 6, dtype=np.uint8).reshape(2, 2, 3)
    return struct.pack(">HBB3I", 0, 0x08, 3, *images.shape) + images.tobytes()


def records(_: Any) -> bytes:
    return RNG.integers(0, 10, (3, cifar.RECORD), dtype=np.uint8).tobytes()


def archive(_: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name in (*cifar.TRAIN, cifar.TEST):
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = 10
            tar.addfile(member, io.BytesIO(bytes(10)))
    return file.getvalue()


def table(_: Any) -> bytes:
    rows = RNG.random((housing.ROWS, len(housing.COLUMNS))).round(2)
    return "\n".join([",".join(housing.COLUMNS), *(",".join(map(str, row)) for row in rows)]).encode()


def pictures(kind: str) -> bytes:
    file, array = io.BytesIO(), np.zeros(portraits.SHAPE, np.uint8)
    if kind == "npy":
        np.save(file, array)
    else:
        scipy.io.savemat(file, {"faces": array.reshape(400, -1).T}, do_compression=True)
    return file.getvalue()


def zipped(made: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    return lambda tmp_path: gzip.compress(made(tmp_path), mtime=0)


READERS: dict[str, tuple[str, Callable[[pathlib.Path], bytes], Callable[[pathlib.Path], Any]]] = {
    "load": ("m", lambda tmp: saved(lambda path: nn.save(model(), path), tmp), lambda path: nn.load(model(), path)),
    "checkpoint": ("checkpoint.safetensors", checkpoint, lambda path: nn.Checkpoints(path.parent).load()),
    "idx": ("x", idx, nn.data.read_idx),
    "idx.gz": ("x.gz", zipped(idx), nn.data.read_idx),
    "cifar.bin": (cifar.TRAIN[0], records, cifar._read),
    "cifar.bin.gz": (f"{cifar.TRAIN[0]}.gz", zipped(records), cifar._read),
    "cifar.tar.gz": (cifar.CIFAR, archive, cifar._from_archive),
    "boston": ("housing.csv", table, lambda path: nn.data.boston(path.parent)),
    "olivetti.npy": ("olivetti_faces.npy", lambda _: pictures("npy"), lambda path: nn.data.olivetti(path.parent)),
    "olivetti.mat": ("olivettifaces.mat", lambda _: pictures("mat"), lambda path: nn.data.olivetti(path.parent)),
    "text": ("input.txt", lambda _: b"to be or not to be", lambda path: nn.data.tiny_shakespeare(path.parent)),
}


SLOW = {"olivetti.npy", "olivetti.mat", "boston", "cifar.bin"}


def mutations(whole: bytes, rng: random.Random, count: int) -> Iterator[bytes]:
    """Damaged contents: the head, where the structure is, in full; the rest at random places."""
    head = range(min(len(whole), count))
    for k in [*head, *(rng.randrange(len(whole)) for _ in range(count // 4))]:
        yield whole[:k] + bytes([rng.choice([whole[k] ^ 1 << rng.randrange(8), 0, 0xFF, 0x7F])]) + whole[k + 1 :]
    for k in [*range(0, min(len(whole), count), 3), *(rng.randrange(len(whole)) for _ in range(20))]:
        yield whole[:k]
    for _ in range(count // 4):
        a, b, c = sorted(rng.randrange(len(whole) + 1) for _ in range(3))
        yield rng.choice(
            [whole[:a] + whole[b:], whole[:b] + whole[a:], whole[:a] + whole[b:c] + whole[a:b] + whole[c:]]
        )
    yield from (
        b"",
        bytes(len(whole)),
        b"\xff" * len(whole),
        whole * 2,
        whole + b"\0",
        b"PK\x03\x04" + whole,
        b"\x80\x04.",
    )


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_is_refused_by_name(tmp_path: pathlib.Path, name: str) -> None:
    file, make, read = READERS[name]
    whole, path, rng = make(tmp_path), tmp_path / file, random.Random(name)
    refused = 0
    for content in mutations(whole, rng, 300 if name not in SLOW else 24):
        path.write_bytes(content)
        try:
            read(path)
        except ValueError as error:
            told = str(error)
        else:
            continue  # a blank of a header, a number of a model
        assert file in told, content[:200]
        refused += 1
    assert refused > 25


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(shape: Any = (2,), dtype: Any = "F32", offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


HUGE = 2**31
HEADERS = {
    "a length beyond the file": struct.pack("<Q", 2**63) + b"{}",
    "a length of half the file": struct.pack("<Q", 10) + bytes(20),
    "no object": safetensors([1]),
    "a number": safetensors(3),
    "a deep nest": safetensors(b"[" * 100_000),
    "no entry": safetensors({"0.weight": 3}),
    "no offsets": safetensors({"0.weight": {"dtype": "F32", "shape": [3, 2]}}),
    "offsets that are texts": safetensors({"0.weight": entry(offsets=["a", "b"])}, bytes(8)),
    "offsets beyond the file": safetensors({"0.weight": entry(offsets=[0, 2**60])}, bytes(8)),
    "negative offsets": safetensors({"0.weight": entry(offsets=[-8, 0])}),
    "a shape that is a text": safetensors({"0.weight": entry("ab")}, bytes(8)),
    "a shape of texts": safetensors({"0.weight": entry(["a"])}, bytes(8)),
    "a huge shape": safetensors({"0.weight": entry([HUGE, HUGE])}, bytes(8)),
    "a negative shape": safetensors({"0.weight": entry([-2])}, bytes(8)),
    "no shape": safetensors({"0.weight": entry(None)}, bytes(8)),
    "an unknown type": safetensors({"0.weight": entry(dtype="F9")}, bytes(8)),
    "a type that is a list": safetensors({"0.weight": entry(dtype=["F32"])}, bytes(8)),
    "an infinite offset": safetensors(b'{"0.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,1e999]}}', bytes(8)),
    "metadata only": safetensors({"__metadata__": {"state": "[]"}}),
    "metadata that are a list": safetensors({"__metadata__": ["a"]}),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies(tmp_path: pathlib.Path, name: str) -> None:
    for file, read in ((f[0], f[2]) for f in (READERS["load"], READERS["checkpoint"])):
        path = tmp_path / file
        path.write_bytes(HEADERS[name])
        with at_most(MOST), pytest.raises(ValueError, match=file):
            read(path)


def test_numbers_of_another_model_are_not_read(tmp_path: pathlib.Path) -> None:
    """The header says that they do not fit: a sparse file of a gigabyte costs nothing."""
    path = tmp_path / "m"
    head = safetensors({"0.weight": entry([1 << 28], offsets=[0, 1 << 30])})
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + (1 << 30))
    with (
        at_most(MOST),
        pytest.raises(ValueError, match=r"m does not fit the model. .*'0.weight' has shape \(3, 2\), the state has"),
    ):
        nn.load(model(), path)


def test_files_that_unpack_to_gigabytes(tmp_path: pathlib.Path) -> None:
    zeros = gzip.compress(bytes(1 << 22), mtime=0) * 300  # members follow each other: 1.2 GB
    header = tarfile.TarInfo("a" * 90)
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    bombs = {
        cifar.CIFAR: gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + zeros,
        "x.gz": gzip.compress(struct.pack(">HBB3I", 0, 0x08, 3, 10, 10, 10)) + zeros,
        f"{cifar.TRAIN[0]}.gz": zeros,
    }
    for file, read in (
        (cifar.CIFAR, cifar._from_archive),
        ("x.gz", nn.data.read_idx),
        (cifar.TRAIN[0] + ".gz", cifar._read),
    ):
        (tmp_path / file).write_bytes(bombs[file])
        with at_most(cifar.ARCHIVE + MOST), pytest.raises(ValueError, match=file):
            read(tmp_path / file)


def test_headers_of_huge_arrays(tmp_path: pathlib.Path) -> None:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (HUGE, HUGE)})
    (tmp_path / "olivetti_faces.npy").write_bytes(file.getvalue())
    (tmp_path / "x").write_bytes(struct.pack(">HBB3I", 0, 0x0E, 3, HUGE, HUGE, HUGE))
    with at_most(MOST):
        with pytest.raises(ValueError, match=r"olivetti_faces.npy"):
            nn.data.olivetti(tmp_path)
        with pytest.raises(ValueError, match=r"x: holds 0 bytes of data"):
            nn.data.read_idx(tmp_path / "x")


def test_a_damaged_cache_is_made_again(tmp_path: pathlib.Path) -> None:
    whole = nn.data.curves(4, 2, cache=tmp_path)
    (path,) = tmp_path.glob("*.npz")
    content, rng = path.read_bytes(), random.Random(0)
    for damaged in mutations(content, rng, 40):
        path.write_bytes(damaged)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "curves: the cached")
            found = nn.data.curves(4, 2, cache=tmp_path)
        np.testing.assert_array_equal(found.x_train, whole.x_train)
