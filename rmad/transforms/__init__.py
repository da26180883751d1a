"""The transforms of a function: linearize, jvp, vjp, grad, hvp, and dense Jacobians and Hessians.

In reading order: argnums (which arguments are differentiated), linearization (products with one Jacobian), transforms,
points (a Jacobian per point), unit_vectors (stacks of them), dense.
"""
