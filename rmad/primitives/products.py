"""Products of two arrays: y bilinear in A and B."""

import numpy as np

from rmad.rules import bilinear


def mT(x):
    return np.swapaxes(x, -1, -2)


matmul = bilinear(np.matmul, lambda u, A, B: u @ mT(B), lambda u, A, B: mT(A) @ u)
