"""MINRES and LSMR for a symmetric matrix, on the CPU or a GPU; CG is `optim.pcg`.

    minres   minimizes ‖b − Ax‖ over the Krylov space of A, in the norm of P⁻¹; A may be indefinite
    lsmr     minimizes ‖A(b − Ax)‖: two products an iteration, for an A that is singular too

Vectors stay on their device, scalars are Python floats. Source: Paige & Saunders (1975), in the form of Elman,
Silvester & Wathen (2014), algorithm 4.1; Fong & Saunders (2011), section 2.8.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from optim.problem.vectors import dot
from rmad.extend import Array

__all__ = ["lsmr", "minres"]

Map = Callable[[Array], Array]


def _times(c: float, v: Array) -> Array:
    return v.dtype.type(c) * v


def minres(A: Map, b: Array, P_inverse: Map | None, rtol: float, iterations: int) -> tuple[Array, int]:
    """Solves A x = b to ‖r‖ ≤ rtol ‖b‖, both in the norm of P⁻¹, P⁻¹ symmetric and positive definite.

    Returns x and the number of iterations.
    """
    x = np.zeros_like(b)
    v_old, v = np.zeros_like(b), b.copy()
    z = v.copy() if P_inverse is None else P_inverse(v)
    gamma = _root(dot(z, v))
    if gamma == 0:
        return x, 0
    eta = start = gamma
    gamma_old, s_old, s, c_old, c = 1.0, 0.0, 0.0, 1.0, 1.0
    w_old, w = np.zeros_like(b), np.zeros_like(b)
    for i in range(1, iterations + 1):
        z = _times(1 / gamma, z)
        Az = A(z)
        delta = dot(Az, z)
        v_new = Az - _times(delta / gamma, v) - _times(gamma / gamma_old, v_old)
        z_new = v_new.copy() if P_inverse is None else P_inverse(v_new)
        gamma_new = _root(dot(z_new, v_new))
        a0 = c * delta - c_old * s * gamma
        a1 = math.hypot(a0, gamma_new)
        a2 = s * delta + c_old * c * gamma
        a3 = s_old * gamma
        if not math.isfinite(a1):
            raise FloatingPointError(f"product {i} is not finite")
        if a1 == 0:  # A is singular along b, and x is the least-squares solution
            return x, i
        c_old, c, s_old, s = c, a0 / a1, s, gamma_new / a1
        w_old, w = w, _times(1 / a1, z - _times(a3, w_old) - _times(a2, w))
        x = x + _times(c * eta, w)
        eta = -s * eta
        v_old, v, z = v, v_new, z_new
        gamma_old, gamma = gamma, gamma_new
        if abs(eta) <= rtol * start or gamma <= np.finfo(b.dtype).eps * start:
            return x, i
    return x, iterations


def _root(square: float) -> float:
    """√(vᵀP⁻¹v); ValueError if P⁻¹ is not positive definite."""
    if square < 0:
        raise ValueError("minres: the preconditioner is not positive definite")
    return math.sqrt(square)


def lsmr(A: Map, b: Array, rtol: float, iterations: int) -> tuple[Array, int]:
    """Solves min ‖A x − b‖ for a symmetric A to ‖A r‖ ≤ rtol ‖A b‖. Returns x and the number of iterations."""
    x = np.zeros_like(b)
    u, beta = _normalized(b)
    v, alpha = _normalized(A(u)) if beta else (u, 0.0)
    zeta_bar = start = alpha * beta
    if start == 0:
        return x, 0
    alpha_bar, rho, rho_bar, c_bar, s_bar = alpha, 1.0, 1.0, 1.0, 0.0
    h, h_bar = v.copy(), np.zeros_like(b)
    for i in range(1, iterations + 1):
        u, beta = _normalized(A(v) - _times(alpha, u))
        if beta:
            v, alpha = _normalized(A(u) - _times(beta, v))
        else:
            alpha = 0.0
        rho_old, rho = rho, math.hypot(alpha_bar, beta)
        c, s = alpha_bar / rho, beta / rho
        theta, alpha_bar = s * alpha, c * alpha
        rho_bar_old, theta_bar = rho_bar, s_bar * rho
        rho_temp = c_bar * rho
        rho_bar = math.hypot(rho_temp, theta)
        if not math.isfinite(rho_bar):
            raise FloatingPointError(f"product {2 * i} is not finite")
        c_bar, s_bar = rho_temp / rho_bar, theta / rho_bar
        zeta, zeta_bar = c_bar * zeta_bar, -s_bar * zeta_bar
        h_bar = h - _times(theta_bar * rho / (rho_old * rho_bar_old), h_bar)
        x = x + _times(zeta / (rho * rho_bar), h_bar)
        h = v - _times(theta / rho, h)
        if abs(zeta_bar) <= rtol * start or alpha == 0:
            return x, i
    return x, iterations


def _normalized(v: Array) -> tuple[Array, float]:
    size = math.sqrt(dot(v, v))
    return (_times(1 / size, v), size) if size else (v, 0.0)
