"""Products, grids, transforms and linear algebra: see the table in `same_as_numpy`."""

from __future__ import annotations

from same_as_numpy.table import calls

ROWS = {
    "products": [
        *calls(
            "np.<f>(<a>)",
            f=(
                "dot | inner | outer | vdot | matmul | kron | cross | vecdot | matvec | vecmat | linalg.outer | "
                "linalg.cross | linalg.vecdot | linalg.matmul | linalg.tensordot | tensordot | convolve | "
                "correlate | polyval | linalg.multi_dot"
            ),
            a=(
                "X, V | V, V | V, W | X, X.T | X, X | T, X | T, V | O, X | X, 2 | 2, X | F, 2 | F, 2.5 | OF, 2.5 | "
                "O, O | F, VF | F, V | C, V | V, C.T | Z, Z.T | X, [1, 2, 3, 4] | F, [1, 2, 3, 4] | [1, 2, 3], X | "
                "E, V[:3] | EV, EV | E.T, E | X, T | T, T | V, 2 | X, I.T | H, V | D[0], D[1] | C[0], C[1] | "
                "VF, [1, 2, 3, 4] | VF, VF | S, S | D[0], [1, 2, 3] | X, 'a' | X, None | C, C | V[:2], D[0] | D, D | "
                "D[0, :2], D[1, :2]"
            ),
        ),
        *calls(
            "np.tensordot(<a>, <o>)",
            a="X, X | T, T | X, V | V, V | F, X | F, F | O, X | T, X | C, C",
            o=(
                "0 | 1 | 2 | 3 | -1 | ([0], [0]) | (0, 0) | ((0, 1), (0, 1)) | ([0, 1], [1, 0]) | [[1], [1]] | "
                "axes=(1, 1) | axes=([-1], [-1]) | axes=np.int64(1) | axes=([0, 0], [0, 1]) | axes=(5, 0) | "
                "axes=([0, 1], [0]) | 1.0 | axes=()"
            ),
        ),
        *calls(
            "np.einsum(<s>)",
            s=(
                "'ij,j', X, V | 'ij->', X | 'ij->j', F | 'ii', S | 'ii->i', S | 'ij,ij->', X, X | "
                "'ij,kj->ik', F, X | 'i,i', V, W | 'i,i', VF, V | '...', X | '...j,j', T, V | 'ij,jk,kl', S, S, S | "
                "'ij,jk,kl', S, S, S, optimize=True | 'ij,jk', X, X | 'ij', X | 'ji', X | 'ij,j', X | "
                "'ij,j,k', X, V | X, [0, 1], V, [1] | X, [0, 1], V, [1], [0] | 'ij,j->i', F, [1, 2, 3, 4] | "
                "',ij', 2, X | ',ij', 2.5, F | 'i->ii', V | 'ij->ijk', X | 'i,j', V, 2 | "
                "'ij,j->i', F, VF, dtype=np.float64 | 'ij,j->i', X, V, dtype=np.float32 | "
                "'ij,j->i', X, V, dtype=np.float32, casting='unsafe' | '', O | ',', O, OF | 'ij->', E | 'ij->', C | "
                "'ij,ij->i', C, Z | 'i j , j', X, V | 'IJ,J', X, V | 'ij...,j', X, V | "
                "'bij,bjk->bik', T, np.moveaxis(T, 1, 2) | 'a1', V | 'i->j', V | 'ij,j->i', X, V, order='F' | "
                "'ij->ji', X, optimize='greedy' | 'bij->b', T | 'bij,bij->b', T, T | 'i,j->ij', VF, V"
            ),
        ),
        *calls(
            "np.matmul(<o>)",
            o=(
                "X, V, dtype=np.float32 | F, VF, dtype=np.float64 | X, V, casting='unsafe', dtype='f4' | "
                "T, np.swapaxes(T, -1, -2), axes=[(-2, -1), (-2, -1), (-2, -1)] | X, V, keepdims=True"
            ),
        ),
        *calls(
            "np.vecdot(<o>)",
            o=(
                "X, X, axis=0 | X, V, keepdims=True | T, T, axis=1 | X, X, axis=5 | C, C | F, 2 | "
                "X, X, dtype=np.float32"
            ),
        ),
        *calls(
            "np.cross(<o>)",
            o=(
                "D, D, axis=1 | D.T, D.T, axis=0 | D, D, axisc=0 | D, D[0] | D, [1, 2, 3] | "
                'D.astype("f4"), [1, 2, 3] | X, X | D, D, 1, 1, 0 | D.T, D, axisa=0 | D, D, axis=5 | O, O'
            ),
        ),
        *calls(
            "np.<f>(<o>)",
            f="convolve | correlate",
            o=(
                "V, W, 'same' | V, W, 'valid' | V, W, mode='full' | V, W, 'bogus' | V, EV | EV, V | V, [1, 2] | "
                "VF, [1, 2] | VF, [1, .5] | V, 2 | O, V | X, V | V, C[0], 'same' | C[0], V, 'full' | VF, V | "
                "VF, VF | V, [1, 2, 3, 4, 5, 6], 'valid' | V, [1, 2, 3, 4, 5, 6], 'same'"
            ),
        ),
    ],
    "polynomials": [
        *calls(
            "np.polyval(<p>, <x>)",
            p=(
                "[1, 2, 3] | [1., 2.] | V | VF | X | [] | [1, OF] | J | O | 2 | np.poly1d([1, 2, 3]) | (1, 2.5, 3) | "
                "C[0] | [np.float64(1), 2]"
            ),
            x="X | F | VF | O | OF | 2 | [1, 2] | C | 2.5 | E | OF[()] | I",
        ),
        *calls(
            "np.vander(<x><o>)",
            x="V | VF | [1, 2, 3] | X | O | EV | C[0] | J",
            o=" | , 2 | , N=0 | , 3, True | , increasing=True | , N=-1 | , 2.0 | , np.int64(2)",
        ),
        *calls(
            "np.<f>(<a>)",
            f="poly | roots | polyadd | polymul | polyder | polyint | polydiv | polysub | trim_zeros",
            a="V | VF, V | V, W | V, [1, 2]",
        ),
    ],
    "grid": [
        *calls(
            "np.diff(<a><o>)",
            a="X | V | F | O | E | T | [1, 2, 4]",
            o=(
                " | , 1 | , 2 | , n=0 | , n=-1 | , n=9 | , axis=0 | , 1, 0 | , axis=5 | , prepend=0 | , append=1.5 | "
                ", prepend=O | , prepend=X, axis=0 | , append=[[1], [2], [3]] | , prepend=[1] | , n=1.5 | "
                ", np.int64(1), np.int64(0) | , prepend=1j"
            ),
        ),
        *calls(
            "np.ediff1d(<a><o>)",
            a="X | V | F",
            o=" | , 1 | , to_begin=O",
        ),
        *calls(
            "np.trapezoid(<y><o>)",
            y="X | V | F | VF | O | E | T | [1, 2, 3, 4] | C | I",
            o=(
                " | , dx=2 | , dx=.5 | , V | , x=[0, 1, 2, 4] | , axis=0 | , dx=O | , X | , axis=5 | , V[:3] | "
                ", V, axis=0 | , x=W, axis=-1 | , dx=np.float64(.5) | , VF | , J, axis=0 | , 2 | , dx=[1, 2, 3] | "
                ", dx=2j"
            ),
        ),
        *calls(
            "np.gradient(<a><o>)",
            a="X | V | F | O | E | T | H | C | VF | [1, 2, 4., 7]",
            o=(
                " | , 2 | , .5 | , V | , axis=0 | , axis=(0, 1) | , edge_order=2 | , 2., 3. | , V, axis=1 | "
                ", [0, 1, 3, 4], axis=-1 | , O | , axis=5 | , edge_order=3 | , V[:2], axis=1 | , axis=None | "
                ", edge_order=2, axis=1 | , W, axis=-1, edge_order=2 | , np.float64(2) | "
                ", [1., 2., 3., 4.], axis=1 | , [1, 2], axis=0 | , axis=[0] | , axis=(0,) | "
                ", np.array([0, 1, 2, 3]), axis=-1"
            ),
        ),
        *calls(
            "np.interp(<x>, <xp>, <fp><o>)",
            x="V | O | X | .5 | [.1, 5] | VF | EV | OF | O[()] | A | 2",
            xp="[0., .5, 1.] | np.sort(V) | [.5] | [] | [0, 1, 2]",
            fp="[1., 2., 4.] | W | [3.] | [] | D[0] | [1, 2, 3] | C[0, :3] | V",
            o=" | , left=0 | , right=-1 | , period=1. | , period=0 | , 1, 2 | , left=O",
        ),
    ],
    "fft": [
        *calls(
            "np.fft.<f>(<a><o>)",
            f="fft | ifft | rfft | irfft | hfft | ihfft",
            a="X | F | C | V | O | E | T | EV | ONE | VF",
            o=(
                " | , 3 | , n=6 | , 5, 0 | , axis=0 | , norm='ortho' | , norm='forward' | , norm='bogus' | , n=0 | "
                ", n=-1 | , axis=5 | , n=2.5 | , n=np.int64(3), axis=np.int64(0) | , n=1 | , axis=-1, n=7 | "
                ', None, -1, "backward" | , out=None'
            ),
        ),
        *calls(
            "np.fft.<f>(<a><o>)",
            f="fftn | ifftn | rfftn | irfftn | fft2 | ifft2 | rfft2 | irfft2",
            a="X | F | C | V | O | E | T",
            o=(
                " | , (2, 3) | , s=(2, 3), axes=(0, 1) | , axes=(0,) | , axes=(-2, -1) | , norm='ortho' | , (2,) | "
                ", s=[2, 5], axes=[1, 0] | , axes=(5,) | , axes=() | , s=(2, None), axes=(0, 1) | "
                ", s=(2, -1), axes=(0, 1) | , axes=(0, 0) | , norm='bogus' | , s=(2, 3), axes=(0,) | "
                ", s=(), axes=() | , axes=0 | , s=2 | , out=None"
            ),
        ),
        *calls(
            "np.fft.<f>(<a><o>)",
            f="fftshift | ifftshift",
            a="X | V | T | O | F",
            o=" | , 0 | , axes=(0, 1) | , axes=5 | , axes=np.int64(0) | , [0] | , axes=()",
        ),
    ],
    "linalg": [
        *calls(
            "np.linalg.<f>(<a>)",
            f=(
                "inv | det | slogdet | cholesky | eigvalsh | eigh | eig | eigvals | svd | svdvals | qr | pinv | "
                "matrix_rank | cond | norm | vector_norm | matrix_norm | matrix_transpose | trace | diagonal | "
                "tensorinv"
            ),
            a=(
                "S | SF | SC | X | X.T | T | V | O | E | np.stack([S, S]) | S[:0, :0] | S * np.nan | "
                "np.zeros((2, 2)) * S[0, 0] | F | S[:1, :1] | EV"
            ),
        ),
        *calls(
            "np.linalg.norm(<a><o>)",
            a="X | V | F | VF | C | T | O | E | EV | S | A | OF | C[0] | ONE | I * O",
            o=(
                " | , 1 | , 2 | , -2 | , np.inf | , -np.inf | , 0 | , 3 | , .5 | , 'fro' | , 'nuc' | , 'bogus' | "
                ", -1 | , axis=0 | , axis=1 | , axis=(0, 1) | , axis=[0, 1] | , axis=(1, 0) | , 1, 0 | "
                ", 2, axis=-1 | , axis=0, keepdims=True | , keepdims=True | , np.inf, (0, 1) | , axis=5 | "
                ", axis=(0, 0) | , axis=np.int64(0) | , ord=None, axis=(-2, -1) | , 1, None | , axis=(0,) | "
                ", 3, axis=0, keepdims=True | , 'fro', axis=(0, 1), keepdims=True | , axis=1.0 | , 0, 0 | "
                ", 'nuc', axis=(0, 1) | , 'fro', 0 | , np.float64(2) | , -3 | , axis=(0, 1, 2) | , axis=() | "
                ", 2, (0, 1), True | , np.int64(1), axis=1"
            ),
        ),
        *calls(
            "np.linalg.vector_norm(<a><o>)",
            a="X | V | F | C | T | O | E | EV",
            o=(
                " | , axis=0 | , axis=(0, 1) | , keepdims=True | , ord=1 | , ord=np.inf | , ord=0 | , ord=3 | "
                ", axis=-1, keepdims=True | , ord='fro' | , axis=[0, 1] | , axis=(0, 1), ord=1, keepdims=True | "
                ", axis=5 | , ord=-np.inf, axis=0"
            ),
        ),
        *calls(
            "np.linalg.matrix_norm(<a><o>)",
            a="X | F | T | V | C | E | S",
            o=(
                " | , keepdims=True | , ord=1 | , ord=-1 | , ord=2 | , ord=-2 | , ord='nuc' | , ord=np.inf | "
                ", ord=3 | , ord='nuc', keepdims=True | , ord=-np.inf, keepdims=True"
            ),
        ),
        *calls(
            "np.linalg.cond(<a><o>)",
            a="S | SF | X | np.stack([S, S]) | SC | V | S[:0, :0] | S * 0 | S * np.nan",
            o=" | , 1 | , 2 | , -2 | , 'fro' | , np.inf | , -1 | , 'nuc' | , 'bogus' | , -np.inf | , None",
        ),
        *calls(
            "np.linalg.<f>(<a>, <b>)",
            f="solve | lstsq | tensorsolve",
            a="S | SF | SC | X | np.stack([S, S]) | V | X.T | S * 0 | F | F.T",
            b=(
                "V[:3] | VF[:3] | S | [1, 2, 3] | V | [1, 2, 3, 4] | X | [[1], [2], [3]] | C[:, 0] | 2 | "
                "np.ones((2, 3)) | np.ones((2, 3, 1)) | [1., 2., 3.] | J | X.T | E"
            ),
        ),
        *calls(
            "np.linalg.solve([[2, 1], [1, 3]], <b>)",
            b="V[:2] | X[:2] | VF[:2]",
        ),
        *calls(
            "np.linalg.lstsq([[2, 1], [1, 3], [1, 1]], <b>)",
            b="V[:3] | X | VF[:3]",
        ),
        *calls(
            "np.linalg.lstsq(<a>, <o>)",
            a="X.T | X",
            o="V, None | V, -1 | V, 1e-3 | V[:3], rcond=0.5 | X.T, rcond=-1 | C[0]",
        ),
        *calls(
            "np.linalg.matrix_power(<a>, <o>)",
            a="S | SF | SC | X | np.stack([S, S]) | V | S[:0, :0] | S * 0",
            o="0 | 1 | 2 | 3 | 5 | -1 | -2 | np.int64(4) | 2.0 | True | 'a' | 7",
        ),
        *calls(
            "np.linalg.pinv(<a><o>)",
            a="X | S | F | np.stack([S, S]) | E | C | V",
            o=(
                " | , 1e-3 | , rcond=.1 | , rtol=1e-3 | , hermitian=True | , rtol=None | , rcond=.1, rtol=.1 | "
                ", rcond=[.1]"
            ),
        ),
        *calls(
            "np.linalg.svd(<a><o>)",
            a="X | S | F | np.stack([S, S]) | C | T",
            o=(
                ", False | , full_matrices=False | , compute_uv=False | , False, False | , hermitian=True | , True | "
                ", full_matrices=False, hermitian=True"
            ),
        ),
        *calls(
            "np.linalg.<f>(<a><o>)",
            f="eigh | eigvalsh",
            a="S | SF | SC | np.stack([S, S])",
            o=", 'U' | , UPLO='L' | , 'bogus' | , 'u'",
        ),
        *calls(
            "np.linalg.qr(<a><o>)",
            a="X | X.T | S | F | C | np.stack([S, S]) | E",
            o=" | , 'r' | , mode='reduced' | , 'complete' | , 'raw' | , 'bogus'",
        ),
        *calls(
            "np.linalg.cholesky(<a><o>)",
            a="S | SF | SC | -S",
            o=" | , upper=True | , upper=False",
        ),
        *calls(
            "np.linalg.tensorinv(<a><o>)",
            a=(
                "np.reshape(np.eye(4) + np.outer(V, V), (2, 2, 2, 2)) | "
                "np.reshape(np.eye(4) + np.outer(V, V), (4, 2, 2)) | S | X"
            ),
            o=" | , 1 | , ind=0 | , ind=1 | , ind=-1 | , 1.5",
        ),
        *calls(
            "np.linalg.tensorsolve(<a><o>)",
            a=(
                "np.reshape(np.eye(4) + np.outer(V, V), (2, 2, 2, 2)), np.reshape(V, (2, 2)) | "
                "np.reshape(np.eye(4) + np.outer(V, V), (4, 2, 2)), V"
            ),
            o=" | , axes=(0,) | , (1,) | , axes=(0, 2) | , axes=(5,)",
        ),
        *calls(
            "np.linalg.multi_dot(<a>)",
            a=(
                "[S, S, S] | [V[:3], S, V[:3]] | (X, X.T) | [X] | [X, X] | [F, F.T, V[:3]] | [X, [1, 2, 3, 4]] | "
                "[] | [O, O] | [S, V[:3]] | [X.T, S, X, V]"
            ),
        ),
    ],
}
