"""Dense Jacobians and Hessians that are used once, next to autograd, JAX and finite differences.

    python benchmarks/jacobians.py

loop       400 Runge-Kutta steps of Lotka and Volterra's equations, written as a loop over numbers: residuals at 40
           times in 4 parameters, 24,600 nodes. In evaluations of the residuals without derivatives.
fit        scipy.optimize.least_squares with these residuals
pendulum   the state after 50 Runge-Kutta steps in 50 forces, 2 × 50: per row, in gradients of one of its numbers
logistic   the Hessian of a logistic regression, 5000 cases of 1000 features: in bare products Xᵀ (d X)
convolved  a small convolutional network, 10 outputs in 784 pixels: per row, in gradients

CPU time of one BLAS thread, the least of several runs; JAX's first call, which compiles, once. autograd's Jacobian of
the loop is its forward mode, one parameter after the other: by rows it would take 80 passes.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

AUTOGRAD, JAX = (importlib.util.find_spec(name) is not None for name in ("autograd", "jax"))


def seconds(call: Callable[[], Any], runs: int = 5) -> float:
    """CPU seconds of one call, the least of several."""
    found = []
    for _ in range(runs):
        start = time.process_time()
        call()
        found.append(time.process_time() - start)
    return min(found)


def by_jax(make: Callable[[Any], Callable[[Any], Any]], x: Any, derivative: str) -> list[tuple[str, float]]:
    """CPU seconds of jax.jit of a derivative: compiled for the call, and for an earlier one."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    x = jnp.asarray(x)

    def compiled() -> Callable[[Any], Any]:
        return jax.jit(getattr(jax, derivative)(make(jnp)))

    again = compiled()
    again(x).block_until_ready()
    first = seconds(lambda: compiled()(x).block_until_ready(), 2)
    return [
        ("jax.jit, compilation counted", first),
        ("jax.jit, not counted", seconds(lambda: again(x).block_until_ready())),
    ]


def lotka_volterra(np: Any) -> Callable[[Any], Any]:
    times = np.linspace(0, 10, 401)

    def slopes(y: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
        return np.stack([a * y[0] - b * y[0] * y[1], -c * y[1] + d * y[0] * y[1]])

    def residuals(p: Any) -> Any:
        y, h, found = np.array([10.0, 5.0]), times[1] - times[0], []
        for _ in times[:-1]:
            k1 = slopes(y, *p)
            k2 = slopes(y + h / 2 * k1, *p)
            k3 = slopes(y + h / 2 * k2, *p)
            k4 = slopes(y + h * k3, *p)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            found.append(y)
        return np.ravel(np.stack(found[::10]))

    return residuals


def pendulum(np: Any) -> Callable[[Any], Any]:
    def slopes(x: Any, force: Any) -> Any:
        return np.stack([x[1], 9.81 * np.sin(x[0]) + force])

    def last(forces: Any) -> Any:
        x, h = np.array([np.pi, 0.0]), 0.06
        for k in range(50):
            k1 = slopes(x, forces[k])
            k2 = slopes(x + h / 2 * k1, forces[k])
            k3 = slopes(x + h / 2 * k2, forces[k])
            k4 = slopes(x + h * k3, forces[k])
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return x

    return last


def plain_lotka_volterra() -> Callable[[Any], Any]:
    """The same with np.array for the pair, as one writes it where nothing is traced; it takes half the time."""
    import types

    import numpy

    return lotka_volterra(types.SimpleNamespace(**{**vars(numpy), "stack": numpy.array}))


def loop() -> list[list[str]]:
    import numpy as np
    from scipy import optimize

    import rmad

    f, p = lotka_volterra(np), np.array([1.1, 0.1, 1.4, 0.08])
    plain = plain_lotka_volterra()
    one = seconds(lambda: plain(p))
    found = {"differences": lambda: optimize.approx_fprime(p, plain), "rmad": lambda: rmad.jacobian(f)(p)}
    if AUTOGRAD:
        import autograd.numpy as anp
        from autograd.differential_operators import make_jvp

        of_columns = make_jvp(lotka_volterra(anp))
        found["autograd"] = lambda: [of_columns(p)(e) for e in np.eye(4)]
    found["record only"] = lambda: rmad.vjp(f, p)
    ms = f"{1e3 * one:.2f} ms"
    table = [["loop", ms, name, f"{seconds(call) / one:.1f} evaluations"] for name, call in found.items()]

    data = plain(np.array([1.0, 0.1, 1.5, 0.075]))
    fits: dict[str, Any] = {"differences": "2-point", "rmad": rmad.jacobian(lambda p: f(p) - data)}
    for name, jac in fits.items():
        t = seconds(lambda jac=jac: optimize.least_squares(lambda p: plain(p) - data, p, jac=jac, x_scale="jac"), 2)
        table.append(["fit", ms, name, f"{t / one:.0f} evaluations"])
    return table


def rows(name: str, of: Callable[[Any], Callable[[Any], Any]], x: Any, m: int) -> list[list[str]]:
    """A Jacobian of m rows, per row, in gradients of one number of it."""
    import numpy as np

    import rmad

    f = of(np)
    gradient = seconds(lambda: rmad.grad(lambda x: f(x)[0])(x))
    found = [("rmad", seconds(lambda: rmad.jacobian(f)(x)) / gradient / m)]
    if AUTOGRAD and name == "pendulum":
        import autograd
        import autograd.numpy as anp

        g = of(anp)
        theirs = seconds(lambda: autograd.jacobian(g)(x)) / m
        found.append(("autograd, in rmad's gradients", theirs / gradient))
        found.append(("autograd, in its own", theirs / seconds(lambda: autograd.grad(lambda x: g(x)[0])(x))))
    if JAX and name == "pendulum":
        found += [(f"{who}, in rmad's gradients", t / gradient / m) for who, t in by_jax(of, x, "jacrev")]
    return [[name, f"{1e3 * gradient:.2f} ms", who, f"{ratio:.2f} gradients a row"] for who, ratio in found]


def logistic() -> list[list[str]]:
    import numpy as np

    import rmad

    rng = np.random.default_rng(0)
    X, w = rng.standard_normal((5000, 1000)), rng.standard_normal(1000) / 30
    sign = np.where(rng.random(5000) < 0.5, -1.0, 1.0)
    d = rng.random((5000, 1))

    def of(np: Any) -> Callable[[Any], Any]:
        return lambda w: np.sum(np.logaddexp(0, -sign * (X @ w)))

    bare = seconds(lambda: X.T @ (d * X))
    found = [("rmad", seconds(lambda: rmad.hessian(of(np))(w)))]
    H = rmad.HessianOperator(of(np), w)
    found.append(("HessianOperator, column by column", seconds(lambda: H @ np.eye(1000), 2)))
    if AUTOGRAD:
        import autograd
        import autograd.numpy as anp

        found.append(("autograd", seconds(lambda: autograd.hessian(of(anp))(w), 1)))
    if JAX:
        found += by_jax(of, w, "hessian")
    return [["logistic", f"{1e3 * bare:.0f} ms", name, f"{t / bare:.2f} products"] for name, t in found]


def convolved() -> list[list[str]]:
    import numpy as np

    import nn

    rng = np.random.default_rng(0)
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, rng=rng), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 10, rng=rng)
    )
    image = rng.standard_normal((1, 28, 28, 1)).astype("f4")
    return rows("convolved", lambda _: lambda x: net(x)[0], image, 10)


def main() -> None:
    import rmad  # noqa: F401 (first: it may choose the BLAS kernel)

    # isort: split
    import numpy as np
    import runner
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        table = [["problem", "unit", "by", "CPU time"]]
        table += loop()
        table += rows("pendulum", pendulum, np.full(50, 0.1), 2)
        table += logistic()
        table += convolved()
    print(runner.markdown(table))


if __name__ == "__main__":
    main()
