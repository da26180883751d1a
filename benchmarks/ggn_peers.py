"""PyTorch and JAX on the problems of ggn_product.py: the cached Gauss-Newton product, the gradient, the outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ggn_problems import CLASSES, CONVOLUTIONS, HIDDEN, INPUTS, OUTPUTS, SIZES, N, T, images, layer_sizes, median_ms


def run_torch(problem: str, channels_last: bool = False) -> dict[str, float]:
    import warnings

    import torch
    from torch import nn as tnn
    from torch.func import functional_call, grad, linearize, vjp

    warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node")  # a warning of linearize, on every use

    torch.manual_seed(0)
    if problem == "mlp":
        layers: list[Any] = []
        for k, (i, o) in enumerate(layer_sizes()):
            layers += [tnn.Linear(i, o), tnn.Sigmoid()] if k not in (5, 11) else [tnn.Linear(i, o)]
        model: Any = tnn.Sequential(*layers)
        x = torch.rand(N, SIZES[0])
    elif problem.startswith("cifar"):
        layers = []
        for size, i, o in CONVOLUTIONS:
            layers += [tnn.Conv2d(i, o, 3, padding=1), tnn.ReLU(), *([tnn.MaxPool2d(2)] if size > 8 else [])]
        model = tnn.Sequential(*layers, tnn.Flatten(), tnn.Linear(4096, 64), tnn.ReLU(), tnn.Linear(64, CLASSES))
        x = torch.rand(images(problem), 3, 32, 32)
        if channels_last:
            model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    else:

        class Net(tnn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.U, self.W, self.V = (
                    tnn.Linear(INPUTS, HIDDEN),
                    tnn.Linear(HIDDEN, HIDDEN, bias=False),
                    tnn.Linear(HIDDEN, OUTPUTS),
                )

            def forward(self, x: Any) -> Any:
                h = torch.zeros(len(x), HIDDEN)
                for t in range(x.shape[1]):
                    h = torch.tanh(self.U(x[:, t]) + self.W(h))
                return self.V(h)

        model, x = Net(), torch.rand(N, T, INPUTS)
    params = {k: p.detach() for k, p in model.named_parameters()}
    n = len(x)
    target = x if problem == "mlp" else torch.rand(N, OUTPUTS)
    labels = torch.randint(0, CLASSES, (n,))

    def forward(p: Any) -> Any:
        return functional_call(model, p, (x,))

    def value(p: Any) -> Any:
        z = forward(p)
        if problem == "mlp":
            return tnn.functional.binary_cross_entropy_with_logits(z, target, reduction="sum") / N
        if problem.startswith("cifar"):
            return tnn.functional.cross_entropy(z, labels)
        return 0.5 * ((z - target) ** 2).sum() / N

    z, jvp = linearize(forward, params)
    pull = vjp(forward, params)[1]
    s = torch.sigmoid(z) if problem == "mlp" else torch.softmax(z, 1)

    def curvature(v: Any) -> Any:
        if problem == "mlp":
            return s * (1 - s) / n * v
        return s / n * (v - (s * v).sum(1, keepdim=True)) if problem.startswith("cifar") else v / n

    v = {k: torch.randn_like(p) for k, p in params.items()}
    gradient = grad(value)
    name = "torch, channels last" if channels_last else "torch"
    with torch.no_grad():
        forward_ms = median_ms(lambda: forward(params))
    return {
        name: median_ms(lambda: pull(curvature(jvp(v)))),
        f"{name}, gradient": median_ms(lambda: gradient(params)),
        f"{name}, value": forward_ms,
    }


def run_channels_last(problem: str) -> dict[str, float]:
    return run_torch(problem, True)


def jax_problem(problem: str, key: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
    """Returns parameters, x, and the outputs as a function of the parameters."""
    import jax
    import jax.numpy as jnp

    if problem == "mlp":
        params: Any = [(0.05 * jax.random.normal(key, (i, o)), jnp.zeros(o)) for i, o in layer_sizes()]
        x = jax.random.uniform(key, (N, SIZES[0]))

        def forward(p: Any) -> Any:
            y = x
            for k, (W, b) in enumerate(p):
                y = y @ W + b
                if k not in (5, 11):
                    y = jax.nn.sigmoid(y)
            return y
    elif problem.startswith("cifar"):
        shapes = {f"W{k}": (3, 3, i, o) for k, (_, i, o) in enumerate(CONVOLUTIONS)}
        shapes |= {f"b{k}": (o,) for k, (_, _, o) in enumerate(CONVOLUTIONS)}
        shapes |= {"V": (4096, 64), "c": (64,), "U": (64, CLASSES), "d": (CLASSES,)}
        params = {k: 0.05 * jax.random.normal(key, shape) for k, shape in shapes.items()}
        x = jax.random.uniform(key, (images(problem), 32, 32, 3))

        def forward(p: Any) -> Any:
            y = x
            for k, (size, _, _) in enumerate(CONVOLUTIONS):
                axes = ("NHWC", "HWIO", "NHWC")
                y = jax.nn.relu(
                    jax.lax.conv_general_dilated(y, p[f"W{k}"], (1, 1), "SAME", dimension_numbers=axes) + p[f"b{k}"]
                )
                if size > 8:
                    y = jnp.max(jnp.reshape(y, (len(y), size // 2, 2, size // 2, 2, -1)), (2, 4))
            return jax.nn.relu(y.reshape(len(y), -1) @ p["V"] + p["c"]) @ p["U"] + p["d"]
    else:
        shapes = {"U": (INPUTS, HIDDEN), "W": (HIDDEN, HIDDEN), "b": (HIDDEN,), "V": (HIDDEN, OUTPUTS), "c": (OUTPUTS,)}
        params = {k: 0.1 * jax.random.normal(key, shape) for k, shape in shapes.items()}
        x = jax.random.normal(key, (T, N, INPUTS))

        def forward(p: Any) -> Any:
            def cell(h: Any, x_t: Any) -> Any:
                return jnp.tanh(x_t @ p["U"] + h @ p["W"] + p["b"]), None

            h, _ = jax.lax.scan(cell, jnp.zeros((N, HIDDEN)), x)
            return h @ p["V"] + p["c"]

    return params, x, forward


def run_jax(problem: str) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    key = jax.random.key(0)
    params, x, forward = jax_problem(problem, key)
    n = len(x) if problem != "rnn" else N
    target = x if problem == "mlp" else jax.random.normal(key, (N, OUTPUTS))
    labels = jax.random.randint(key, (n,), 0, CLASSES)

    def value(p: Any) -> Any:
        z = forward(p)
        if problem == "mlp":
            return jnp.sum(jax.nn.softplus(z) - z * target) / N
        if problem.startswith("cifar"):
            return -jnp.sum(jax.nn.log_softmax(z)[jnp.arange(n), labels]) / n
        return 0.5 * jnp.sum((z - target) ** 2) / N

    z, jvp = jax.linearize(forward, params)
    pull = jax.linear_transpose(jvp, params)
    s = jax.nn.sigmoid(z) if problem == "mlp" else jax.nn.softmax(z)

    def curvature(v: Any) -> Any:
        if problem == "mlp":
            return s * (1 - s) / n * v
        return s / n * (v - jnp.sum(s * v, 1, keepdims=True)) if problem.startswith("cifar") else v / n

    product = jax.jit(lambda v: pull(curvature(jvp(v)))[0])
    gradient, run = jax.jit(jax.grad(value)), jax.jit(forward)
    return {
        "jax": median_ms(lambda: jax.block_until_ready(product(params))),
        "jax, gradient": median_ms(lambda: jax.block_until_ready(gradient(params))),
        "jax, value": median_ms(lambda: jax.block_until_ready(run(params))),
    }
