"""What the loaders return, and where their files are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Dataset", "cache_dir"]


class Dataset(NamedTuple):
    """Cases for training and for test.

    x: (n, 784) float32 in [0, 1], one image a row; t: labels (n,) int64, or of CURVES the points (n, 6) float32.
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
