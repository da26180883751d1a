"""Solvers inside a differentiated function: SciPy or other code solves on plain values, the tape gets one node.

In reading order: closures (functions without the traced arrays that they close over), corrections (a solution on the
tape), systems (linear systems with a Jacobian, for many right-hand sides), implicit (roots, fixed points and minima);
runs (SciPy's solve_ivp, step by step), replay (its steps on the tape, one after the other), substitution (the
equations of all of them), columns (all of them in one call), lanes (arrays that make one call of code for one state),
steps (which of these, and in how many pieces), ivp (initial value problems); quadrature (integrals).
"""
