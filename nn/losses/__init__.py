"""The three losses of classification and regression, each with its curvature in closed form.

SoftmaxCrossEntropy   one of k classes
SigmoidCrossEntropy   independent bits, or numbers in [0, 1]
SquaredError          ½‖z − t‖²
"""

from nn.losses.base import BoundLoss, Curvature, DiagonalCurvature, Loss
from nn.losses.sigmoid import SigmoidCrossEntropy
from nn.losses.softmax import SoftmaxCrossEntropy, SoftmaxCurvature
from nn.losses.squared import SquaredError

__all__ = [
    "BoundLoss",
    "Curvature",
    "DiagonalCurvature",
    "Loss",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "SoftmaxCurvature",
    "SquaredError",
]
