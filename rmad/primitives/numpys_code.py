"""Functions whose rule is NumPy's own code: see `rmad.as_written.own_code`. Value and errors are NumPy's."""

from __future__ import annotations

import numpy as np

from rmad.as_written.own_code import own_code
from rmad.primitives.arguments import as_float_array, known
from rmad.rules import constant
from rmad.tracing.handlers import register
from rmad.tracing.traced import stop
from rmad.tracing.valued import composed, numpys
from rmad.types import Array

OWN = """
    corrcoef cov ediff1d geomspace histogram histogram2d histogramdd histogram_bin_edges intersect1d ix_ logspace poly
    polyadd polyder polyfit polyint polysub roots setdiff1d setxor1d sort_complex trim_zeros union1d
"""

EMATH = "arccos arcsin arctanh log log10 log2 logn power sqrt"

for _f in (*known(*OWN.split()), *known(*EMATH.split(), module=np.emath)):
    register(_f, numpys(_f, own_code(_f)))

INTEGERS = """
    array2string array_repr array_str diag_indices_from einsum_path tril_indices_from triu_indices_from
"""

for _f in known(*INTEGERS.split()):
    constant(_f)


@composed(np.polydiv)
def polydiv(u, v) -> tuple[Array, Array]:
    """NumPy's own code, which writes into a copy of u."""
    return own_code(np.polydiv)(as_float_array(u), as_float_array(v))


@composed(np.polymul)
def polymul(a1, a2) -> Array:
    """The convolution of the coefficients, without leading zeros: NumPy's own code goes by way of np.poly1d."""
    return np.convolve(_without_leading_zeros(np.atleast_1d(a1)), _without_leading_zeros(np.atleast_1d(a2)))


def _without_leading_zeros(a) -> Array:
    known = np.flatnonzero(stop(a))
    return a[known[0] :] if len(known) else a[:1]
