"""Reductions and scans: see the table in `same_as_numpy`."""

from __future__ import annotations

from same_as_numpy.table import calls, listed

ROWS = {
    "reductions": [
        *calls(
            "np.<f>(<a><ax><k>)",
            f=(
                "sum | mean | prod | max | min | amax | amin | ptp | var | std | median | nansum | nanmean | "
                "nanprod | nanmax | nanmin | nanvar | nanstd | nanmedian"
            ),
            a="X | F | C | T | E | EV | O | OF",
            ax=(
                " | , 0 | , axis=-1 | , axis=1 | , axis=None | , axis=(0, 1) | , axis=(-1,) | , axis=np.int64(1) | "
                ', axis=() | , axis=5 | , axis=-3 | , axis=(0, 0) | , axis=[0, 1] | , axis=1.0 | , axis="a" | '
                ", axis=True | , axis=np.array(0)"
            ),
            k=" | , keepdims=True",
        ),
    ],
    "nan": [
        *calls(
            "np.<f>(<a><ax><k>)",
            f=(
                "nansum | nanmean | nanprod | nanmax | nanmin | nanvar | nanstd | nanmedian | median | max | min | "
                "sum | mean | std"
            ),
            a="N | NF",
            ax=" | , axis=0 | , axis=1 | , axis=(0, 1)",
            k=" | , keepdims=True",
        ),
    ],
    "dtype": [
        *calls(
            "np.<f>(<a>, <ax>dtype=<d>)",
            f=(
                "sum | mean | prod | var | std | nansum | nanmean | nanprod | nanvar | nanstd | cumsum | cumprod | "
                "nancumsum | nancumprod | trace | cumulative_sum"
            ),
            a="X | F | C | Z | VF | O",
            ax=" | axis=0, ",
            d=(
                "np.float32 | np.float64 | 'f4' | np.complex64 | complex | float | int | bool | np.float16 | "
                "object | 'foo'"
            ),
        ),
    ],
    "where": [
        *calls(
            "np.<f>(<a><ax>, where=<w><i>)",
            f=(
                "sum | mean | prod | max | min | var | std | nansum | nanmean | nanprod | nanmax | nanmin | nanvar | "
                "nanstd"
            ),
            a="X | F | C | N",
            ax=" | , axis=0 | , axis=1, keepdims=True",
            w="M | M4 | M0 | True | False | M.tolist() | M4[None] | np.True_ | J > 0",
            i=" | , initial=2 | , initial=np.float64(.5)",
        ),
    ],
    "initial": [
        *calls(
            "np.<f>(<a><ax>, initial=<i>)",
            f="sum | prod | max | min | nansum | nanprod | nanmax | nanmin",
            a="X | F | C | E | EV | O",
            ax=" | , axis=0 | , axis=1",
            i="0 | 1.5 | 2j | None | np.float32(1.5) | -np.inf | 'a' | np.array(2.) | X[0, 0] | O",
        ),
    ],
    "ddof": [
        *calls(
            "np.<f>(<a><ax>, ddof=<d><k>)",
            f="var | std | nanvar | nanstd",
            a="X | F | C | N | O | EV",
            ax=" | , axis=0",
            d="1 | 3 | 12 | 20 | 1.5 | -1 | 'a'",
            k=" | , keepdims=True",
        ),
        *calls(
            "np.<f>(<a>, correction=<d>)",
            f="var | std | nanvar | nanstd",
            a="X | F",
            d="0 | 1 | 1.5",
        ),
        *calls(
            "np.<f>(<a>, axis=0, mean=<m>)",
            f="var | std | nanvar | nanstd",
            a="X | F | Z | N",
            m="np.mean(X, axis=0, keepdims=True) | 0 | X[0] | X[:1] | np.ones((1, 4)) | 1.5",
        ),
        *calls(
            "np.<f>(X, ddof=1, correction=1)",
            f="var | std",
        ),
    ],
    "positional": [
        *listed(
            "np.sum(X, 0, np.float32) | np.sum(X, 0, None, None, True) | np.sum(X, 0, None, None, True, 2.0) | "
            "np.sum(X, 0, None, None, True, 2.0, M) | np.mean(X, 0, np.float32, None, True) | "
            "np.var(X, 0, np.float32, None, 1, True) | np.std(X, 0, None, None, 1, True) | "
            "np.max(X, 0, None, True) | np.max(X, 0, None, True, 2.0, M) | "
            "np.prod(X, 0, None, None, True, 2.0, M) | np.cumsum(X, 0, np.float32) | "
            "np.median(X, 0, None, False, True) | np.nanmax(N, 0, None, True, 1.0, M) | np.sum(a=X, axis=0) | "
            "np.sum(axis=0, a=X) | np.mean(keepdims=True, a=X) | np.var(a=X, ddof=1) | np.ptp(a=X, axis=1) | "
            "np.concatenate(arrays=[X, X]) | np.where(condition=M, x=X, y=X) | np.clip(a=X, a_min=.5, a_max=1) | "
            "np.clip(X, .5, None) | np.clip(X, a_max=1.) | np.reshape(X, shape=(4, 3)) | "
            "np.reshape(a=X, shape=(4, 3)) | np.dot(a=X, b=X.T) | np.tensordot(a=X, b=X, axes=2) | "
            "np.linalg.norm(x=X) | np.quantile(a=X, q=.5) | np.quantile(q=.5, a=X) | "
            "np.interp(x=V, xp=W, fp=V) | np.cross(a=D, b=D) | np.sum(X, foo=1) | np.sum() | "
            "np.sum(X, 0, None, None, True, 2.0, M, 3) | np.where(M, X) | np.where(M, X, X, X) | "
            "np.max(X, bogus=3) | np.linalg.norm(X, bogus=3) | np.var(X, bogus=3) | np.median(X, bogus=1) | "
            "np.reshape(X) | np.full_like(X) | np.trapezoid(x=V, y=V) | np.gradient(X, axis=0, edge_order=2) | "
            "np.diff(X, 1, -1, 0, 1) | np.transpose(X, axes=(1, 0)) | np.squeeze(a=ONE) | "
            "np.moveaxis(T, source=0, destination=1) | np.linalg.solve(a=S, b=S) | np.linalg.inv(a=S) | "
            "np.sin(x=X) | np.add(X, X, where=True) | np.take(X, axis=1, indices=[0]) | "
            "np.repeat(X, axis=1, repeats=2)"
        ),
    ],
    "scans": [
        *calls(
            "np.<f>(<a><ax>)",
            f="cumsum | cumprod | nancumsum | nancumprod",
            a="X | F | C | T | E | EV | O | OF | N",
            ax=(
                " | , 0 | , axis=-1 | , axis=None | , axis=np.int64(1) | , axis=5 | , axis=(0,) | , axis=() | "
                ", axis=[0] | , axis=1.0"
            ),
        ),
        *calls(
            "np.<f>(<a><o>)",
            f="cumulative_sum | cumulative_prod",
            a="X | V | F | E | EV | O",
            o=(
                " | , axis=0 | , axis=-1 | , include_initial=True | , axis=0, include_initial=True | "
                ", axis=1, dtype=np.float32 | , axis=7 | , axis=np.int64(0), include_initial=True | "
                ", axis=(0,) | , axis=() | , axis=(0, 1) | , axis=(0,), include_initial=True"
            ),
        ),
    ],
    "average": [
        *calls(
            "np.average(<a><o>)",
            a="X | F | V | O | C | E | T | VF | [1, 2, 3, 4] | I",
            o=(
                " | , axis=0 | , 1 | , weights=V | , weights=V, axis=1 | , axis=-1, weights=[1, 2, 3, 4] | "
                ", weights=X | , returned=True | , axis=0, returned=True | , weights=X, returned=True | "
                ", axis=1, weights=VF, returned=True | , keepdims=True | , axis=0, keepdims=True | , axis=5 | "
                ", weights=V[:2], axis=1 | , axis=(0, 1) | , axis=(0, 1), weights=X | , weights=np.zeros((3, 4)) | "
                ", weights=X, keepdims=True | , None, V | , axis=1, weights=np.float32([1, 2, 3, 4]) | "
                ", axis=np.int64(0) | , axis=(1, 0), weights=X.T | , weights=2"
            ),
        ),
    ],
    "ufunc methods": [
        *calls(
            "np.<f>.reduce(<a><o>)",
            f="add | multiply | maximum | minimum | logaddexp",
            a="X | F | V | O | E | C | VF",
            o=(
                " | , 1 | , axis=None | , axis=(0, 1) | , keepdims=True | , axis=0, dtype=np.float32 | , axis=5 | "
                ", initial=2 | , where=M | , axis=1, where=M, initial=0 | , 0, None, None, True | "
                ", axis=np.int64(0) | , axis=() | , axis=[0] | , axis=0, initial=None"
            ),
        ),
        *calls(
            "np.<f>.reduce(<a><o>)",
            f="subtract | divide | fmax | fmin | hypot | logical_and | power",
            a="X | V",
            o=" | , 1",
        ),
        *calls(
            "np.<f>.accumulate(<a><o>)",
            f="add | multiply | maximum | minimum | subtract",
            a="X | V | F | O | E",
            o=" | , 1 | , axis=-1 | , 0, np.float32 | , axis=5 | , axis=None | , axis=(0,) | , dtype=np.float32",
        ),
        *calls(
            "np.<f>.outer(<a>)",
            f="add | multiply | maximum | power | subtract",
            a=(
                "V, W | X, V | V, 2 | VF, 2.5 | 2, OF | V, [1, 2] | VF, [1, 2] | [1, 2], VF | O, O | "
                "V, W, dtype=np.float32"
            ),
        ),
        *calls(
            "np.<f>.<m>",
            f=(
                "arctan2 | atan2 | copysign | divide | true_divide | equal | float_power | floor_divide | fmax | "
                "fmin | fmod | greater | greater_equal | heaviside | hypot | ldexp | less | less_equal | logaddexp2 | "
                "logical_and | logical_or | logical_xor | mod | nextafter | not_equal | pow | power | remainder | "
                "subtract | add | multiply | maximum | minimum | logaddexp"
            ),
            m=(
                "reduce(X, 1) | reduce(V, keepdims=True) | reduce(X, initial=0.5) | reduce(array=X, axis=(0, 1)) | "
                "reduce(X, where=M, initial=1) | reduce(E) | accumulate(X, 1) | accumulate(array=F) | accumulate(E) | "
                "reduceat(V, [0, 2]) | reduceat(X, [0, 1], 1) | reduce(N) | accumulate(N, 1)"
            ),
        ),
    ],
}
