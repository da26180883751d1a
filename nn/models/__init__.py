"""Networks of the papers, by name. Each is a function of sizes, an rng and a dtype, and returns a Module.

The docstrings state the choices that a paper leaves open (padding, biases, first weights).
"""

from nn.models.autoencoders import CURVES, FACES, MNIST, autoencoder
from nn.models.convnets import curveball_cifar, sgn_cifar, sgn_fashion
from nn.models.mlps import curveball_mnist, mlp, sgn_boston, sgn_mnist, sgn_sine
from nn.models.recurrent import rnn
from nn.models.resnet import resnet18
from nn.models.vgg import vgg_f

__all__ = [
    "CURVES",
    "FACES",
    "MNIST",
    "autoencoder",
    "curveball_cifar",
    "curveball_mnist",
    "mlp",
    "resnet18",
    "rnn",
    "sgn_boston",
    "sgn_cifar",
    "sgn_fashion",
    "sgn_mnist",
    "sgn_sine",
    "vgg_f",
]
