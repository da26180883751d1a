"""The machine that rmad runs on: arrays of NumPy or CuPy, the BLAS kernel, freed memory.

In reading order: turns (locks, and what is computed once), backend (which library an array belongs to),
special (the ufuncs of scipy.special), fused (kernels of a GPU that save launches), products (cuBLAS's, bound to their
arrays), arrays (new ones of the kind of another), config (the choice of the BLAS kernel, `show_config`), memory (freed
pages stay with the process).
"""
