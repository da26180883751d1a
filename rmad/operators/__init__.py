"""Jacobian, Hessian and Gauss-Newton matrices as SciPy's LinearOperators, and linear maps that code may call.

In reading order: linear_operator (through which derivatives pass), linear_maps, operators.
"""
