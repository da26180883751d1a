"""The functions of scipy.special for traced and plain arrays; SciPy looks here for them."""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.machine.special import sc
from rmad.primitives import polygamma as of_polygamma
from rmad.primitives.polygamma import polygamma
from rmad.primitives.scipy_special import logsumexp, multigammaln
from rmad.primitives.softmax import log_softmax, softmax

__all__ = ["log_softmax", "logsumexp", "multigammaln", "polygamma", "sinc", "softmax", "zeta"]

sinc = np.sinc


def zeta(x: Any, q: Any = None) -> Any:
    """Hurwitz' zeta function of x and q; Riemann's without q."""
    return of_polygamma.zeta(x, q) if q is not None else sc._ufuncs._riemann_zeta(x)


def __getattr__(name: str) -> Any:
    """The ufunc of that name."""
    if not name.startswith("_") and isinstance(f := getattr(sc, name), np.ufunc):
        return f
    raise AttributeError(f"module {__name__!r} has no function {name!r}")
