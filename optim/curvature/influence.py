"""Influence functions: how the loss of some cases would change if a training case were left out.

    I_nm = ∇ℓ_mᵀ (B + λI)⁻¹ ∇ℓ_n / N ≈ ℓ_m(θ without n) − ℓ_m(θ)

θ minimizes the mean of the losses ℓ_n of the N training cases (plus ½λ‖θ‖² for λ = l2), B is its curvature: the GGN or
the Hessian, or Kronecker factors of the GGN. I > 0: leaving n out raises the loss of m, so that n is of help for it.
Source: Koh & Liang (2017), section 2; Grosse et al. (2023), section 3, for EKFAC.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from optim.curvature.curvature import Curvature
from optim.curvature.data import Progress
from optim.hyper import Number, OneOf, Rule, checked
from optim.problem.batch import cases as cases_of
from optim.problem.batch import take
from optim.problem.objective import Objective
from optim.problem.ranks import Ranks
from optim.types import Loss, Model
from rmad.extend import Array

__all__ = ["influence"]

HYPER: dict[str, Rule] = {
    "damping": Number(above=0.0),
    "curvature": OneOf(("ggn", "hessian")),
    "method": OneOf(("cg", "minres", "lsmr", "kfac", "ekfac")),
}


def influence(
    model: Model,
    loss: Loss,
    train: Any,
    query: Any,
    *,
    damping: float,
    curvature: str = "ggn",
    method: str = "cg",
    rtol: float = 1e-5,
    iterations: int = 1000,
    cases_in_memory: int | None = None,
    threads: int | None = None,
    ranks: Ranks | None = None,
    rng: np.random.Generator | None = None,
    progress: Progress | None = None,
) -> Array:
    """I_nm = ∇ℓ_mᵀ (B + λI)⁻¹ ∇ℓ_n / N: the change of the loss of query m if training case n is left out, (n, m).

    One solve for every query, or none ("kfac", "ekfac"), and one push over the training set: the inner products of a
    vector with the gradients of all cases are ∂ℓ_n/∂z · J_n v. No gradient of a training case is formed.

    Parameters
    ----------
    model : Model
        The trained model; θ is where it stands.
    loss : Loss
        A mean over cases.
    train : (x, t), a list or a re-iterable of them
        The training set.
    query : (x, t)
        The cases to explain; each takes a gradient of its own.
    damping : float
        λ > 0. For a model trained with l2 it is l2, or above.
    curvature : {"ggn", "hessian"}, default "ggn"
        B.
    method : {"cg", "minres", "lsmr", "kfac", "ekfac"}, default "cg"
        How (B + λI) is inverted, see `CurvatureOperator.inverse`; "minres" for a Hessian that is indefinite.
    rtol : float, default 1e-5
        Relative residual at which a solver ends.
    iterations : int, default 1000
        The most iterations of a solver.
    cases_in_memory, threads, ranks, rng, progress
        As for `Curvature`.

    Returns
    -------
    array, (n, m)
        A row for every training case, a column for every query. Positive: the case helps.

    Raises
    ------
    ValueError
        If an argument is out of range, or the outputs have no row for every case.
    TypeError
        If train can be read only once, or query is no pair.
    numpy.linalg.LinAlgError
        If CG meets an indefinite Hessian.

    References
    ----------
    Koh & Liang (2017), section 2; Grosse et al. (2023).

    Examples
    --------
    >>> import nn, optim
    >>> x, t = np.array([[0.0], [1.0], [2.0], [5.0]]), np.array([[0.0], [1.0], [2.0], [0.0]])
    >>> model = nn.Linear(1, 1, rng=np.random.default_rng(0), dtype=np.float64)
    >>> opt = optim.LevenbergMarquardt(model, nn.SquaredError())
    >>> for _ in range(20):
    ...     _ = opt.step(x, t)
    >>> found = optim.influence(model, nn.SquaredError(), (x, t), (x[2:3], t[2:3]), damping=1e-6)
    >>> int(np.argmax(found))  # the query is in the training set: it helps itself most
    2
    """
    checked(HYPER, {"damping": damping, "curvature": curvature, "method": method})
    if not isinstance(query, tuple) or len(query) != 2:
        raise TypeError(f"query must be (x, t), got {type(query).__name__}")
    C = Curvature(
        model,
        loss,
        train,
        cases_in_memory=cases_in_memory,
        threads=threads,
        ranks=ranks,
        rng=rng,
        progress=progress,
    )
    alone = Objective(C.data.objective.model, loss, threads=threads)  # a query is no batch to share
    x, t = query
    number = cases_of(x, t)
    if not number:
        raise ValueError(f"query must have cases along the first axis of its arrays, got shape {np.shape(x)}")
    inverse = getattr(C, curvature).inverse(damping, method, rtol=rtol, iterations=iterations)
    columns = []
    for m in range(number):
        one = slice(m, m + 1)
        _, gradient = alone.value_and_gradient(take(x, one), take(t, one))
        columns.append(C.along_gradients(inverse @ gradient) / C.theta.dtype.type(C.cases))
        if progress is not None:
            progress("influence", m + 1, number)
    return np.stack(columns, axis=1)
