"""rmad: exact derivatives of plain NumPy code, in both directions, over one recorded tape."""

from rmad import primitives  # noqa: F401
from rmad.rules import bilinear, constant, elementwise, linear, primitive
from rmad.transforms import (
    checkpoint,
    grad,
    hvp,
    jvp,
    linearize,
    stop_gradient,
    value_and_grad,
    vjp,
)
from rmad.tree import ravel
