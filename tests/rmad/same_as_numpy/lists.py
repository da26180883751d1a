"""Arrays made of lists: see the table in `same_as_numpy`. The calls of every table, on lists, are tested as well."""

from __future__ import annotations

from same_as_numpy.table import calls

LISTS = (
    "[V[0], V[1]] | (V[0], V[1]) | [V, W] | [[V[0], 1], [2, V[1]]] | [V, [1, 2, 3, 4]] | [VF[0], 1.0] | [VF[0], 1] | "
    "[V[0], VF[0]] | [Z[0, 0], X[0, 0]] | [C[0, 0], 1] | X | F | O | OF | O[()] | V[0] | [O] | [O, V[0]] | list(V) | "
    "[V[0], [1]] | [V, V[:2]] | [[V[0]], V[1]] | [X, X] | [X[:, 0], I[:3, 1]] | [E, E] | [EV] | "
    "[(V[0], 2), [V[1], W[0]]] | [X.T, X.T] | X.T | np.array([V[0], V[1]], dtype=object) | "
    "[V[0], True] | [V[0], None] | [V[0], 'a'] | "
    "[A[1], A[3], A[5]]"
)

ROWS = {
    "arrays of lists": calls(
        "np.<f>(<a><o>)",
        f=("array | asarray | asanyarray | ascontiguousarray | asfortranarray | asarray_chkfinite | require"),
        a=LISTS,
        o=" | , dtype=float | , dtype=np.float32 | , dtype=complex | , dtype=int | , dtype=bool | , None | , 'f'",
    ),
    "axes of lists": calls("np.<f>(<a>)", f="atleast_1d | atleast_2d | atleast_3d", a=LISTS),
    "options of arrays of lists": calls(
        "np.array(<a>, <o>)",
        a=LISTS,
        o=(
            "ndmin=1 | ndmin=2 | ndmin=3, dtype=np.float32 | copy=False | copy=None | copy=True, order='F' | "
            "order='C' | order='bogus' | subok=True | dtype='bogus' | 'f', order='F', ndmin=3 | nonsense=1"
        ),
    ),
    "arguments by name": calls(
        "np.<f>(<a>)",
        f="array | asarray | ascontiguousarray | sum",
        a="object=[V[0], V[1]] | a=[V[0], V[1]] | a=V | object=V | dtype=float | ",
    ),
}
