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
    "made of numbers": [
        *calls(
            "np.full(<s>, <a><o>)",
            s="3 | (2, 4) | () | (0,) | [4]",
            a="O | V[0] | V | [V[0], V[1], 2, 3] | OF | Z[0, 0] | X",
            o=" | , float | , dtype=np.float32 | , dtype=int | , order='F' | , dtype=complex",
        ),
        *calls(
            "np.arange(<a>)",
            a=(
                "O | V[0] | 3 * O + 2 | 0, 3 * O | O, 4 | O, V[0] + 3, .25 | 4, 1, -O | OF, 3 | 0, 3 * OF, OF | "
                "O, 9, 2 | O, 4, dtype=np.float32 | O, 4, dtype=int | stop=3 * O | X | 0, 3, 0 * O | "
                "O, 9, step=V[0] | -O"
            ),
        ),
        *calls(
            "np.<f>(<a><o>)",
            f="linspace | geomspace | logspace",
            a="O, 3 | V[0], V[1] | V, W + 3 | OF, 2 | [V[0], 1], [2, V[1]] | -O, -3 * V[0] | Z[0, 0], 2 | F, X | O, 0",
            o=" | , 7 | , num=4, endpoint=False | , 5, dtype=np.float32 | , 1 | , 0 | , 6, axis=-1",
        ),
        *calls("np.logspace(<a>)", a="0, O, 5, base=V[0] | 0, 1, 4, base=V | O, 1, 4, True, 3.0 | 0, 1, base=OF"),
        *calls(
            "np.<f>[<a>]",
            f="r_ | c_",
            a=(
                "V | V, W | V[0], V[1], 3 | V, [V[0], 1], 2 | V[0]:V[1] + 3:5j | 0:3 * O:O | '0,2', V, W | X, X | "
                "F, X | VF, 1.5 | 'r', V, W | Z, X | '1,2,0', V, W | V, I | 1:4, V | V, X | 'bogus', V | O"
            ),
        ),
        *calls(
            "np.fromiter(<i>, <o>)",
            i="(a * 2 for a in V) | V | iter([V[0], 2]) | [OF, O] | (a for a in X)",
            o="float | np.float32 | dtype=complex | int | float, 2 | float, count=9",
        ),
        *calls("np.isscalar(<a>) * V", a="O | V[0] | V | [V[0]] | 2"),
        *calls(
            "np.vectorize(<f><o>)(<a>)",
            f="lambda a: a * 2 | lambda a: (a, a * a) | lambda a: 3 | lambda a: V[0] if a > 1 else a",
            o=" | , otypes=[np.float32] | , otypes='dd'",
            a="V | X | O | F | [V[0], 2] | EV | V[0] | I",
        ),
        *calls(
            "np.vectorize(<f>)(V, <a>)",
            f="lambda a, b: a * b | lambda a, b: a @ b, signature='(n),(n)->()' | lambda a, b: a + b, excluded=[1]",
            a="W | 2 | VF | X",
        ),
    ],
    "with functions of the user": [
        *calls(
            "np.piecewise(<a>, <c>)",
            a="V | X | F | O | [V[0], V[1]] | I",
            c=(
                "[V > .5], [lambda a: a * a, 2] | [V > .5, V <= .5], [O, 1.5] | [X > 1, X < .5], [1, lambda a: a**3, O]"
                " | V[0] > 0, [1, 2] | [F > 1], [lambda a: a * O] | [True], [lambda a, b: a * b, 1], V[0] | "
                "[I > 3], [O] | []"
            ),
        ),
        *calls(
            "np.apply_along_axis(<f>, <k>, <a>)",
            f="np.sum | lambda a: a * a[0] | np.sort | lambda a: a[0] > 0 | lambda a: np.outer(a, a) | lambda a: O",
            k="0 | -1 | 1 | 5",
            a="X | V | F | T | [[V[0], 1], [2, V[1]]] | I | E",
        ),
        *calls(
            "np.apply_over_axes(<f>, <a>, <k>)",
            f="np.sum | np.mean | np.max",
            a="X | T | F | V | [[V[0], 1], [2, V[1]]]",
            k="0 | [0, 1] | -1 | (1,) | 5 | [0, 2]",
        ),
    ],
    "NumPy's own code": [
        *calls(
            "np.<f>(<a><o>)",
            f="cov | corrcoef",
            a="X | V | V, W | X, X[::-1] | F | Z | [V[0], V[1], 2], [1, 2, V[2]] | N | E",
            o=(
                " | , rowvar=False | , bias=True | , ddof=0 | , dtype=np.float32 | , fweights=I[0] + 1 | "
                ", aweights=V | , aweights=[1, 2, 3, 4]"
            ),
        ),
        *calls(
            "np.ediff1d(<a><o>)",
            a="V | X | F | I | EV | [V[0], V[1], 3] | O",
            o=" | , to_end=V[0] | , to_begin=W | , 1.0, [2.0, O] | , to_end=Z[0]",
        ),
        *calls(
            "np.<f>(<a><o>)",
            f="polyder | polyint",
            a="V | X[0] | F[0] | [V[0], 2, 3] | O | Z[0]",
            o=" | , 2 | , m=0 | , -1",
        ),
        *calls("np.polyint(V<o>)", o=", 2, [1, O] | , k=O | , 1, V"),
        *calls(
            "np.<f>(<a>, <b>)",
            f="polyadd | polysub | polymul | polydiv",
            a="V | [V[0], 0, 1] | F[0] | I[1] | V * 0",
            b="W | [O, 2] | VF | 3 | V[:2] | [0, O, 1]",
        ),
        *calls(
            "np.polyfit(<a>, <o>)",
            a="V, W | np.arange(4.0), V | V, X.T | VF, F[0] | [1, 2, V[0] + 2, 4], [V[1], 2, 3, 1]",
            o="1 | 2 | 3 | 2, w=W | 1, full=True | 1, cov=True | 2, rcond=1e-3 | -1",
        ),
        *calls(
            "np.<f>(<a>)", f="poly | roots", a="V | [1, V[0], 2] | X[0] | F[0] | O | [0, V[0], V[1], 0] | Z[0] | EV | X"
        ),
        *calls(
            "np.histogram(<a><o>)",
            a=(
                "V, weights=W | V | V, 3 | X, [0, .5, O + 1, 2] | np.arange(4.0), weights=V | I, weights=X | "
                "V, 'auto' | F, 3"
            ),
            o=" | , density=True | , range=(0, 2)",
        ),
        *calls("np.histogram_bin_edges(<a>)", a="V | V, 4 | X, 3, (0, 2) | V, [0, O, 1] | V, 'fd'"),
        *calls("np.histogram2d(<a>)", a="V, W | V, W, 3 | V, W, weights=V | [0, 1, 2, 3], W, 2, density=True"),
        *calls("np.histogramdd(<a>)", a="X | X, 2 | X, 2, weights=V[:3] | X, 2, density=True"),
        *calls("np.<f>(V, <a>)", f="union1d | intersect1d | setdiff1d | setxor1d", a="W | V | [V[0], 9] | VF"),
        *calls("np.trim_zeros(<a>)", a="V | [0, V[0], 0, V[1], 0] | V * 0, 'f' | np.r_[0, V, 0], trim='b'"),
        *calls("np.<f>(<a>)", f="sort_complex | ix_", a="V | Z[0] | [V[0], V[1]] | V > .5 | X"),
        *calls(
            "np.<f>(X)",
            f="diag_indices_from | tril_indices_from | triu_indices_from",
        ),
        *calls("np.einsum_path('ij,jk', X, X.T)"),
        *calls("np.<f>(<a>)", f="diag_indices_from | tril_indices_from", a="S | F | V"),
        *calls("len(np.<f>(<a>)) * V", f="array2string | array_repr | array_str", a="X | F | V | O"),
    ],
    "stretches": [
        *calls(
            "np.<f>.reduceat(<a>, <i><o>)",
            f="add | multiply | maximum | minimum | logaddexp",
            a="V | X | F | T",
            i="[0, 2] | [0, 2, 1] | J | [1] | [0, 9] | [] | np.array([0, 0, 1])",
            o=" | , 0 | , axis=-1 | , axis=5",
        ),
        *calls("np.add.reduceat(F, [0, 1], <o>)", o="dtype=float | 1, float | dtype=int | axis=1, dtype=complex"),
        *calls(
            "np.bincount(<a>)",
            a=(
                "[0, 2, 2, 1], V | J, weights=X[:, 0] | J, V | [0, 1], [V[0], 2] | J, None, 5 | [0, 2, 2, 1], VF, 9 | "
                "I[0] | [], EV | [0, -1], V[:2] | [0, 2, 2, 1], weights=V, minlength=2 | J, Z[:, 0]"
            ),
        ),
        *calls(
            "np.lib.stride_tricks.sliding_window_view(<a>, <o>)",
            a="V | X | F | T | [V[0], 2, V[1]]",
            o="2 | 1 | (2, 2) | 2, 0 | 3, axis=-1 | (1, 2), axis=(0, 1) | 9 | (2, 1), (0, 0) | -1",
        ),
    ],
    "np.polynomial": [
        *calls(
            "np.polynomial.<f>(<a>)",
            f=(
                "polynomial.polyval | chebyshev.chebval | legendre.legval | hermite.hermval | hermite_e.hermeval | "
                "laguerre.lagval"
            ),
            a=(
                "V, W | X, V | V, X | V, X, tensor=False | 0.3, V | O, [1.0, 2, 3] | [V[0], 2], [1, O] | F, VF | "
                "Z, V | O, X"
            ),
        ),
        *calls(
            "np.polynomial.polynomial.<f>(<a>)",
            f="polyadd | polysub | polymul | polydiv",
            a="V, W | V, [1.0, O] | [V[0], 2, 0], V[:2] | F[0], 2 | X, V",
        ),
        *calls(
            "np.polynomial.legendre.<f>(<a>)",
            f="legder | legint | legmulx | legfromroots",
            a="V | X[0] | [V[0], 1, 2] | X",
        ),
        *calls("np.polynomial.chebyshev.<f>(<a>)", f="chebvander", a="V, 3 | X, 2 | O, 1 | [V[0], 2], 2 | V, -1"),
        *calls(
            "np.polynomial.polynomial.polyfit(<a>)", a="V, W, 2 | V, X.T, 1 | [0, 1, 2, 3], V, [0, 2] | V, W, 1, w=W"
        ),
        *calls("np.polynomial.<c>([1, 2, 3.5])(<a>)", c="Polynomial | Chebyshev | Legendre", a="V | X | O | V[0] | F"),
    ],
    "math": calls(
        "math.<f>(<a>) + O",
        f=(
            "sin | cos | tan | asin | acos | atan | sinh | cosh | tanh | asinh | acosh | atanh | exp | exp2 | expm1 | "
            "log | log2 | log10 | log1p | sqrt | cbrt | fabs | degrees | radians | erf | erfc | gamma | lgamma | "
            "floor | ceil | trunc | isnan | isfinite | isinf | atan2 | hypot | pow | fmod | remainder | copysign | "
            "isclose | fsum | prod | dist | modf"
        ),
        a="O | V[0] | OF | V[0], V[1] | O, 2 | 2, O | [O, V[0], 3] | [O, 1], [2, V[1]] | V | 0.3",
    ),
}
