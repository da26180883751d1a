"""Rearrangements, joins, selections and methods: see the table in `same_as_numpy`."""

from __future__ import annotations

from same_as_numpy.table import calls, listed

ROWS = {
    "shape": [
        *calls(
            "np.reshape(<a>, <s>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            s=(
                "-1 | (4, 3) | (2, -1) | () | (-1, -1) | (5,) | [4, 3] | (12,) | np.array([4, 3]) | "
                '(-1,), order="F" | (-1,), order="A" | 12 | (4, 3), copy=True | (4, 3), "F" | '
                '(2, 6), order="bogus" | (0,) | (1, 1, 1) | None'
            ),
        ),
        *calls(
            "np.<f>(<a><o>)",
            f="squeeze",
            a="X | F | T | V | O | E | EV | ONE | C",
            o=" | , 0 | , axis=-1 | , axis=() | , axis=(0, 1) | , axis=5 | , axis=np.int64(0) | , axis=1",
        ),
        *calls(
            "np.expand_dims(<a>, <o>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            o="0 | -1 | (0, 2) | 5 | (0, 0) | [0, 1] | np.int64(0) | () | -5",
        ),
        *calls(
            "np.<f>(<a>)",
            f=(
                "ravel | transpose | atleast_1d | atleast_2d | atleast_3d | matrix_transpose | fliplr | flipud | "
                "flip | rot90 | copy | ndim | size | shape | broadcast_arrays | squeeze | permute_dims | "
                "iscomplexobj | isrealobj"
            ),
            a="X | F | T | V | O | E | EV | ONE | C",
        ),
        *calls(
            "np.ravel(<a>, <o>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            o="'F' | order='A' | 'K' | 'bogus'",
        ),
        *calls(
            "np.transpose(<a>, <o>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            o="None | (1, 0) | [1, 0] | (0, 0) | (-1, 0) | (0,) | (2, 0, 1) | () | 0 | np.array([1, 0]) | (5, 1)",
        ),
        *calls(
            "np.<f>(<a>, <o>)",
            f="swapaxes | moveaxis | rollaxis",
            a="X | T | V | O",
            o=(
                "0, 1 | -1, 0 | 0, 5 | np.int64(0), np.int64(1) | 0, 0 | 2, 0 | 1, 2 | [0, 1], [1, 0] | "
                "(0, 1), (-1, -2) | [0, 1], [0] | 1.0, 0"
            ),
        ),
        *calls(
            "np.<f>(<a>, <o>)",
            f="flip",
            a="X | T | V | O | E",
            o="0 | (0, 1) | -1 | 5 | None | axis=np.int64(0) | () | (0, 0) | [0] | axis=1",
        ),
        *calls(
            "np.roll(<a>, <o>)",
            a="X | T | V | O | E",
            o=(
                "1 | -2 | (1, 2), (0, 1) | 1, 0 | 1, axis=(0, 1) | [1, 2], axis=(0, 1) | (1, 2), axis=0 | 1, 5 | "
                "1.0 | np.int64(1) | np.array([1, 1]), (0, 1) | 1, axis=np.int64(0) | (1, 2) | [1, 2] | 0"
            ),
        ),
        *calls(
            "np.rot90(<a>, <o>)",
            a="X | T | V",
            o="1 | 2 | -1 | 4 | k=1, axes=(1, 0) | 1, (0, 2) | 1, (0, 0) | 1, [0, 1] | 1, (0, 1, 2) | 1.5",
        ),
        *calls(
            "np.broadcast_to(<a>, <o>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            o="(3, 4) | (2, 3, 4) | [3, 4] | 4 | () | (5,) | (3, 4), subok=True | np.int64(4) | (0, 4) | (-1, 4)",
        ),
        *calls(
            "np.tile(<a>, <o>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            o="2 | (2, 1) | [1, 2] | 0 | (2, 2, 2) | np.array([2, 1]) | () | -1 | 1.5 | np.int64(2)",
        ),
        *calls(
            "np.repeat(<a>, <o>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            o=(
                "2 | 2, 0 | [1, 2, 0], 0 | [1, 2, 3, 4], axis=1 | [1, 2], 0 | 0 | -1 | 2, 5 | np.int64(2) | J, 0 | "
                "2.0 | 1.5 | [2] | [[1, 2, 0]], 0 | 2, axis=None | 2, np.int64(0)"
            ),
        ),
        *calls(
            "np.resize(<a>, <o>)",
            a="X | F | T | V | O | E | EV | ONE | C",
            o="5 | (2, 3) | () | 0 | [2, 2] | (3, 4) | -1 | (2, -1) | np.int64(3)",
        ),
        *calls(
            "np.<f>(<a><o>)",
            f="broadcast_arrays",
            a="X, V | X, 2 | X, [1, 2, 3, 4] | O, O | X, D | V, X[:, :1], 1.5 | OF, 1",
            o="",
        ),
        *calls(
            "np.meshgrid(<a><o>)",
            a="V, W | V | V, [1, 2] | O, V | V, 2 | X, V | V, V, V | E, V",
            o=" | , indexing='ij' | , sparse=True | , copy=False | , indexing='bogus'",
        ),
        *listed(
            "np.meshgrid() | np.atleast_1d(V, 2) | np.atleast_2d(V, [1]) | np.atleast_3d(O, X) | np.atleast_1d(2, OF)"
        ),
        *calls(
            "np.<f>_like(<a><o>)",
            f="zeros | ones | empty",
            a="X | F | O | E | C",
            o=', shape=(2,) | , dtype=int | , dtype="f4"',
        ),
        *calls(
            "np.full_like(<a>, <o>)",
            a="X | F | O | E | C | I",
            o=(
                "2 | 2.5 | O | X | X[0] | 2j | 1.5, dtype=np.float32 | O, shape=(2, 2) | O, int | V[:3] | [1, 2] | "
                "np.nan | 'a' | O, order=\"F\" | 2, shape=2"
            ),
        ),
    ],
    "linspace": [
        *calls(
            "np.linspace(<a>, <o>)",
            a="O | OF | V | VF | 0 | C[0]",
            o=(
                "1 | 2.5, 5 | O | V, 3 | 2, num=4, endpoint=False | 2, 3, retstep=True | 2, 3, dtype=np.float32 | "
                "2, 1 | 2, 0 | O, 3, axis=-1 | 2, -1 | 2, 2.5 | OF, 4 | O, 1, retstep=True | "
                "VF, 4, True, False, None, 1 | 2, 3, dtype=int | 2, np.int64(3) | W, 3, axis=5 | "
                "O, 1, endpoint=False, retstep=True"
            ),
        ),
        *calls(
            "np.<f>(<a>, <o>)",
            f="logspace | geomspace",
            a="O | OF | V",
            o="1 | 2., 5 | 2., 3, endpoint=False | O + 1, 4",
        ),
    ],
    "join": [
        *calls(
            "np.<f>(<a><o>)",
            f="row_stack | concatenate | concat | stack | vstack | hstack | dstack | column_stack",
            a=(
                "[X, X] | (X, F) | [F, F] | [V, W] | [V, [1, 2, 3, 4]] | [VF, [1, 2, 3, 4]] | [VF, [1.5]] | [O, O] | "
                "[O, 1] | [OF, 2] | [OF[()], 2.5] | [X] | X | T | [X, V] | [X, E] | [] | [X, X[:2]] | [E, E] | "
                "[X, C] | [VF, J] | [V, 1] | O | [VF, 1j * W] | [H, F]"
            ),
            o=(
                " | , axis=0 | , axis=-1 | , axis=1 | , axis=None | , axis=5 | , axis=np.int64(0) | "
                ', dtype=np.float32 | , dtype=np.float32, casting="no" | , dtype=int | '
                ', dtype=int, casting="unsafe" | , axis=(0,) | , dtype=complex | , axis=1.0'
            ),
        ),
        *calls(
            "np.append(<a><o>)",
            a="X, X | V, 1 | V, [1, 2] | F, 1.5 | F, [1.5] | O, O | X, V | VF, J | [1, 2], V | E, E | 1, OF",
            o=" | , axis=0 | , axis=1 | , axis=-1 | , axis=None | , axis=5 | , axis=np.int64(0)",
        ),
        *calls(
            "np.block(<a>)",
            a=(
                "[X, X] | [[X, X], [X, X]] | [[X], [F]] | [V, W] | [V, 1] | [O, O] | [[X, V]] | [[X, V[:3, None]]] | "
                "X | [] | [[]] | [[V], W] | (V, W) | [[1, OF]] | [OF, 2] | [[[X]]] | [VF, [1., 2.]] | "
                '[[VF], [np.ones(4, "f4")]] | 2'
            ),
        ),
        *calls(
            "np.<f>(<a>, <o>)",
            f="split | array_split | hsplit | vsplit | dsplit",
            a="X | T | V | O | E",
            o=(
                "2 | 3 | [1, 2] | [1, 9] | (1,) | [] | 0 | -1 | 2.0 | 1.5 | np.array([1, 2]) | np.int64(2) | [-1] | "
                "[2, 1]"
            ),
        ),
        *calls(
            "np.<f>(<a>, <o>)",
            f="split | array_split",
            a="X | T",
            o="2, axis=1 | 2, 1 | 2, axis=-1 | 2, axis=5 | [1, 3], axis=np.int64(1) | 4, axis=1 | 3, 2",
        ),
        *calls(
            "np.unstack(<a><o>)",
            a="X | T | V | O | E",
            o=" | , axis=1 | , axis=-1 | , axis=5 | , axis=np.int64(0)",
        ),
    ],
    "index": [
        *calls(
            "np.take(<a>, <i><o>)",
            a="X | V | F | O | E | T",
            i=(
                "0 | [0, 1] | [[0, 1]] | -1 | 9 | [9, -9] | J | np.int64(1) | [] | 1.0 | [1.0] | True | M4 | X | "
                "np.array(1) | range(2)"
            ),
            o=(
                " | , 0 | , axis=1 | , axis=-1 | , axis=5 | , axis=None | , axis=0, mode='wrap' | , mode='clip' | "
                ", mode='bogus' | , np.int64(0) | , axis=()"
            ),
        ),
        *calls(
            "np.take_along_axis(<a>, <i><o>)",
            a="X | V",
            i=(
                "np.argsort(X, axis=1) | J | [0, 1] | np.array([[0, 1]]) | np.array([[0], [1], [5]]) | "
                "np.array([[0.]]) | np.array([[0]]) | M | np.array([[-1], [0], [1]])"
            ),
            o=", 0 | , axis=1 | , axis=-1 | , axis=None | , axis=5 | ",
        ),
        *calls(
            "np.compress(<c>, <a><o>)",
            c="B | [True, False] | M | [0, 1, 1] | True | [True] * 9 | X > 1 | M.ravel()",
            a="X | V | O",
            o=" | , 0 | , axis=1 | , axis=5 | , axis=-1",
        ),
        *calls(
            "np.extract(<c>, <a>)",
            c="M | M4 | X > 1 | [1, 0] | True | X | [True] * 20",
            a="X | V | O",
        ),
        *calls(
            "np.delete(<a>, <o>)",
            a="X | V | O | E",
            o=(
                "0 | [0, 1] | slice(1, 3) | -1 | 9 | B, 0 | M4, 1 | 0, 0 | [1], axis=1 | 1.0 | [] | 0, 5 | "
                "np.int64(1), axis=np.int64(0) | [0, 0], 0 | slice(None), axis=1 | True | [9], 0"
            ),
        ),
        *calls(
            "np.insert(<a>, <o>)",
            a="X | V | F | O",
            o=(
                "0, 5 | 1, 2.5 | [0, 2], [1., 2.] | 1, V, 0 | 1, 9., axis=1 | -1, O | 99, 1 | [0], [1, 2] | 1, 1j | "
                "[0, 1], 3, 1 | slice(0, 2), 7 | 1.5, 2 | 1, V[:3], axis=1 | 1, [[1], [2], [3]], axis=1 | 0, 1, 5 | "
                "M4, 1 | [], []"
            ),
        ),
        *calls(
            "<a>[<i>]",
            a="X | V | O | T | E | F",
            i=(
                "0 | -1 | 1: | ::2 | ... | None | () | [0, 1] | [[0, 1], [1, 0]] | J | M | M4 | True | False | 9 | "
                "0, 1 | 0, 1, 2 | :, [0, 1] | [0, 1], [1, 0] | 1.0 | 'a' | [] | np.int64(1) | np.array(1) | "
                "np.array([1.0]) | :, 9 | ..., 0 | None, 0 | [0], :, None | np.array([], int) | O > 0 | range(2) | "
                "(0,) | [True, False, True] | -9 | slice(0, 9, 3) | np.True_ | 0:0 | [0, 9] | {} | X"
            ),
        ),
        *listed("X.mT | V.mT | T.mT | X.real | C.real | C.imag | X.imag | X.flat[0] | np.ix_(J, J)"),
    ],
    "pad": [
        *calls(
            "np.pad(<a>, <w><o>)",
            a="X | V | F | O | E | T",
            w=(
                "1 | (1, 2) | ((1, 2), (0, 1)) | [(1, 1)] | 0 | -1 | ((1, 2),) | (1, 2, 3) | 1.5 | np.int64(1) | "
                "{0: 1} | {-1: (1, 2)} | {5: 1} | 7"
            ),
            o=(
                " | , 'constant' | , constant_values=2 | , 'constant', constant_values=(1, 2.5) | "
                ", constant_values=((1, 2), (3, 4)) | , mode='edge' | , 'reflect' | , 'symmetric' | , 'wrap' | "
                ", 'mean' | , 'maximum' | , 'minimum' | , 'median' | , 'linear_ramp' | "
                ", 'linear_ramp', end_values=3 | , 'mean', stat_length=2 | , 'reflect', reflect_type='odd' | "
                ", 'symmetric', reflect_type='odd' | , 'bogus' | , 'edge', constant_values=1 | , 'empty' | "
                ", constant_values=O | , 'mean', stat_length=0 | , 'maximum', stat_length=((1, 2), (2, 1)) | "
                ", 'linear_ramp', end_values=(1.5, 2) | , constant_values=np.nan | , constant_values=2j | "
                ", 'median', stat_length=2"
            ),
        ),
    ],
    "methods": [
        *calls(
            "<a>.<m>",
            a="X | F | O | C | X[0, 0] | E",
            m=(
                "sum() | sum(0) | sum(axis=1, keepdims=True) | mean() | mean(axis=np.int64(0)) | var() | std(0) | "
                "std(ddof=1) | var(dtype=np.float32) | max() | min(1) | prod() | cumsum() | cumprod(0) | trace() | "
                "ptp() | ravel() | flatten() | reshape(-1) | reshape(2, 6) | reshape((2, 6)) | reshape([2, 6]) | "
                'reshape(2, 6, order="F") | transpose() | transpose(1, 0) | transpose((1, 0)) | transpose([1, 0]) | '
                "swapaxes(0, 1) | squeeze() | copy() | astype(np.float32) | astype(complex) | astype(int) | "
                'astype("f4") | astype(np.float32, copy=False) | astype(int, casting="safe") | '
                'astype("f4", "C", "same_kind") | conj() | conjugate() | round() | round(2) | round(decimals=1) | '
                "argmax() | argmin(0) | argsort() | argsort(axis=0) | any() | all(0) | nonzero() | clip(.5, 1) | "
                "clip(max=1) | dot(V) | diagonal() | repeat(2) | repeat(2, 0) | take([0, 1]) | take(0, axis=1) | "
                "compress([True, False]) | searchsorted(.5) | choose([1, 2]) | "
                "sum(dtype=np.float32) | sum(where=M) | mean(where=M) | max(initial=0, where=M) | tobytes() | "
                "item() | view() | fill(1) | sum(axis=5) | min(where=M) | prod(axis=np.int64(1)) | dot(2) | nbytes | "
                "strides | flags.c_contiguous | dtype | shape | size | ndim | itemsize | __len__() | "
                "mean(dtype=np.float32) | byteswap() | argpartition(1) | sort() | bogus | "
                "__complex__() | cumsum(axis=1, dtype=np.float32)"
            ),
        ),
    ],
    "diagonals": [
        *calls(
            "np.<f>(<a><o>)",
            f="diag | diagonal | trace | diagflat | triu | tril",
            a="X | V | T | O | E | F | C | EV | S",
            o=" | , 1 | , -1 | , 9 | , -9 | , 1.5 | , np.int64(1)",
        ),
        *calls(
            "np.<f>(<a><o>)",
            f="diagonal | trace",
            a="X | T | F",
            o=", 0, 1, 0 | , axis1=0, axis2=0 | , 0, 0, 5 | , axis1=-1, axis2=0 | , offset=1 | , 0, 0, 1",
        ),
        *calls(
            "np.linalg.<f>(<a><o>)",
            f="diagonal | trace",
            a="X | T | V | F | O",
            o=" | , offset=1 | , offset=-9",
        ),
        *calls(
            "np.linalg.trace(<a>, dtype=<d>)",
            a="X | F | T",
            d="np.float32 | float | complex | int",
        ),
    ],
}
