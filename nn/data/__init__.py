"""Data sets: from files `mnist`, `fashion_mnist`, `cifar10`, `boston`, `olivetti`, `faces` and `tiny_shakespeare`, made
on the spot `curves` and `sine`; `batches` of them; and `tasks`, sequences for recurrent nets.

Each loader of files looks into the folder it is given, else into $RMAD_DATA, the cache, and at last the net.
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
