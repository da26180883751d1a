"""The rules: every NumPy and SciPy function that rmad differentiates, one file per kind.

`special` holds SciPy's functions and is loaded when the first of them meets a traced array.
"""

from rmad.primitives import elementwise, index, products, reduce, shape

__all__ = ["elementwise", "index", "products", "reduce", "shape"]
