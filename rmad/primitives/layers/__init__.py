"""Primitives of neural networks that NumPy and SciPy do not have: one file per kind, used by nn.

In reading order: symmetric (blocks with J = Jᵀ) and selection (one element of each window); then, in any order, affine,
conv, normal, normalize, pool.
"""
