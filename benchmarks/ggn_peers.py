"""PyTorch and JAX on the problems of ggn_product.py and gpu.py: the cached Gauss-Newton product, gradient, outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ggn_problems import CLASSES, Problem, median_ms


def run_torch(p: Problem, channels_last: bool = False, device: str = "cpu", steps: bool = False) -> dict[str, float]:
    """steps: also of PyTorch's own optimizers."""
    import warnings

    import torch
    from torch import nn as tnn
    from torch.func import functional_call, grad, linearize, vjp

    warnings.filterwarnings("ignore", "Attempted to insert a get_attr Node")  # a warning of linearize, on every use

    torch.manual_seed(0)
    torch.set_default_device(device)
    model, x = torch_problem(p)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    params = {k: w.detach() for k, w in model.named_parameters()}
    n = len(x)
    target = x if p.kind == "mlp" else torch.rand(n, p.outputs)
    labels = torch.randint(0, CLASSES, (n,))

    def forward(q: Any) -> Any:
        return functional_call(model, q, (x,))

    def value(q: Any) -> Any:
        z = forward(q)
        if p.kind == "mlp":
            return tnn.functional.binary_cross_entropy_with_logits(z, target, reduction="sum") / n
        if p.kind == "cifar":
            return tnn.functional.cross_entropy(z, labels)
        return 0.5 * ((z - target) ** 2).sum() / n

    z, jvp = linearize(forward, params)
    pull = vjp(forward, params)[1]
    s = torch.sigmoid(z) if p.kind == "mlp" else torch.softmax(z, 1)

    def curvature(v: Any) -> Any:
        if p.kind == "mlp":
            return s * (1 - s) / n * v
        return s / n * (v - (s * v).sum(1, keepdim=True)) if p.kind == "cifar" else v / n

    def ms(call: Callable[[], Any]) -> float:
        return median_ms(call, wait=torch.cuda.synchronize if device == "cuda" else lambda: None)

    v = {k: torch.randn_like(w) for k, w in params.items()}
    gradient = grad(value)
    name = "torch, channels last" if channels_last else "torch"
    with torch.no_grad():
        forward_ms = ms(lambda: forward(params))
    found = {
        name: ms(lambda: pull(curvature(jvp(v)))),
        f"{name}, gradient": ms(lambda: gradient(params)),
        f"{name}, value": forward_ms,
    }
    for kind in (torch.optim.SGD, torch.optim.Adam) if steps else ():
        step = _torch_step(kind(model.parameters(), lr=1e-6), lambda: value(dict(model.named_parameters())))
        found[f"{name}, step of {kind.__name__}"] = ms(step)
    return found


def _torch_step(optimizer: Any, value: Callable[[], Any]) -> Callable[[], None]:
    def step() -> None:
        optimizer.zero_grad()
        value().backward()
        optimizer.step()

    return step


def torch_problem(p: Problem) -> tuple[Any, Any]:
    """Returns the model and x."""
    import torch
    from torch import nn as tnn

    if p.kind == "mlp":
        layers: list[Any] = []
        for k, (i, o) in enumerate(p.layers):
            layers += [tnn.Linear(i, o)] if k in p.linear else [tnn.Linear(i, o), tnn.Sigmoid()]
        return tnn.Sequential(*layers), torch.rand(p.n, p.sizes[0])
    if p.kind == "cifar":
        layers = []
        for k, (_, i, o) in enumerate(p.convolutions):
            layers += [tnn.Conv2d(i, o, 3, padding=1), tnn.ReLU(), *([tnn.MaxPool2d(2)] if p.pooled(k) else [])]
        layers += [tnn.Flatten(), tnn.Linear(p.flat, p.dense), tnn.ReLU(), tnn.Linear(p.dense, CLASSES)]
        return tnn.Sequential(*layers), torch.rand(p.n, p.channels[0], p.side, p.side)

    class Net(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.U, self.W, self.V = (
                tnn.Linear(p.inputs, p.units),
                tnn.Linear(p.units, p.units, bias=False),
                tnn.Linear(p.units, p.outputs),
            )

        def forward(self, x: Any) -> Any:
            h = torch.zeros(len(x), p.units)
            for t in range(x.shape[1]):
                h = torch.tanh(self.U(x[:, t]) + self.W(h))
            return self.V(h)

    return Net(), torch.rand(p.n, p.steps, p.inputs)


def jax_problem(p: Problem, key: Any) -> tuple[Any, Any, Callable[[Any], Any]]:
    """Returns parameters, x, and the outputs as a function of the parameters."""
    import jax
    import jax.numpy as jnp

    if p.kind == "mlp":
        params: Any = [(0.05 * jax.random.normal(key, (i, o)), jnp.zeros(o)) for i, o in p.layers]
        x = jax.random.uniform(key, (p.n, p.sizes[0]))

        def forward(q: Any) -> Any:
            y = x
            for k, (W, b) in enumerate(q):
                y = y @ W + b
                if k not in p.linear:
                    y = jax.nn.sigmoid(y)
            return y
    elif p.kind == "cifar":
        shapes = {f"W{k}": (3, 3, i, o) for k, (_, i, o) in enumerate(p.convolutions)}
        shapes |= {f"b{k}": (o,) for k, (_, _, o) in enumerate(p.convolutions)}
        shapes |= {"V": (p.flat, p.dense), "c": (p.dense,), "U": (p.dense, CLASSES), "d": (CLASSES,)}
        params = {k: 0.05 * jax.random.normal(key, shape) for k, shape in shapes.items()}
        x = jax.random.uniform(key, (p.n, p.side, p.side, p.channels[0]))

        def forward(q: Any) -> Any:
            y = x
            for k, (size, _, _) in enumerate(p.convolutions):
                axes = ("NHWC", "HWIO", "NHWC")
                y = jax.nn.relu(
                    jax.lax.conv_general_dilated(y, q[f"W{k}"], (1, 1), "SAME", dimension_numbers=axes) + q[f"b{k}"]
                )
                if p.pooled(k):
                    y = jnp.max(jnp.reshape(y, (len(y), size // 2, 2, size // 2, 2, -1)), (2, 4))
            return jax.nn.relu(y.reshape(len(y), -1) @ q["V"] + q["c"]) @ q["U"] + q["d"]
    else:
        i, m, o = p.inputs, p.units, p.outputs
        shapes = {"U": (i, m), "W": (m, m), "b": (m,), "V": (m, o), "c": (o,)}
        params = {k: 0.1 * jax.random.normal(key, shape) for k, shape in shapes.items()}
        x = jax.random.normal(key, (p.steps, p.n, i))

        def forward(q: Any) -> Any:
            def cell(h: Any, x_t: Any) -> Any:
                return jnp.tanh(x_t @ q["U"] + h @ q["W"] + q["b"]), None

            h, _ = jax.lax.scan(cell, jnp.zeros((p.n, m)), x)
            return h @ q["V"] + q["c"]

    return params, x, forward


def run_jax(p: Problem) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    key, n = jax.random.key(0), p.n
    params, x, forward = jax_problem(p, key)
    target = x if p.kind == "mlp" else jax.random.normal(key, (n, p.outputs))
    labels = jax.random.randint(key, (n,), 0, CLASSES)

    def value(q: Any) -> Any:
        z = forward(q)
        if p.kind == "mlp":
            return jnp.sum(jax.nn.softplus(z) - z * target) / n
        if p.kind == "cifar":
            return -jnp.sum(jax.nn.log_softmax(z)[jnp.arange(n), labels]) / n
        return 0.5 * jnp.sum((z - target) ** 2) / n

    z, jvp = jax.linearize(forward, params)
    pull = jax.linear_transpose(jvp, params)
    s = jax.nn.sigmoid(z) if p.kind == "mlp" else jax.nn.softmax(z)

    def curvature(v: Any) -> Any:
        if p.kind == "mlp":
            return s * (1 - s) / n * v
        return s / n * (v - jnp.sum(s * v, 1, keepdims=True)) if p.kind == "cifar" else v / n

    product = jax.jit(lambda v: pull(curvature(jvp(v)))[0])
    gradient, run = jax.jit(jax.grad(value)), jax.jit(forward)
    return {
        "jax": median_ms(lambda: jax.block_until_ready(product(params))),
        "jax, gradient": median_ms(lambda: jax.block_until_ready(gradient(params))),
        "jax, value": median_ms(lambda: jax.block_until_ready(run(params))),
    }
