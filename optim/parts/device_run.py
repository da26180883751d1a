"""A run of CG on a device: an iteration is a product, three kernels and two sums, and waits for the device once.

α and β stay on the device. The host reads pᵀA p and rᵀy, which decide how to go on, in one copy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from optim.parts.passes import Run, Stop, precondition
from optim.parts.trust_region import Ball
from rmad.extend import Array, arrays, fused

__all__ = ["DeviceRun"]

# If pᵀA p is not positive, α is 0: x and r stay as they are.
ALPHA = "T alpha = pAp > 0 ? T(ry / pAp) : T(0); "
NUMBERS = "float64 pAp, float64 ry, "
_advance = fused.Elementwise(NUMBERS + "T p, T Ap", "T x, T r", ALPHA + "x += alpha * p; r += alpha * Ap", "cg_advance")
_advance_preconditioned = fused.Elementwise(
    NUMBERS + "T p, T Ap, T inverse",
    "T x, T r, T y",
    ALPHA + "x += alpha * p; r += alpha * Ap; y = inverse * r",
    "cg_advance_preconditioned",
)
_turn = fused.Elementwise("float64 ry, float64 before, T y", "T p", "p = T(ry / before) * p - y", "cg_turn")


class DeviceRun(Run):
    """A `Run` whose scalars stay on the device; in a trust region, which needs them on the host, it is a plain one."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        # pᵀA p, ‖r‖∞ or ‖r‖₂², and rᵀy of the even and of the odd iterations
        self._numbers = arrays.full(self.r, 4, self.ry, np.float64)
        self._pAp, self._measure, *self._ry = (self._numbers[k : k + 1].reshape(()) for k in range(4))
        self._rule: Any = None  # that asks for ‖r‖, as SmallResidual does
        self._size = math.inf

    def asked(self, stop: Stop | None) -> str:
        """The reason to end that the rule gives, or ""."""
        if not hasattr(stop, "after"):
            return super().asked(stop)
        rule: Any = stop
        self._rule = rule
        return rule.after(self.i, math.sqrt(self._size) if rule.euclidean else self._size) or ""

    def iteration(self, ball: Ball | None) -> tuple[float, str, bool]:
        """As that of `Run`."""
        if ball is not None:
            return super().iteration(ball)
        now, following = self.i % 2, (self.i + 1) % 2
        self._advance(self._ry[now], self._ry[following])
        pAp, self._size, *both = self._numbers.tolist()
        if not math.isfinite(pAp):
            return pAp, "", False
        if pAp <= 0:
            return pAp, self.turned_down(pAp), False
        _turn(self._ry[following], self._ry[now], self.y, self.p)
        self.i += 1
        self.phi -= self.ry * self.ry / pAp / 2  # as in `advance`, with α = rᵀy / pᵀA p
        self.ry = both[following]
        return pAp, "", self.is_finite()

    def _advance(self, ry: Array, following: Array) -> None:
        """x ← x + α p, r ← r + α A p, y ← P⁻¹ r; leaves pᵀA p, ‖r‖ and the new rᵀy on the device."""
        self._product(self.p, self._Ap)
        self.products += 1
        if self._diagonal or self._damping:
            fused.add_scaled(self._damping, self.p, self._Ap)
        fused.dot(self.p, self._Ap, self._pAp)
        if self.inverse is not None:
            _advance_preconditioned(self._pAp, ry, self.p, self._Ap, self.inverse, self.x, self.r, self.y)
        else:
            _advance(self._pAp, ry, self.p, self._Ap, self.x, self.r)
            if self.operator is not None:
                precondition(self.operator, self.r, self.y)
        fused.dot(self.r, self.y, following)
        if self._rule is None:
            return
        if self._rule.euclidean:
            fused.dot(self.r, self.r, self._measure)
        else:
            fused.largest(self.r, self._measure)
