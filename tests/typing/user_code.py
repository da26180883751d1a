"""Typical user code, which type checkers read: derivatives have the type of the differentiated argument."""

from __future__ import annotations

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import eigsh

import nn
import optim
import rmad

Vector = NDArray[np.float64]
x: Vector = np.linspace(-1.0, 1.0, 5)
rng = np.random.default_rng(0)


# derivatives of a function of an array, and of a dict with a further argument
def energy(x: Vector) -> np.float64:
    return np.sum(np.tanh(x) ** 2)


def loss(p: dict[str, Vector], data: Vector) -> np.float64:
    return np.sum((data * p["scale"] + p["shift"]) ** 2)


p: dict[str, Vector] = {"scale": np.ones(5), "shift": np.zeros(5)}
assert_type(rmad.grad(energy)(x), Vector)
assert_type(rmad.grad(loss)(p, x), dict[str, Vector])
value, gradient = rmad.value_and_grad(loss)(p, data=x)
assert_type(gradient, dict[str, Vector])
assert_type(rmad.hvp(energy, x, x), Vector)
slope: float = rmad.grad(lambda s: s**3)(2.0)

# one linearization, many products
y, lin = rmad.linearize(np.tanh, x)
Jv, JTu = lin.Jv(np.ones(5)), lin.JTu(y)
scalar, pull = rmad.vjp(energy, x)
assert_type(pull(1.0), Vector)
assert_type(rmad.jvp(energy, x, x)[1], np.float64)
flat, unravel = rmad.ravel(p)
assert_type(unravel(flat), dict[str, Vector])
rmad.check_grads(loss, p, x, order=1, modes=("fwd",))

# operators for SciPy's solvers
H = rmad.HessianOperator(energy, x)
largest = eigsh(H, k=2, return_eigenvectors=False)
G = rmad.GGNOperator(lambda x: np.tanh(x), lambda z: np.sum(z**2), x)
norm = float(np.linalg.norm(H.gradient) + np.linalg.norm(G.matvec(x)) + np.linalg.norm(largest))

# a primitive of one's own
cube = rmad.elementwise(lambda x: x**3, lambda y, x: 3 * x**2, name="cube")


@rmad.primitive(lambda x: np.sort(x), name="my_sort")
def my_sort(y: Any, x: Any) -> Any:
    order = np.argsort(x)
    back = np.argsort(order)
    return ((lambda v: v[order], lambda u: u[back]),)


bends = rmad.grad(lambda x: np.sum(cube(my_sort(x)) * rmad.stop_gradient(x)))(x)


# a layer of one's own, a model and a training step
class Scale(nn.Module):
    def __init__(self, features: int) -> None:
        self.weight = np.ones(features, dtype=np.float32)

    def __call__(self, x: Any) -> Any:
        return x * self.weight


model = nn.Sequential(nn.Linear(4, 8, rng=rng), nn.Tanh(), Scale(8), nn.Linear(8, 3, rng=rng))
images = rng.standard_normal((16, 4)).astype(np.float32)
labels = rng.integers(0, 3, 16)
objective = optim.HessianFree(model, nn.SoftmaxCrossEntropy(), damping=1.0, cg_iterations=5)
history: optim.History = objective.fit(images, labels, epochs=1, validation=0.25, on_record=lambda h: None)
losses, reached = history["validation_loss"], history.best
info = objective.step(images, labels)
report = f"loss {info.loss:.3f}, damping {info.damping:.3g}, {info.cg_iterations} steps of CG"
curvature = optim.Objective(model, nn.SoftmaxCrossEntropy()).quadratic(images, labels).ggn
top = eigsh(curvature, k=1, return_eigenvectors=False)


# a function of any model and any loss
def start_of(model: optim.Model, loss: optim.Loss) -> float:
    return optim.Objective(model, loss, l2=1e-4).value(images, labels)


values = [start_of(model, nn.SoftmaxCrossEntropy()), start_of(model, lambda z, t: np.sum((z - 1) ** 2) / len(z))]
values.append(start_of(optim.Through(model, np.tanh), optim.ClippedCurvature(nn.SoftmaxCrossEntropy())))
