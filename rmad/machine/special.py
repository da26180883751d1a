"""The ufuncs of scipy.special under their names, even if SciPy hides them.

With SCIPY_ARRAY_API=1 most names in scipy.special are Python functions around the ufuncs. Rules are those of the
ufuncs, and so is the code of rmad.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["sc", "ufunc_of"]


def ufunc_of(f: Any) -> Any:
    """The ufunc that a function of scipy.special wraps; f itself if it wraps none."""
    held = getattr(f, "__wrapped__", None)
    return held if isinstance(held, np.ufunc) else f


class _Special(ModuleType):
    """scipy.special, imported on first use, because that takes longer than importing rmad."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        from scipy import special

        f = ufunc_of(getattr(special, name))
        setattr(self, name, f)
        return f


sc: Any = _Special("scipy.special")
