"""Linear functions of images (n, h, w, c), image by image: k stacked vectors are k n images."""

from __future__ import annotations

import numpy as np

from rmad.tapes.blocks import Linear
from rmad.tapes.tape import ArraySpec
from rmad.types import Array

__all__ = ["OfImages"]


class OfImages(Linear):
    """A block of such a function; its first argument are the images."""

    def of_stack(self, V: Array) -> Array | None:
        if self.argnum:
            return None
        y = self.primitive(_merged(V), *self.args[1:], **self.kwargs)
        return np.reshape(y, (len(V), *self.y.shape))

    def transpose_of_stack(self, U: Array) -> Array | None:
        if self.argnum:
            return None
        x = ArraySpec((len(U) * self.x.shape[0], *self.x.shape[1:]), self.x.dtype)
        return np.reshape(self.transpose(_merged(U), x, *self.args[1:], **self.kwargs), (len(U), *self.x.shape))


def _merged(V: Array) -> Array:
    return np.reshape(V, (-1, *V.shape[2:]))
