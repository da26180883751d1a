"""Loops for numba, imported by rmad.kernels.loader on first use.

In reading order: convolution (which imports numba), depthwise, maths (exp and similar functions), cells.
"""
