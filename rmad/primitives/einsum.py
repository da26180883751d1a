"""Einstein's summation, of any number of operands.

Each operand is first made plain (diagonals taken, lone indices summed), then pairs are contracted
one after the other, so that the work is in matrix products: with the batch indices b kept in both,

    Σ_k A[b, l, k] B[b, k, r] = y[b, l, r]

is `matmul` after transposes and reshapes. If no index is summed, or neither operand has an index that the other
lacks, that would gain nothing, and `contract` calls np.einsum itself.
"""

from __future__ import annotations

import math
import string
from typing import Any

import numpy as np

from rmad.primitives.arguments import cast, refuse_out
from rmad.primitives.matmul import matmul
from rmad.rules import as_array, bilinear
from rmad.tapes.tape import ArraySpec
from rmad.tracing.handlers import implements
from rmad.tracing.traced import stop
from rmad.tracing.valued import scalar
from rmad.types import Array


@implements(np.einsum)
def einsum(*operands, out=None, dtype=None, order="K", casting="safe", optimize=False) -> Array:
    """Σ over the indices that the result lacks. Operands may be traced, all of them at once."""
    refuse_out(out)
    arrays, terms, result = _parse(operands)
    arrays = [cast(a, dtype, casting) for a in arrays]
    sizes = _sizes(arrays, terms)
    y = _contracted([_plain(a, t, sizes) for a, t in zip(arrays, terms, strict=True)], result, sizes)
    return y if y.ndim else scalar(y)


def _contracted(operands, result, sizes) -> Array:
    """Σ over operands (array, labels), plain ones: one product of two after the other, the smallest first."""
    operands = _without_lone(operands, result)
    while len(operands) > 1:
        i, j = _next_pair([labels for _, labels in operands], sizes)
        (A, a), (B, b) = operands[i], operands[j]
        rest = [operand for k, operand in enumerate(operands) if k not in (i, j)]
        needed = set(result).union(*(labels for _, labels in rest))
        keep = [label for label in dict.fromkeys([*a, *b]) if label in needed] if rest else list(result)
        operands = [*rest, (pair(A, a, B, b, keep), keep)]
    a, labels = operands[0]
    return _arranged(a, labels, result)


# -- subscripts -------------------------------------------------------------------------------------------


def _parse(operands) -> tuple[Any, Any, Any]:
    """The arrays, the labels of their axes, and those of the result; an ellipsis becomes labels (0,), (1,), …"""
    arrays, terms, result = _from_text(operands) if isinstance(operands[0], str) else _from_lists(operands)
    if len(terms) != len(arrays):
        raise ValueError(f"einsum: {len(terms)} terms in the subscripts for {len(arrays)} operands")
    ellipsis = _expand_ellipses(arrays, terms)
    return arrays, terms, _result_labels(result, terms, ellipsis)


def _from_text(operands) -> tuple[Any, Any, Any]:
    """einsum("ij,jk->ik", A, B); a result of None when there is no arrow."""
    text, arrow, right = operands[0].replace(" ", "").partition("->")
    terms = [_labels(term) for term in text.split(",")]
    return [as_array(a) for a in operands[1:]], terms, _labels(right) if arrow else None


def _from_lists(operands) -> tuple[Any, Any, Any]:
    """einsum(A, [0, 1], B, [1, 2], [0, 2]); a result of None when the last list is missing."""
    explicit = len(operands) % 2 == 1
    n = len(operands) - explicit
    terms = [list(stop(term)) for term in operands[1:n:2]]
    return [as_array(a) for a in operands[:n:2]], terms, list(stop(operands[-1])) if explicit else None


def _expand_ellipses(arrays, terms) -> list[Any]:
    """Puts labels in place of every ellipsis of `terms`; returns those of the longest."""
    most = max((a.ndim - len(t) + 1 for a, t in zip(arrays, terms, strict=True) if Ellipsis in t), default=0)
    for a, t in zip(arrays, terms, strict=True):
        extra = a.ndim - len(t) + (Ellipsis in t)
        if extra < 0 or (extra and Ellipsis not in t):
            raise ValueError(f"einsum: a term of {len(t)} indices for an operand of shape {a.shape}")
        _expand(t, [(k,) for k in range(most - extra, most)])
    return [(k,) for k in range(most)]


def _result_labels(result, terms, ellipsis) -> list[Any]:
    """The checked labels of the result; without an arrow, those that occur once, in alphabetical order."""
    every = [label for t in terms for label in t]
    if result is None:
        once = [label for label in every if not isinstance(label, tuple) and every.count(label) == 1]
        result = [*ellipsis, *sorted(once)]
    elif ellipsis and Ellipsis not in result:
        raise ValueError("einsum: the operands have an ellipsis, so the result needs one")
    else:
        _expand(result, ellipsis)
    if len(set(result)) < len(result) or not set(result) <= set(every):
        raise ValueError(f"einsum: the result's indices {result} must differ and occur in an operand")
    return result


def _labels(text) -> list[Any]:
    head, dots, tail = text.partition("...")
    return [*head, *([Ellipsis] if dots else []), *tail]


def _expand(labels, extra) -> None:
    if Ellipsis in labels:
        k = labels.index(Ellipsis)
        labels[k : k + 1] = extra


def _sizes(arrays, terms) -> dict[Any, int]:
    sizes: dict = {}
    for a, labels in zip(arrays, terms, strict=True):
        for n, label in zip(a.shape, labels, strict=True):
            known = sizes.get(label, 1)
            if n != known and n != 1 and known != 1:
                raise ValueError(f"einsum: index {label!r} has size {known} in one place and {n} in another")
            sizes[label] = n if known == 1 else known
    return sizes


# -- one operand --------------------------------------------------------------------------------------------


def _plain(a, labels, sizes) -> tuple[Array, list[Any]]:
    """The operand without axes of size 1 that are broadcast, and with the diagonal of a repeated index."""
    stretched = tuple(p for p, label in enumerate(labels) if a.shape[p] == 1 and sizes[label] != 1)
    if stretched:
        a = np.squeeze(a, stretched)
        labels = [label for p, label in enumerate(labels) if p not in stretched]
    while len(set(labels)) < len(labels):
        p = next(p for p, label in enumerate(labels) if label in labels[:p])
        first = labels.index(labels[p])
        a = np.diagonal(a, 0, first, p)  # which comes last
        labels = [label for q, label in enumerate(labels) if q not in (first, p)] + [labels[p]]
    return a, labels


def _without_lone(operands, result) -> list[Any]:
    """The operands, each summed over the indices that neither the result nor another operand has."""
    every = [*result, *(label for _, labels in operands for label in labels)]
    return [_summed(a, labels, [label for label in labels if every.count(label) > 1]) for a, labels in operands]


def _summed(a, labels, kept) -> tuple[Array, list[Any]]:
    """a summed over the labels that are not kept."""
    lone = tuple(p for p, label in enumerate(labels) if label not in kept)
    return (np.sum(a, axis=lone), kept) if lone else (a, labels)


def _arranged(a, labels, result) -> Array:
    """The axes of a in the order of the result."""
    return a if list(labels) == list(result) else np.transpose(a, [labels.index(label) for label in result])


# -- two operands -------------------------------------------------------------------------------------------


def _next_pair(terms, sizes) -> tuple[int, int]:
    """The two operands whose product runs over the fewest index values."""
    pairs = [(i, j) for j in range(len(terms)) for i in range(j)]
    return min(pairs, key=lambda p: math.prod(sizes[label] for label in {*terms[p[0]], *terms[p[1]]}))


def pair(A, a, B, b, result) -> Array:
    """Σ A B over the labels that both operands have and the result lacks. No list repeats a label, and none is lone."""
    batch, summed, left, right = _kinds(a, b, result)
    if not summed or (batch and not left and not right):
        return contract(A, B, _subscripts(a, b, result))
    if _comes_first(right, left, result):
        A, a, left, B, b, right = B, b, right, A, a, left
        summed = [label for label in a if label in summed]
    sizes = dict(zip([*a, *b], [*A.shape, *B.shape], strict=True))
    A = _merged(_arranged(A, a, [*batch, *left, *summed]), len(batch), len(left), len(summed))
    B = _merged(_arranged(B, b, [*batch, *summed, *right]), len(batch), len(summed), len(right))
    y = matmul(A, B)
    shape = [sizes[label] for label in (*batch, *left, *right)]
    return _arranged(y if list(y.shape) == shape else np.reshape(y, shape), [*batch, *left, *right], result)


def _kinds(a, b, result) -> tuple[Any, Any, Any, Any]:
    """Batch and summed labels, which both operands have, and those of the left and of the right operand alone."""
    shared = [label for label in a if label in b]
    return (
        [label for label in shared if label in result],
        [label for label in shared if label not in result],
        [label for label in a if label not in b],
        [label for label in b if label not in a],
    )


def _comes_first(right, left, result) -> bool:
    own = [label for label in result if label in left or label in right]
    return bool(own) and own[0] in right and (not left or own[-1] in left)


def _merged(a, batch, rows, columns) -> Array:
    """a with its axes after the batch ones merged into two."""
    if rows == columns == 1:
        return a
    n = [math.prod(a.shape[batch : batch + rows]), math.prod(a.shape[batch + rows :])]
    return np.reshape(a, (*a.shape[:batch], *n))


def _subscripts(a, b, result) -> str:
    letters = dict(zip(dict.fromkeys([*a, *b]), string.ascii_letters, strict=False))
    a, b, result = ("".join(letters[label] for label in labels) for labels in (a, b, result))
    return f"{a},{b}->{result}"


def _split(subscripts) -> tuple[str, str, str]:
    operands, result = subscripts.split("->")
    return (*operands.split(","), result)


def _left(u, A, B, subscripts) -> Array:
    """y_r = Σ A_a B_b over the indices outside r, so Ā_a = Σ u_r B_b over those outside a. B̄ likewise."""
    a, b, result = _split(subscripts)
    return pair(u, [*result], B, [*b], [*a])


def _right(u, A, B, subscripts) -> Array:
    a, b, result = _split(subscripts)
    return pair(A, [*a], u, [*result], [*b])


def _contracted_stack(k, block) -> Any:
    """The same with one more index for the stack."""
    a, b, result = _split(block.args[2])
    free = next((letter for letter in string.ascii_letters if letter not in a + b), None)
    if free is None:
        return None
    args = list(block.args)
    args[block.argnum] = ArraySpec((k, *block.x.shape), block.x.dtype)
    terms = (free + a, b) if block.argnum == 0 else (a, free + b)
    return (*args[:2], f"{','.join(terms)}->{free}{result}"), {}


contract = bilinear(lambda A, B, subscripts: np.einsum(subscripts, A, B), _left, _right, "contract")
contract.on_stack = _contracted_stack
