"""Parts that several methods share, each exchangeable: how a direction is found, damped, chosen and scaled.

In reading order: trust_region, passes (over the vectors of CG), device_run (the same on a GPU), cg, linesearch,
selection (which iterate of CG is taken); pictures (of matrices, in a notebook); factors (A ⊗ G), fallback (to other
preconditioners), kronecker, columns (of a square root of L″), estimate (of the factors), running (averages of them),
preconditioner, damping, structural, local_model, rescaling; directions, krylov; roles (which cases serve for what),
automatic (what HessianFree decides for itself).
"""
