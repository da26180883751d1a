"""Constants of tuning, in one place: each with its unit, its meaning, and the measurement that set it.

They decide how fast a result comes; they change the result by rounding at most, except for FEWEST_CASES_OF_FACTORS.
"""

from __future__ import annotations

__all__ = [
    "FEWEST_BLOCKS_ON_THREADS",
    "FEWEST_CASES_OF_FACTORS",
    "FEWEST_CUBES_ON_THREADS",
    "MOST_DENSE_PARAMETERS",
]

FEWEST_BLOCKS_ON_THREADS = 4
"""Blocks of a vector, of `optim.problem.vectors.BLOCK` elements each, from which CG's passes run on threads.

Below, starting the threads costs more than they save: `python benchmarks/hf_overhead.py`, which can switch them off.
"""

FEWEST_CASES_OF_FACTORS = 500
"""Cases: KFAC takes no smaller part of a batch for its factors, α and μ.

With 250 of 1000 cases an update is a tenth cheaper, and the objective had spikes (docs/decisions.md,
examples/kronecker.py).
"""

FEWEST_CUBES_ON_THREADS = 2_000_000
"""Σ n³ over the Kronecker blocks, the multiply-adds of their inversion up to a factor, for it to run on threads.

One LAPACK call of that size takes about a millisecond, the cost of handing it over (`python benchmarks/threads.py`).
"""

MOST_DENSE_PARAMETERS = 300
"""Parameters up to which Levenberg-Marquardt with solver="auto" forms G, by as many products, for a Cholesky solve.

A Cholesky factorization serves every λ of a step, while CG (at most 250 products) runs again for each.
"""
