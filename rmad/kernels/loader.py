"""Access to the compiled loops: numba (the extra `fast`) is loaded when the first work is large enough for it."""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from typing import Any

__all__ = ["loops"]


@cache
def loops(module: str) -> Any:
    """The module rmad.kernels.compiled.<module>; None when numba is not installed."""
    if importlib.util.find_spec("numba") is None:
        return None
    return importlib.import_module(f"rmad.kernels.compiled.{module}")
