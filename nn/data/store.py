"""MNIST and Fashion-MNIST: the four IDX files, from a folder or downloaded."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from nn.data.dataset import Dataset, cache_dir
from nn.data.idx import read_idx

__all__ = ["fashion_mnist", "mnist"]

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
SHA256 = {
    "mnist": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
    "fashion-mnist": (
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    ),
}


def mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """MNIST: 60,000 + 10,000 handwritten digits, 28×28.

    The four .gz files are looked for in data_dir (in its folder `mnist`, then in itself; they must be
    there), else in the same way in $RMAD_DATA, else in the cache, else they are downloaded and their
    SHA-256 is checked. Raises ValueError that names a damaged or foreign file and what is wrong with
    it, FileNotFoundError with the places looked at, ConnectionError when every mirror failed.

    Source: LeCun, Bottou, Bengio & Haffner (1998).
    """
    return _load("mnist", data_dir)


def fashion_mnist(data_dir: str | os.PathLike[str] | None = None) -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 photographs of clothes, 28×28, found like `mnist` (folder `fashion-mnist`).

    Source: Xiao, Rasul & Vollgraf (2017).
    """
    return _load("fashion-mnist", data_dir)


def _load(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    paths = [_find(name, k, data_dir) for k in range(4)]
    return Dataset(*_pair(*paths[:2]), *_pair(*paths[2:]))


def _pair(images: Path, labels: Path) -> tuple[Any, Any]:
    """x: (n, 784) float32 in [0, 1], t: (n,) int64."""
    x, t = read_idx(images, 3), read_idx(labels, 1)
    if x.shape[1:] != (28, 28) or not len(x):
        raise ValueError(f"{images}: holds {x.shape[0]} images of {x.shape[1:]}, expected 28×28")
    if len(t) != len(x):
        raise ValueError(f"{labels}: holds {len(t)} labels, but {images} holds {len(x)} images")
    if t.max() > 9:
        raise ValueError(f"{labels}: holds the label {t.max()}, expected 0 … 9")
    pixels = x.reshape(len(x), 784).astype(np.float32)
    pixels /= 255
    return pixels, t.astype(np.int64)


def _find(name: str, k: int, data_dir: str | os.PathLike[str] | None) -> Path:
    file = FILES[k]
    given = data_dir if data_dir is not None else os.environ.get("RMAD_DATA")
    if given:
        places = [Path(given) / name / file, Path(given) / file]
        for path in places:
            if path.is_file():
                _refuse_foreign(path, name, k)
                return path
        if data_dir is not None:
            raise FileNotFoundError(f"{name}: no {file} at {' or '.join(map(str, places))}")
    path = cache_dir() / name / file
    if path.is_file() and _sha256(path) == SHA256[name][k]:
        return path
    return _download(name, k)


def _refuse_foreign(path: Path, name: str, k: int) -> None:
    """The sets name their files alike, so a file of the other one, or a renamed one, is told by its hash."""
    found = _sha256(path)
    for other, hashes in SHA256.items():
        if found in hashes and (other, found) != (name, SHA256[name][k]):
            raise ValueError(f"{path}: this is {FILES[hashes.index(found)]} of {other}, expected {FILES[k]} of {name}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(name: str, k: int) -> Path:
    """The file in the cache, from the first mirror that gives the right bytes."""
    file = FILES[k]
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f"{name}: downloading {file} needs pooch: pip install rmad[examples]; "
            "or pass data_dir, a folder with the files"
        ) from None
    known_hash, folder, failures = "sha256:" + SHA256[name][k], cache_dir() / name, []
    for mirror in MIRRORS[name]:
        try:
            return Path(pooch.retrieve(mirror + file, known_hash=known_hash, fname=file, path=folder))
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
            failures.append(f"{mirror}: {error}")
    raise ConnectionError(
        f"{name}: could not download {file}; pass data_dir or set RMAD_DATA to a folder with the files. "
        + "; ".join(failures)
    )
