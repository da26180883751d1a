"""Groups of columns that one product finds together.

    one way      no two columns of a group share a row: J e_j, e_j summed over the group, holds each element of them
    symmetric    star colouring of a Hessian: for h_ij the product of j's group, or of i's, holds it alone

A group is a colour. SciPy's grouping is that of Curtis, Powell & Reid (1974). Stars are those of Coleman & Moré (1984),
by algorithm 4.1 of Gebremedhin, Manne & Pothen (2005): no path of four vertices has two colours only.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.types import Array

__all__ = ["one_way", "symmetric"]


def one_way(pattern: Any) -> Array:
    """The group of each column of a sparse array, taken in turn; if that takes many groups, in a mixed order too."""
    from scipy.optimize._numdiff import group_columns, group_sparse

    pattern, (m, n) = pattern.tocsc(), pattern.shape
    starts, rows = (a.astype(np.int32, copy=False) for a in (pattern.indptr, pattern.indices))
    groups = group_sparse(m, n, rows, starts)
    longest = int(np.bincount(rows, minlength=1).max(initial=0))
    if groups.max(initial=-1) + 1 > 2 * longest:
        groups = min(groups, group_columns(pattern.astype(np.int8), 0), key=np.max)
    return np.asarray(groups, np.intp)


def symmetric(pattern: Any) -> Array:
    """The group of each row and column of a symmetric pattern, in a star colouring."""
    n = pattern.shape[0]
    starts, columns = pattern.indptr, pattern.indices
    neighbours = [[int(k) for k in columns[starts[i] : starts[i + 1]] if k != i] for i in range(n)]
    colours = [-1] * n
    for v in sorted(range(n), key=lambda i: -len(neighbours[i])):
        forbidden = set()
        for w in neighbours[v]:
            if colours[w] >= 0:
                forbidden.add(colours[w])
            for x in neighbours[w]:
                if x == v or colours[x] < 0:
                    continue
                if colours[w] < 0:
                    forbidden.add(colours[x])  # v and x would share a neighbour that may take any colour
                else:
                    for y in neighbours[x]:
                        if y != w and colours[y] == colours[w]:
                            forbidden.add(colours[x])
                            break
        colour = 0
        while colour in forbidden:
            colour += 1
        colours[v] = colour
    return np.array(colours, np.intp)
