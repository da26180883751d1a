"""Names that JAX and autograd use, and ours: the error for rmad.jacfwd names the one to use here."""

from __future__ import annotations

__all__ = ["advice"]

HERE = {
    "rmad.jacobian": ("jacfwd", "jacrev"),
    "rmad.hvp, or rmad.HessianOperator(f, x) for several products": ("hessian_vector_product", "make_hvp"),
    "rmad.grad of the sum": ("elementwise_grad", "egrad"),
    "rmad.jvp": ("make_jvp",),
    "rmad.vjp": ("make_vjp",),
    "lin.JTu of y, lin = rmad.linearize(f, x)": ("linear_transpose",),
    "rmad.ravel": ("ravel_pytree", "flatten"),
    "rmad.primitive, which takes both directions": ("custom_jvp", "custom_vjp", "defjvp", "defvjp"),
    "rmad.checkpoint": ("remat",),
    "NumPy itself, import numpy as np": ("numpy", "np"),
    "SciPy itself, import scipy": ("scipy",),
    "left out: f runs as it is written": ("jit", "make_jaxpr"),
    "an axis of the arrays": ("vmap", "pmap"),
}


def advice(name: str) -> str:
    """Advice on what to write instead of `name`; empty if there is none."""
    return next((f"; here it is {ours}" for ours, theirs in HERE.items() if name in theirs), "")
