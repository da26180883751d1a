"""Data sets, and minibatches of them.

    mnist, fashion_mnist, cifar10, boston, olivetti, faces, tiny_shakespeare    read from files
    curves, sine, tasks                                                         generated

A loader searches the folder that is passed to it. Without one it searches $RMAD_DATA, then the cache, and downloads
the files otherwise.
"""

from nn.data import tasks
from nn.data.cifar import cifar10
from nn.data.dataset import Dataset
from nn.data.housing import boston
from nn.data.idx import read_idx
from nn.data.images import fashion_mnist, mnist
from nn.data.minibatches import Batches, batches
from nn.data.portraits import faces, olivetti
from nn.data.strokes import curves
from nn.data.text import Text, tiny_shakespeare
from nn.data.waves import sine

__all__ = [
    "Batches",
    "Dataset",
    "Text",
    "batches",
    "boston",
    "cifar10",
    "curves",
    "faces",
    "fashion_mnist",
    "mnist",
    "olivetti",
    "read_idx",
    "sine",
    "tasks",
    "tiny_shakespeare",
]
