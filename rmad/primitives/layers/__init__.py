"""Primitives of neural networks that NumPy and SciPy do not have: one file per kind, used by nn.

In reading order: symmetric (blocks with J = Jᵀ), selection (one element of each window) and images (blocks that work
image by image); then, in any order, affine, conv, normal, normalize, pool.
"""
