"""The result of a loader, and the folder of its files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from rmad.extend import Array

__all__ = ["Dataset", "cache_dir"]


class Dataset(NamedTuple):
    """Cases for training and for test.

    x: float32, cases along the first axis: (n, 784) in [0, 1] for grey images, one per row, (n, h, w, c) for
    coloured ones, (n, i) for numbers. t: labels (n,) int64, or float32 (n, o) for regression.

    Attributes
    ----------
    x_train : array
        Inputs for training.
    t_train : array
        Their targets.
    x_test : array
        Inputs for test.
    t_test : array
        Their targets.
    """

    x_train: Array
    t_train: Array
    x_test: Array
    t_test: Array


def cache_dir() -> Path:
    """Returns $RMAD_CACHE, or the folder `rmad` among the system's caches. It need not exist."""
    if given := os.environ.get("RMAD_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "rmad"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rmad"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rmad"
