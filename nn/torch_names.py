"""PyTorch's names for things with another name here: the hint in the error for nn.CrossEntropyLoss."""

from __future__ import annotations

__all__ = ["advice"]

HERE = {
    "nn.SoftmaxCrossEntropy": ("CrossEntropyLoss", "NLLLoss"),
    "nn.SigmoidCrossEntropy, summed over outputs": ("BCEWithLogitsLoss", "BCELoss"),
    "nn.SquaredError, ½‖z − t‖²": ("MSELoss",),
    "nn.BatchNorm": ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
    "nn.Dropout": ("Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout"),
    "nn.Conv2d, on images of height 1": ("Conv1d",),
    "nn.GlobalAvgPool2d": ("AdaptiveAvgPool2d",),
    "nn.GlobalMaxPool2d": ("AdaptiveMaxPool2d",),
    "nn.MultiHeadAttention": ("MultiheadAttention",),
    "nn.TransformerBlock": ("TransformerEncoderLayer",),
    "nn.RNN": ("RNNCell",),
    "nn.LSTM": ("LSTMCell",),
    "nn.GRU": ("GRUCell",),
    "nn.functional.log_softmax": ("LogSoftmax",),
    "an array as an attribute of the module": ("Parameter", "ParameterList", "ParameterDict"),
    "a list of modules as an attribute": ("ModuleList",),
    "a dict of modules as an attribute": ("ModuleDict",),
}


def advice(name: str) -> str:
    """Names the replacement of torch.nn's `name`; "" if there is none."""
    return next((f"; here it is {ours}" for ours, theirs in HERE.items() if name in theirs), "")
