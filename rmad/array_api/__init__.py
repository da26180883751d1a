"""The array API standard, version 2024.12, for traced and for plain arrays: `x.__array_namespace__()` is this module.

The names are NumPy's functions, which take traced arrays as they are. Functions that make arrays make those into which
a function may write traced numbers while it is recorded. `differences` has what NumPy has in another form, and
`special` the functions of scipy.special.

    xp = x.__array_namespace__()        x: a traced array
    xp.asarray([x[0], 2.0])             lists of traced numbers become traced arrays
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.array_api import differences
from rmad.array_api import special as special
from rmad.array_api.names import CONSTANTS, DTYPES, FFT, FUNCTIONS, LINALG, extension, function

__array_api_version__ = "2024.12"
__array_namespace_info__ = differences.information

__all__ = sorted({*CONSTANTS, *DTYPES, *FUNCTIONS, "fft", "linalg", "special"})

fft: Any = extension(f"{__name__}.fft", np.fft, FFT, differences.OF_FFT)
linalg: Any = extension(f"{__name__}.linalg", np.linalg, LINALG, {})

globals().update({name: getattr(np, name) for name in (*CONSTANTS, *DTYPES)})
globals().update({name: differences.OWN.get(name) or function(np, name) for name in FUNCTIONS})


def __dir__() -> list[str]:
    return [*__all__, "__array_api_version__", "__array_namespace_info__"]
