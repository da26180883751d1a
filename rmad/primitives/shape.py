"""Rearrangements of one array."""

import numpy as np

from rmad.rules import linear

reshape = linear(np.reshape, lambda u, x, shape, order="C": np.reshape(u, x.shape, order=order))
swapaxes = linear(np.swapaxes, lambda u, x, a, b: np.swapaxes(u, a, b))
broadcast_to = linear(np.broadcast_to, lambda u, x, shape: u)
expand_dims = linear(np.expand_dims, lambda u, x, axis: np.reshape(u, x.shape))
