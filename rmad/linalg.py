"""Linear algebra of SciPy that NumPy lacks: scipy.linalg's names and arguments, for plain and traced arrays.

NumPy's protocols do not reach scipy.linalg. What NumPy has too (solve, inv, det, cholesky, eigh, svd, qr, …) is called
by its name in numpy.linalg.
"""

from rmad.primitives.built_matrices import block_diag, null_space, toeplitz
from rmad.primitives.lu import lu_factor, lu_solve
from rmad.primitives.matrix_functions import expm, logm, solve_sylvester, sqrtm
from rmad.primitives.scipy_linalg import cho_factor, cho_solve, solve_triangular

__all__ = [
    "block_diag",
    "cho_factor",
    "cho_solve",
    "expm",
    "logm",
    "lu_factor",
    "lu_solve",
    "null_space",
    "solve_sylvester",
    "solve_triangular",
    "sqrtm",
    "toeplitz",
]
