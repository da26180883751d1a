"""What the loaders return, and where their files are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Dataset", "cache_dir"]


class Dataset(NamedTuple):
    """Cases for training and for test.

    x: float32, along the first axis the cases: (n, 784) in [0, 1] for grey images, one a row, (n, h, w, c) for
    coloured ones, (n, i) for numbers. t: labels (n,) int64, or float32 (n, o) where there is something to regress on.
    """

    x_train: Any
    t_train: Any
    x_test: Any
    t_test: Any


def cache_dir() -> Path:
    """$RMAD_CACHE, or the folder `rmad` where this system keeps caches. It need not exist."""
    if given := os.environ.get("RMAD_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "rmad"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "rmad"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rmad"
