"""The preconditioner of methods that are given none: Kronecker factors if they fit, else a diagonal, else none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from optim.parts.factors import KroneckerFactors

__all__ = ["Fallback", "check_factors"]

T = TypeVar("T")


class Fallback:
    """The kind of preconditioner that a run uses; in the update that changes it, also why it is not a better one.

    Parameters
    ----------
    kind : int, default 0
        The place in `kinds` to start from.
    """

    kinds = "Kronecker factors", "a diagonal preconditioner", "no preconditioner"  # best first

    def __init__(self, kind: int = 0) -> None:
        self.kind = kind
        self.misfit = ""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "kind" and value >= len(self.kinds):
            raise ValueError(f"the kind of preconditioner must be below {len(self.kinds)}, got {value}")
        super().__setattr__(name, value)

    def first_fitting(self, make: Callable[[], T]) -> T:
        """make(), called again with the next kind, which then stays, as long as the present one does not fit.

        Raises the error of make if no kind is left.
        """
        self.misfit = ""  # it is no part of a state, so a resumed run could not repeat it
        while True:
            try:
                return make()
            except (TypeError, ValueError, NotImplementedError) as error:
                if self.kind + 1 == len(self.kinds):
                    raise
                self.kind += 1
                self.misfit = str(error).partition("; ")[0]  # its first clause

    def __str__(self) -> str:
        kind = self.kinds[self.kind]
        return f"{kind} ({self.misfit})" if self.misfit else kind


def check_factors(factors: KroneckerFactors, longest: int) -> None:
    """Raises ValueError if these are no good to precondition with: no block, or a side longer than `longest`."""
    sides = [side for block in factors.blocks for side in block.shape]
    if not sides:
        raise ValueError("no parameter has a Kronecker block")
    if max(sides) > longest:
        raise ValueError(f"a Kronecker factor has {max(sides):,} rows, more than {longest:,}")
