"""Tensors and modules of PyTorch where arrays and modules of ours belong: what the message says.

Arrays of CuPy among NumPy's are in tests/device.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from first_hour import LOSS, Refuses

import nn
import optim
import rmad

ONES = np.ones(3)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)))


def grad_of(f: Callable[..., Any], x: Any = ONES) -> Callable[[], Any]:
    return lambda: rmad.grad(f)(x)


def test_a_tensor_of_pytorch(refuses: Refuses) -> None:
    torch = pytest.importorskip("torch")
    refuses(grad_of(np.sum, torch.ones(3)), TypeError, r"x is of type torch.Tensor.*pass x.numpy\(\)")


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # PyTorch's
def test_a_tensor_of_pytorch_inside(refuses: Refuses) -> None:
    torch = pytest.importorskip("torch")
    message = "multiply of a traced array and a tensor of PyTorch; pass the tensor's .numpy()"
    refuses(grad_of(lambda x: np.sum(x * torch.ones(3))), TypeError, message)
    refuses(grad_of(lambda x: np.sum(torch.ones(3) * x)), TypeError, message)
    message = "{} of a traced array and a tensor of PyTorch; pass the tensor's .numpy()"
    refuses(grad_of(lambda x: np.sum(x + torch.ones(3))), TypeError, message.format("add"))
    refuses(grad_of(lambda x: np.dot(x, torch.ones(3))), TypeError, message.format("dot"))


def test_model_and_loss_of_pytorch(refuses: Refuses) -> None:
    torch = pytest.importorskip("torch")
    refuses(lambda: optim.Adam(torch.nn.Linear(4, 3), LOSS), TypeError, "model is PyTorch's Linear; a model of nn")
    refuses(lambda: optim.Adam(net(), torch.nn.MSELoss()), TypeError, "loss is PyTorch's MSELoss; a loss of nn")
