"""Rows of rmad/primitives/products.py, einsum.py, matmul.py and polynomials.py."""

import numpy as np

from rmad.primitives.layers.affine import affine

from . import Case, real

PAIRS = (
    [(3,), (3,)],
    [(2, 3), (3,)],
    [(3,), (3, 4)],
    [(2, 3), (3, 4)],
    [(5, 2, 3), (3, 4)],
    [(2, 3), (5, 3, 4)],
    [(5, 2, 3), (5, 3, 4)],
    [(3,), (5, 3, 4)],
    [(5, 2, 3), (3,)],
    [(2, 1, 2, 3), (5, 3, 4)],
)
EINSUMS = {
    "ij,jk->ik": [(2, 3), (3, 4)],
    "ji,jk": [(3, 2), (3, 4)],
    "ij,kj->ki": [(2, 3), (4, 3)],
    "ii->i": [(3, 3)],
    "ii": [(3, 3)],
    "iji->j": [(3, 2, 3)],
    "ij->": [(2, 3)],
    "ba": [(2, 3)],
    "i,j->ji": [(2,), (3,)],
    "ij,j->ij": [(2, 3), (3,)],
    "ij,ij->i": [(2, 3), (2, 3)],
    "ij,ij->": [(2, 3), (2, 3)],
    "ij,jk->k": [(2, 3), (3, 4)],
    "ij,kl->": [(2, 3), (4, 2)],
    "bij,bjk->kbi": [(2, 3, 4), (2, 4, 2)],
    "bij,bj->ib": [(2, 3, 4), (2, 4)],
    "...ij,...jk->...ik": [(2, 3, 4), (5, 1, 4, 2)],
    "...ij,jk": [(2, 3, 4), (4, 2)],
    "i...,i...->...": [(2, 3, 4), (2, 1, 4)],
    "i...j->j...": [(2, 4, 3)],
    "ij,ij->ij": [(1, 3), (2, 3)],
    "ij,jk,kl->il": [(2, 3), (3, 4), (4, 2)],
    "i,i,i": [(3,), (3,), (3,)],
    "ij,ij,ij->i": [(2, 3), (2, 3), (2, 3)],
    "iij,jk,k->ik": [(2, 2, 3), (3, 4), (4,)],
    "a,ab,abc,c->abc": [(2,), (2, 3), (2, 3, 4), (4,)],
    ",i->i": [(), (3,)],
    "abcd,cd->ab": [(2, 3, 2, 3), (2, 3)],
    "bhqd,bhkd->bhqk": [(2, 2, 3, 4), (2, 2, 5, 4)],
}
LENGTHS = ((5, 3), (5, 2), (3, 5), (2, 5), (4, 4), (1, 3))


def args(shapes):
    return [real(*shape) for shape in shapes]


CASES = [
    Case("affine", affine, args=args([(2, 3), (3, 4), (4,)]), complex=True),
    Case("affine of a sequence", affine, args=args([(2, 5, 3), (3, 4), (4,)]), complex=True),
    Case("affine of one case", affine, args=args([(3,), (3, 4), (4,)]), complex=True),
    Case("affine, one bias for all", affine, args=args([(2, 3), (3, 4), (1,)]), complex=True),
    *[
        Case(f"matmul {a} {b}", lambda A, B: A @ B, args=args((a, b)), complex=True, covers=[np.matmul])
        for a, b in PAIRS
    ],
    *[Case(f"dot {a} {b}", np.dot, args=args((a, b)), complex=True, covers=[np.dot]) for a, b in PAIRS],
    Case(
        "dot of a number",
        lambda a, b: (np.dot(a, b), np.inner(b, a), b.dot(b)),
        args=[real(), real(3)],
        complex=True,
        covers=[np.dot, np.inner],
    ),
    Case(
        "matmul by constants",
        lambda A: [[1, 2], [3, 4]] @ (A @ [1, 0, 2]),
        args=[real(2, 3)],
        complex=True,
        float32=False,
    ),
    Case("inner", np.inner, args=[real(2, 3), real(4, 3)], complex=True, covers=[np.inner]),
    Case("inner of vectors", np.inner, args=[real(3), real(3)], complex=True, covers=[np.inner]),
    Case("outer", np.outer, args=[real(2, 3), real(4)], complex=True, covers=[np.outer]),
    Case("vdot", np.vdot, args=[real(2, 3), real(2, 3)], complex=True, covers=[np.vdot]),
    *[
        Case(
            f"tensordot, axes={axes}",
            lambda a, b, k=axes: np.tensordot(a, b, k),
            args=[real(3, 3, 3), real(3, 3, 3, 2)],
            complex=True,
            covers=[np.tensordot],
        )
        for axes in (1, 2, (1, 0), ((0, 1), (1, 0)), ([-1, 1], [0, 2]))
    ],
    Case("tensordot, axes=0", lambda a, b: np.tensordot(a, b, 0), args=[real(2), real(3, 2)], complex=True),
    Case("kron", np.kron, args=[real(2, 3), real(3, 2)], complex=True, covers=[np.kron]),
    Case(
        "kron of other dimensions",
        lambda a, b: (np.kron(a, b), np.kron(b, a)),
        args=[real(2), real(2, 3)],
        complex=True,
    ),
    Case("cross", np.cross, args=[real(4, 3), real(3)], complex=True, covers=[np.cross]),
    Case(
        "cross, axes",
        lambda a, b: (np.cross(a, b, axisa=0, axisb=1, axisc=0), np.cross(a, b.T, axis=0)),
        args=[real(3, 4), real(4, 3)],
        complex=True,
        covers=[np.cross],
    ),
    *[
        Case(f"einsum {s}", lambda *a, s=s: np.einsum(s, *a), args=args(shapes), complex=True, covers=[np.einsum])
        for s, shapes in EINSUMS.items()
    ],
    *[
        Case(
            f"einsum {s}, operand {k} alone",
            lambda x, s=s, k=k, shapes=shapes: np.einsum(
                s, *[x if j == k else np.ones(shape, np.float32) for j, shape in enumerate(shapes)]
            ),
            args=args([shapes[k]]),
        )
        for s, shapes in EINSUMS.items()
        if s in ("ij,jk->ik", "ij,ij->ij", "...ij,jk", "ij,kl->", "iij,jk,k->ik", "ij,jk,kl->il")
        for k in range(len(shapes))
    ],
    Case(
        "einsum of lists",
        lambda a, b: (
            np.einsum(a, [0, 1], b, [1, 2], [2, 0]),
            np.einsum(a, [3, 1], b, [1, 2]),
            np.einsum(a, [Ellipsis, 1], b, [1, 2], [2, Ellipsis]),
        ),
        args=[real(2, 3), real(3, 4)],
        complex=True,
        covers=[np.einsum],
    ),
    Case(
        "einsum, optimize",
        lambda a, b: np.einsum("ij,jk,lk", a, b, a @ b, optimize=True),
        args=[real(2, 3), real(3, 4)],
    ),
    *[
        Case(
            f"convolve and correlate, mode={mode}, {n} and {m}",
            lambda a, v, k=mode: (np.convolve(a, v, k), np.correlate(a, v, k)),
            args=[real(n), real(m)],
            complex=True,
            covers=[np.convolve, np.correlate],
        )
        for mode in ("full", "same", "valid")
        for n, m in LENGTHS
    ],
    Case("polyval", np.polyval, args=[real(4), real(2, 3)], complex=True, covers=[np.polyval]),
    Case("polyval at a number", lambda p: np.polyval(p, 1.5), args=[real(4)], complex=True),
    Case(
        "vander",
        lambda x: (np.vander(x), np.vander(x * 0.5, 2), np.vander(x, 5, increasing=True), np.vander(x, 1)),
        args=[real(3)],
        complex=True,
        covers=[np.vander],
    ),
]
for _name, _shapes in {"vecdot": [(4, 3), (3,)], "matvec": [(4, 2, 3), (4, 3)], "vecmat": [(2,), (4, 2, 3)]}.items():
    if hasattr(np, _name):
        _f = getattr(np, _name)
        CASES.append(Case(_name, _f, args=args(_shapes), complex=True, covers=[_f]))
_vecdot = lambda a, b: np.vecdot(a, b, axis=0)  # noqa: E731
CASES.append(Case("vecdot, axis", _vecdot, args=[real(3, 4), real(3, 1)], complex=True, covers=[np.vecdot]))
