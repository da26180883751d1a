"""MNIST and Fashion-MNIST: four IDX files each."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nn.data.dataset import Dataset
from nn.data.idx import read_idx
from nn.data.sources import IDX
from nn.data.store import Folder, find
from rmad.extend import Array

__all__ = ["fashion_mnist", "mnist"]


def mnist(data_dir: Folder = None) -> Dataset:
    """MNIST: 60,000 + 10,000 handwritten digits, 28×28. x: (n, 784) float32 in [0, 1], t: (n,) int64.

    The four .gz files are searched in data_dir (in its folder `mnist`, then in itself). Without data_dir they are
    searched in $RMAD_DATA in the same way, then in the cache; if they are in neither, they are downloaded and their
    SHA-256 is checked.

    Parameters
    ----------
    data_dir : str or Path, optional
        Folder with the files, or with a folder `mnist` that holds them; they must be there.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        Names a damaged or foreign file and its fault.
    FileNotFoundError
        Names the places that were searched.
    ConnectionError
        If every mirror failed.

    References
    ----------
    LeCun, Bottou, Bengio & Haffner (1998).
    """
    return _load("mnist", data_dir)


def fashion_mnist(data_dir: Folder = None) -> Dataset:
    """Fashion-MNIST: 60,000 + 10,000 photographs of clothes, 28×28. x: (n, 784) float32 in [0, 1], t: (n,) int64.

    The files are found like those of `mnist`.

    Parameters
    ----------
    data_dir : str or Path, optional
        Folder with the files, or with a folder `fashion-mnist` that holds them; they must be there.

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
    Xiao, Rasul & Vollgraf (2017).
    """
    return _load("fashion-mnist", data_dir)


def _load(name: str, data_dir: Folder) -> Dataset:
    paths = [find(name, file, data_dir=data_dir) for file in IDX]
    return Dataset(*_pair(*paths[:2]), *_pair(*paths[2:]))


def _pair(images: Path, labels: Path) -> tuple[Array, Array]:
    """Returns x: (n, 784) and t: (n,) of two files."""
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
