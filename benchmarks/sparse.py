"""Sparse Jacobians: Poisson's equation with an exponential on a grid, in evaluations of the residual.

    python benchmarks/sparse.py [--n 316] [--rounds 7]

rmad    sparse_jacobian: the first call, which reads the pattern and groups the columns, and a later one
SciPy   finite differences with the pattern and the groups given, as `least_squares(jac_sparsity=…)` takes them
JAX     products by jax.jit with the same groups, if it is installed: with the compilation, and without

CPU time of one BLAS thread; contenders alternate, medians over rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import rmad  # first: it may choose the BLAS kernel

# isort: split
import numpy as np

Residual = Callable[[Any], Any]


def poisson(n: int) -> Residual:
    """−Δu + eᵘ − 10 on an n × n grid with zero boundary, by slices."""
    h = 1 / (n + 1)

    def residual(u: Any) -> Any:
        u = u.reshape(n, n)
        d = np.zeros_like(u)
        d[1:-1] = u[2:] - 2 * u[1:-1] + u[:-2]
        d[0], d[-1] = u[1] - 2 * u[0], u[-2] - 2 * u[-1]
        e = np.zeros_like(u)
        e[:, 1:-1] = u[:, 2:] - 2 * u[:, 1:-1] + u[:, :-2]
        e[:, 0], e[:, -1] = u[:, 1] - 2 * u[:, 0], u[:, -2] - 2 * u[:, -1]
        return (-(d + e) / h**2 + np.exp(u) - 10).ravel()

    return residual


def by_jax(n: int, sparsity: Any, u: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The same products by compiled jax.jvp, for the same groups: the first call, and a later one."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    h = 1 / (n + 1)

    def residual(u: Any) -> Any:
        p = jnp.pad(u.reshape(n, n), 1)
        laplacian = p[2:, 1:-1] + p[:-2, 1:-1] + p[1:-1, 2:] + p[1:-1, :-2] - 4 * p[1:-1, 1:-1]
        return (-laplacian / h**2 + jnp.exp(p[1:-1, 1:-1]) - 10).ravel()

    seeds = jnp.asarray(sparsity.seeds(0, sparsity.products, u, u.dtype))

    def compiled() -> Any:
        return jax.jit(jax.vmap(lambda v, u: jax.jvp(residual, (u,), (v,))[1], (0, None)))

    def matrix(products: Any) -> Any:
        return sparsity.matrix(np.asarray(products(seeds, jnp.asarray(u))))

    products = compiled()
    return lambda: matrix(compiled()), lambda: matrix(products)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=316)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    n, residual = options.n, poisson(options.n)
    u = np.random.default_rng(0).normal(size=n * n)
    from scipy.optimize._numdiff import approx_derivative, group_columns

    evaluate = rmad.sparse_jacobian(residual)
    evaluate(u[:])  # imports SciPy's parts
    pattern = evaluate.sparsity.pattern.astype(int)
    groups = group_columns(pattern)
    contenders: dict[str, Callable[[], Any]] = {
        "the residual": lambda: residual(u),
        "rmad, first call": lambda: rmad.sparse_jacobian(residual)(u),
        "rmad, later": lambda: evaluate(u),
        "SciPy, differences": lambda: approx_derivative(residual, u, sparsity=(pattern, groups)),
    }
    if importlib.util.find_spec("jax") is not None:
        contenders["JAX, first call"], contenders["JAX, later"] = by_jax(n, evaluate.sparsity, u)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for k in range(options.rounds + 1):
        for name, call in contenders.items():
            start = time.process_time()
            call()
            if k:
                times[name].append(time.process_time() - start)
    one = statistics.median(times["the residual"])
    print(f"{n * n} unknowns, {evaluate.sparsity}; one residual {1e3 * one:.2f} ms")
    for name, found in times.items():
        print(f"{name:20s} {statistics.median(found) / one:6.1f} evaluations")
    J, D = evaluate(u), contenders["SciPy, differences"]()
    print(
        f"largest difference of finite differences from J: {abs(J - D).max() / abs(J).max():.1e} of its largest element"
    )


if __name__ == "__main__":
    main()
