"""Solvers inside a differentiated function: SciPy or other code solves on plain values, the tape gets one node.

In reading order: systems (linear systems with a Jacobian, for many right-hand sides), implicit (roots, fixed points
and minima by the implicit function theorem).
"""
