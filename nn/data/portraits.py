"""The Olivetti faces, and FACES, a set of their cuts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from nn.checks import check_sizes
from nn.data.dataset import Dataset
from nn.data.store import Folder, find, refuse_other_content
from rmad.extend import Array

__all__ = ["faces", "olivetti"]

SHAPE = (400, 64, 64)
PER_PERSON = 10
# the hash of the pixels is the same for the .npy and the .mat file
SHA256 = "a3f75007cc103363b61a63e06bec8ea4846407682ef6e7c9ae1eb9c1bd0e8a00"
SIDE = 25  # pixels of a picture of FACES
ANGLES = (-90.0, 90.0)
SCALES = (1.4, 1.8)


def olivetti(data_dir: Folder = None, *, split: str = "people") -> Dataset:
    """The Olivetti faces: ten pictures, 64×64, of each of forty people. x: (n, 4096) float32 in [0, 1], t: (n,) int64.

    t is the number of the person, 0 … 39. The file olivetti_faces.npy or olivettifaces.mat is found like those of
    `mnist`; neither is unpickled.

    Parameters
    ----------
    data_dir : str or Path, optional
        Folder with the files, or with a folder `olivetti` that holds them; they must be there.
    split : {"people", "pictures"}, default "people"
        Test cases: the last ten people, or the last two pictures of each person.

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
    Samaria & Harter (1994), AT&T Laboratories Cambridge; the 64×64 version is S. Roweis's.
    """
    x = _pictures(data_dir).reshape(SHAPE[0], -1).astype(np.float32)
    x /= 255
    case = np.arange(SHAPE[0])
    if split == "people":
        train = case < 30 * PER_PERSON
    elif split == "pictures":
        train = case % PER_PERSON < 8
    else:
        raise ValueError(f"olivetti: split must be 'people' or 'pictures', not {split!r}")
    t = case // PER_PERSON
    return Dataset(x[train], t[train], x[~train], t[~train])


def faces(data_dir: Folder = None, *, pairs: int = 414, seed: int = 0) -> Dataset:
    """FACES: turned and scaled cuts of the Olivetti faces, 25×25. x: (n, 625) float32 in [0, 1], t: (n,) the person.

    Each of the 250 pictures of the first 25 people is turned by −90° to 90°, scaled by 1.4 to 1.8 and cut to 25×25
    pixels for each of its random pairs of rotation and scaling: 103,500 training images. The last ten people give the
    41,400 test images; people 25 to 29 are left for validation. The Olivetti file is found as by `olivetti`.

    Parameters
    ----------
    data_dir : str or Path, optional
        Folder with the files, or with a folder `olivetti` that holds them; they must be there.
    pairs : int, default 414
        Cuts of each picture; with fewer, each has the first ones of the same list.
    seed : int, default 0
        Seed of rotations and scalings.

    Returns
    -------
    Dataset

    References
    ----------
    Botev, Ritter & Barber (2017), section 5, after Hinton & Salakhutdinov (2006). Ours are the bilinear interpolation
    and the meaning of a scaling: the number of pixels of the picture between two of the cut, about the middle of the
    picture, so that 25 pixels at 1.8 just fit into it at every angle.
    """
    check_sizes("faces", "pairs", pairs)
    pictures = _pictures(data_dir)
    parts: list[Array] = []
    for people in (range(25), range(30, 40)):
        numbers = [PER_PERSON * p + k for p in people for k in range(PER_PERSON)]
        x = np.empty((len(numbers), pairs, SIDE * SIDE), np.float32)
        for k, number in enumerate(numbers):
            draws = np.random.default_rng([seed, number]).random((pairs, 2))  # a stream of its own for each picture
            x[k] = _cut(pictures[number], *draws.T)
        x /= 255
        parts += [x.reshape(-1, SIDE * SIDE), np.repeat(np.array(numbers) // PER_PERSON, pairs)]
    return Dataset(*parts)


def _cut(picture: Array, turn: Array, scale: Array) -> Array:
    """Returns (pairs, 625): the picture at a grid of points that is turned and scaled; turn, scale: (pairs,) in [0, 1).

    Rounded to 256 levels as the picture is, so that the numbers do not depend on the last bit of a cosine.
    """
    angle = np.deg2rad(ANGLES[0] + (ANGLES[1] - ANGLES[0]) * turn)[:, None]
    step = (SCALES[0] + (SCALES[1] - SCALES[0]) * scale)[:, None]
    offset = np.arange(SIDE) - (SIDE - 1) / 2
    down, right = (a.ravel() for a in np.meshgrid(offset, offset, indexing="ij"))
    middle = (SHAPE[1] - 1) / 2
    row = middle + step * (np.cos(angle) * down - np.sin(angle) * right)
    column = middle + step * (np.sin(angle) * down + np.cos(angle) * right)
    above, left = row.astype(np.intp), column.astype(np.intp)  # within the picture, so this is the floor
    row -= above
    column -= left
    corner, width = above * SHAPE[2] + left, SHAPE[2]
    pixels = picture.ravel().astype(float)
    upper = pixels[corner] * (1 - column) + pixels[corner + 1] * column
    lower = pixels[corner + width] * (1 - column) + pixels[corner + width + 1] * column
    return np.rint(upper * (1 - row) + lower * row)


def _pictures(data_dir: Folder) -> Array:
    """Returns (400, 64, 64) uint8, upright."""
    path = find("olivetti", "olivetti_faces.npy", "olivettifaces.mat", data_dir=data_dir)
    pictures = _read_npy(path) if path.suffix == ".npy" else _read_mat(path)
    refuse_other_content(path, pictures.tobytes(), SHA256, "the Olivetti faces")
    return pictures


def _read_npy(path: Path) -> Array:
    """Returns (400, 64, 64) uint8; ValueError for any other file."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")  # nothing is read before the header is known to be right
    except Exception as error:  # a damaged header is parsed as Python: ValueError, EOFError, TokenError, MemoryError
        raise ValueError(
            f"{path}: is no .npy file of numbers, or a damaged one (allow_pickle=False): {error}"
        ) from None
    return np.array(_expected(path, array, SHAPE))


def _read_mat(path: Path) -> Array:
    """Returns (400, 64, 64) uint8; ValueError for any other file."""
    from scipy.io import loadmat, whosmat  # here, because SciPy's readers are slow to import

    try:
        sizes = {name: math.prod(lengths) for name, lengths, _ in whosmat(path)}
        if sizes.get("faces", 0) > math.prod(SHAPE):  # before the numbers are read
            raise ValueError(f"`faces` has {sizes['faces']} numbers, more than all pictures")
        variables = loadmat(path, variable_names=["faces"])
    except Exception as error:  # a damaged file makes the reader raise ValueError, TypeError, zlib.error
        raise ValueError(f"{path}: is no MATLAB 5 file, or a damaged one: {error}") from None
    if "faces" not in variables:
        raise ValueError(f"{path}: has no variable `faces`")
    columns = _expected(path, variables["faces"], (SHAPE[1] * SHAPE[2], SHAPE[0]))
    # one picture a column, itself in MATLAB's order, column by column
    return np.ascontiguousarray(columns.T.reshape(SHAPE).transpose(0, 2, 1))


def _expected(path: Path, array: Array, shape: tuple[int, ...]) -> Array:
    """Returns the array; ValueError unless it holds bytes in this shape."""
    found = f"{getattr(array, 'dtype', type(array).__name__)}{list(np.shape(array))}"
    if found != f"uint8{list(shape)}":
        raise ValueError(f"{path}: holds {found}, expected uint8{list(shape)}")
    return array
