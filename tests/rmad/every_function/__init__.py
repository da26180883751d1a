"""A sweep over the public functions of NumPy: ten forms of a call each, and what rmad does with them.

`python -m every_function`, in tests/rmad, writes docs/numpy_functions.md.
"""
