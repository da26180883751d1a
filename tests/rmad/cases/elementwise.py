"""Rows of the table: elementwise functions."""

from __future__ import annotations

import numpy as np

from cases import Case, any_shape

CASES: list[Case] = [
    Case("tanh", np.tanh, args=[any_shape()], complex=True, covers=[np.tanh]),
    Case("add", np.add, args=[any_shape(), any_shape()], complex=True, covers=[np.add]),
    Case("divide", np.divide, args=[any_shape(), any_shape(0.5, 2)], complex=True, covers=[np.divide]),
]
