"""Squares: the sum over cases of the squared per-case gradients, in one backward sweep.

    D_W = Σ_n (a_nᵀ u_n)²      where y = a W + …, one row of a and of u per case

The cotangents of different cases do not mix before they meet a parameter, so a pull that stops at the parameters
has every per-case gradient in its hands, as a product a_n ⊗ u_n. A parameter met once costs one product of
squares, (a∘a)ᵀ(u∘u); one met several times (a recurrent net) needs Σ_t a_nt ⊗ u_nt per case before squaring.
Source: Martens & Sutskever (2012), section 11.3 (empirical Fisher), and 11.4 with other cotangents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rmad.primitives.products import matmul
from rmad.rules import Block, Diagonal, Linear
from rmad.tape import Tape

__all__ = ["squares"]


def squares(
    tape: Tape, cotangents: Sequence[Any], outputs: Sequence[int | None], n_inputs: int, n: int
) -> list[Any] | None:
    """Per input: Σ_n (∂⟨u_n, z_n⟩/∂θ)², for cotangents u whose first axis counts the n cases.

    None where some parameter is met in another way than a @ W or … + b with one row per case: then
    the caller has to pull case by case.
    """
    u: list[Any] = [None] * len(tape.nodes)
    met: list[list[tuple[Block, Any]]] = [[] for _ in range(n_inputs)]
    for k, cotangent in zip(outputs, cotangents, strict=True):
        if k is not None and k < n_inputs:
            return None  # a parameter that is an output itself
        if k is not None:
            u[k] = cotangent if u[k] is None else u[k] + cotangent
    for j in range(len(tape.nodes) - 1, n_inputs - 1, -1):
        node = tape.nodes[j]
        if u[j] is None:
            continue
        for i, block in zip(node.inputs, node.blocks, strict=True):
            if i >= n_inputs:
                term = block.pull(u[j])
                u[i] = term if u[i] is None else u[i] + term
            elif block.y.shape[:1] == (n,) and (_is_weight(block) or _is_bias(block)):
                met[i].append((block, u[j]))
            else:
                return None
        u[j] = None
    return [_sum_of_squares(edges, tape.nodes[i].spec) for i, edges in enumerate(met)]


def _is_weight(block: Block) -> bool:
    two_d = block.x.ndim == 2 and block.y.ndim == 2
    return isinstance(block, Linear) and block.primitive is matmul and block.argnum == 1 and two_d


def _is_bias(block: Block) -> bool:
    row = block.y.ndim == 2 and block.x.size == block.x.shape[-1] == block.y.shape[1] if block.x.ndim else False
    return isinstance(block, Diagonal) and isinstance(block.d, int) and bool(row)


def _sum_of_squares(edges: Sequence[tuple[Block, Any]], spec: Any) -> Any:
    if not edges:
        return np.zeros(spec.shape, spec.dtype)
    if len(edges) == 1:
        ((block, u),) = edges
        if isinstance(block, Linear):
            return np.square(block.args[0]).T @ np.square(u)
        return np.sum(np.square(u), axis=0).reshape(spec.shape)
    total = np.zeros_like(edges[0][1], shape=spec.shape)
    n = len(edges[0][1])
    step = max(1, 2**22 // max(1, spec.size))
    for start in range(0, n, step):
        part = slice(start, start + step)
        per_case = sum(_per_case(block, u, part, spec.shape) for block, u in edges)
        total += np.sum(np.square(per_case), axis=0)
    return total


def _per_case(block: Block, u: Any, part: slice, shape: tuple[int, ...]) -> Any:
    """The gradients of the cases of `part`, (n, *shape)."""
    u = u[part]
    if isinstance(block, Linear):
        return np.matmul(block.args[0][part][:, :, None], u[:, None, :])
    return block.d * u.reshape(len(u), *shape)  # type: ignore[attr-defined]
