"""Orthogonal polynomials of scipy.special in their last argument: each derivative is a polynomial of lower degree.

Degrees need not be whole. That of a constant is no polynomial of degree -1 but zero.

Source of the formulas: DLMF (dlmf.nist.gov), sections 18.7 and 18.9.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.machine.special import sc
from rmad.rules import Elementwise, elementwise
from rmad.tracing.quick import as_array
from rmad.tracing.traced import stop
from rmad.types import Array

__all__: list[str] = []


def _lowered(n: Any, lower: Callable[[Any], Array]) -> Array:
    """lower(n - 1), and zero where n = 0."""
    n = as_array(stop(n))
    y = lower(np.where(n == 0, 0, n - 1))
    return y if np.all(n) else np.where(n == 0, 0.0, y)


def _plain(n: Any) -> Any:
    return as_array(stop(n))


def _rule(f: Any, factor: Callable[..., Any], lower: Callable[..., Array], parameters: int = 0) -> Elementwise:
    """∂f/∂x = factor(n, *parameters) · lower(n - 1, *parameters, x)"""

    def derivative(y: Array, n: Any, *rest: Any) -> Array:
        return _lowered(n, lambda one_less: factor(_plain(n), *rest[:-1]) * lower(one_less, *rest))

    return elementwise(f, *(None,) * (1 + parameters), derivative)


def _jacobi(n, a, b, x) -> Array:
    return sc.eval_jacobi(n, a, b, x)  # type: ignore[no-any-return]


_rule(sc.eval_legendre, lambda n: 0.5 * (n + 1), lambda n, x: _jacobi(n, 1.0, 1.0, x))
_rule(sc.eval_sh_legendre, lambda n: n + 1.0, lambda n, x: _jacobi(n, 1.0, 1.0, 2 * x - 1))
_rule(sc.eval_jacobi, lambda n, a, b: 0.5 * (n + a + b + 1), lambda n, a, b, x: _jacobi(n, a + 1, b + 1, x), 2)
_rule(sc.eval_sh_jacobi, lambda n, p, q: n, lambda n, p, q, x: sc.eval_sh_jacobi(n, p + 2.0, q + 1.0, x), 2)
_rule(sc.eval_gegenbauer, lambda n, a: 2.0 * a, lambda n, a, x: sc.eval_gegenbauer(n, a + 1.0, x), 1)
_rule(sc.eval_chebyt, lambda n: n, lambda n, x: sc.eval_chebyu(n, x))
_rule(sc.eval_chebyu, lambda n: 2.0, lambda n, x: sc.eval_gegenbauer(n, 2.0, x))
_rule(sc.eval_chebyc, lambda n: n, lambda n, x: sc.eval_chebys(n, x))
_rule(sc.eval_chebys, lambda n: 1.0, lambda n, x: sc.eval_gegenbauer(n, 2.0, 0.5 * x))
_rule(sc.eval_sh_chebyt, lambda n: 2.0 * n, lambda n, x: sc.eval_sh_chebyu(n, x))
_rule(sc.eval_sh_chebyu, lambda n: 4.0, lambda n, x: sc.eval_gegenbauer(n, 2.0, 2 * x - 1))
_rule(sc.eval_laguerre, lambda n: -1.0, lambda n, x: sc.eval_genlaguerre(n, 1.0, x))
_rule(sc.eval_genlaguerre, lambda n, a: -1.0, lambda n, a, x: sc.eval_genlaguerre(n, a + 1.0, x), 1)
_rule(sc.eval_hermite, lambda n: 2.0 * n, lambda n, x: sc.eval_hermite(n, x))
_rule(sc.eval_hermitenorm, lambda n: n, lambda n, x: sc.eval_hermitenorm(n, x))
