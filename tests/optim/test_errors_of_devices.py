"""Arrays of CuPy and PyTorch where those of NumPy belong, and the other way round: what the message says.

CuPy is acted by a subclass of ndarray whose own functions take no other array: no GPU is needed.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from first_hour import LOSS, Refuses, T, X

import nn
import optim
import rmad

ONES = np.ones(3)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)))


def grad_of(f: Callable[..., Any], x: Any = ONES) -> Callable[[], Any]:
    return lambda: rmad.grad(f)(x)


class Elsewhere(np.ndarray):
    """Stands for CuPy's array, whose own functions take no NumPy array."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if not all(isinstance(a, Elsewhere) or np.ndim(a) == 0 for a in inputs):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        plain = [np.asarray(a) for a in inputs]
        return np.asarray(getattr(ufunc, method)(*plain, **keywords)).view(Elsewhere)


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", types.SimpleNamespace(ndarray=Elsewhere))


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("method", [optim.Adam, optim.HessianFree, optim.KFAC, optim.CurveBall, optim.LBFGS])
def test_a_batch_on_the_gpu_and_a_model_that_is_not(refuses: Refuses, method: Any) -> None:
    opt, there = method(net(), LOSS), X.view(Elsewhere)
    message = r"is an array of CuPy, the model has arrays of NumPy: pass cupy.asnumpy\("
    refuses(lambda: opt.step(there, T), TypeError, rf"^x {message}x\)$")
    refuses(lambda: opt.step(X, T.view(Elsewhere)), TypeError, rf"^t {message}t\)$")


@pytest.mark.usefixtures("cupy")
def test_a_batch_that_is_not_on_the_gpu(refuses: Refuses) -> None:
    model = optim.Function(lambda w, x: x * w, np.ones(3).view(Elsewhere))
    message = r"^x is an array of NumPy, the model has arrays of CuPy: pass cupy.asarray\(x\)$"
    refuses(lambda: optim.Objective(model, LOSS).value(X, T), TypeError, message)


@pytest.mark.usefixtures("cupy")
def test_constants_that_are_not_on_the_gpu(refuses: Refuses) -> None:
    message = r"^multiply of arrays of NumPy and of CuPy; cupy.asarray\(a\) is the array a on the GPU$"
    refuses(grad_of(lambda x: x * ONES, ONES.view(Elsewhere)), TypeError, message)


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
