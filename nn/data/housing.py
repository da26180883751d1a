"""Boston housing: 506 rows of a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from nn.data.dataset import Dataset
from nn.data.store import Folder, find, read_up_to, refuse_other_content
from rmad.extend import Array

__all__ = ["boston"]

COLUMNS = ["crim", "zn", "indus", "chas", "nox", "rm", "age", "dis", "rad", "tax", "ptratio", "b", "lstat", "medv"]
ROWS = 506
SIZE = 1 << 20  # bytes that are read at most, many times those of the file
N_TRAIN = 404
# the hash of the numbers does not depend on quotes and ends of lines
SHA256 = "832e894115c56dd24ec63848d4a3d9bd921d268d0be1bee2a8f4ee5ea318f5f7"


def boston(data_dir: Folder = None, *, scaled: bool = True, seed: int = 113) -> Dataset:
    """Boston housing: 404 + 102 districts, 13 features. x: (n, 13), t: (n, 1) the median price in $1000; float32.

    The file housing.csv is found like those of `mnist`. The column b is a transformed share of Black residents: this
    is a numerical benchmark only.

    Parameters
    ----------
    data_dir : str or Path, optional
        Folder with the files, or with a folder `boston` that holds them; they must be there.
    scaled : bool, default True
        Whether x is divided by its largest number (711) and t by its own (50), as in SGN's benchmark.
    seed : int, default 113
        Seed of the shuffle before the split; 113 gives Keras's split.

    Returns
    -------
    Dataset

    Raises
    ------
    ValueError
        Names the file, and the row and the column that are wrong.
    FileNotFoundError
        Names the places that were searched.

    References
    ----------
    Harrison & Rubinfeld (1978); Gargiani et al. (2020), section 4.1.
    """
    rows = _read(find("boston", "housing.csv", data_dir=data_dir))
    x, t = rows[:, :-1], rows[:, -1:]
    if scaled:
        x, t = x / x.max(), t / t.max()
    order = np.arange(ROWS)
    np.random.RandomState(seed).shuffle(order)  # the old generator, because Keras's split comes from it
    train, test = order[:N_TRAIN], order[N_TRAIN:]
    parts = (x[train], t[train], x[test], t[test])
    return Dataset(*(part.astype(np.float32) for part in parts))


def _read(path: Path) -> Array:
    """Returns (506, 14) float64; ValueError for any other file."""
    lines = _lines(path)
    numbers = np.empty((len(lines), len(COLUMNS)))
    for k, line in enumerate(lines):
        if len(line) != len(COLUMNS):
            raise ValueError(f"{path}: row {k + 1} has {len(line)} fields, expected {len(COLUMNS)}")
        for j, field in enumerate(line):
            try:
                numbers[k, j] = float(field)
            except ValueError:
                raise ValueError(f"{path}: row {k + 1} has {COLUMNS[j]} {field!r}, expected a number") from None
    if len(lines) != ROWS:
        raise ValueError(f"{path}: holds {len(lines)} rows, expected {ROWS}")
    refuse_other_content(path, numbers.astype("<f8").tobytes(), SHA256, "Boston housing")
    return numbers


def _lines(path: Path) -> list[list[str]]:
    """Returns the fields of all rows under the right header."""
    try:
        with path.open("rb") as file:
            text = read_up_to(file, SIZE).decode("ascii")
        header, *lines = csv.reader(text.splitlines(), strict=True)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is no text file (byte {error.start} is {error.object[error.start]:#04x})") from None
    except csv.Error as error:
        raise ValueError(f"{path}: is no CSV file, or a damaged one: {error}") from None
    except ValueError:
        raise ValueError(f"{path}: is empty") from None
    if [name.strip().lower() for name in header] != COLUMNS:
        raise ValueError(f"{path}: its columns are {', '.join(header)[:200]}; expected {', '.join(COLUMNS)}")
    return lines
