"""Data sets: `curves` made on the spot, `mnist` and `fashion_mnist` from files."""

from nn.data.dataset import Dataset
from nn.data.idx import read_idx
from nn.data.store import fashion_mnist, mnist
from nn.data.strokes import curves

__all__ = ["Dataset", "curves", "fashion_mnist", "mnist", "read_idx"]
