"""Grid search over hyper-parameters: a baseline counts only when it is tuned."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

from optim.base import TrainingDiverged

__all__ = ["GridSearch", "grid_search"]


@dataclass(frozen=True)
class GridSearch:
    """The result of `grid_search`.

    Parameters
    ----------
    best : dict
        The hyper-parameters with the lowest score.
    score : float
        That score.
    scores : list of (dict, float)
        Every point of the grid with its score, in order.
    """

    best: dict[str, Any]
    score: float
    scores: list[tuple[dict[str, Any], float]]


def grid_search(score: Callable[..., float], **values: Iterable[Any]) -> GridSearch:
    """argmin score(**hyper) over the grid values₁ × values₂ × …; the first of several equal ones.

    Parameters
    ----------
    score : callable
        score(**hyper) → float, lower is better. NaN, and a run that ends in TrainingDiverged, count as infinity.
    **values : iterable
        The candidates for every hyper-parameter, by name.

    Returns
    -------
    found : GridSearch
        The best point, its score, and all scores.

    Raises
    ------
    ValueError
        If the grid is empty, or every point of it fails.

    Examples
    --------
    >>> grid_search(lambda lr, momentum: abs(lr - 0.1) + momentum, lr=[1.0, 0.1, 0.01], momentum=[0.0, 0.9]).best
    {'lr': 0.1, 'momentum': 0.0}
    """
    lists = {name: list(candidates) for name, candidates in values.items()}
    empty = [name for name, candidates in lists.items() if not candidates]
    if empty or not lists:
        raise ValueError(f"grid_search: no values for {', '.join(empty)}" if empty else "grid_search: no grid is given")
    scores: list[tuple[dict[str, Any], float]] = []
    for point in product(*lists.values()):
        hyper = dict(zip(lists, point, strict=True))
        try:
            found = float(score(**hyper))
        except TrainingDiverged:
            found = math.inf
        scores.append((hyper, math.inf if math.isnan(found) else found))
    best, lowest = min(scores, key=lambda entry: entry[1])
    if lowest == math.inf:
        raise ValueError(f"grid_search: all {len(scores)} points of the grid failed")
    return GridSearch(best, lowest, scores)
