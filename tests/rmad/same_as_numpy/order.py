"""Order statistics, searches and histograms: see the table in `same_as_numpy`."""

from __future__ import annotations

from same_as_numpy.table import calls, listed

ROWS = {
    "quantiles": [
        *calls(
            "np.<f>(<a>, <q><ax><m>)",
            f="quantile | percentile | nanquantile | nanpercentile",
            a="X | F | N | NF | EV | E | O | OF | H | T | C",
            q=(
                ".5 | .25 | [.1, .9] | np.array([.3, .5]) | 0 | 1 | np.float32(.3) | 1.5 | 50 | [[0.1], [.2]] | "
                "np.float64(.37) | [] | 'a' | O"
            ),
            ax=" | , axis=0 | , 1 | , axis=(0, 1), keepdims=True | , axis=5 | , axis=np.int64(0)",
            m="",
        ),
        *calls(
            'np.<f>(<a>, <q>, axis=0, method="<m>")',
            f="quantile | percentile | nanquantile | nanpercentile",
            a="X | F | N | T",
            q='.4 | [.1, .45] | np.array([.2, .9], "f4")',
            m=(
                "inverted_cdf | averaged_inverted_cdf | closest_observation | interpolated_inverted_cdf | hazen | "
                "weibull | linear | median_unbiased | normal_unbiased | lower | higher | midpoint | nearest | bogus"
            ),
        ),
        *calls(
            'np.quantile(<a>, .4, weights=<w>, method="inverted_cdf"<ax>)',
            a="X | F",
            w="X | V | np.ones(4)",
            ax=" | , axis=1",
        ),
    ],
    "order": [
        *calls(
            "np.<f>(<a><o>)",
            f="sort | argsort | argmax | argmin | nanargmax | nanargmin",
            a="X | F | C | N | T | E | EV | O | V | D | A",
            o=" | , axis=0 | , axis=-1 | , axis=None | , axis=5 | , axis=np.int64(0) | , axis=(0,)",
        ),
        *calls(
            "np.<f>(<a><o>)",
            f="argmax | argmin",
            a="X | V | O",
            o=", keepdims=True | , axis=0, keepdims=True",
        ),
        *calls(
            "np.sort(X, <o>)",
            o="kind='stable' | kind='mergesort' | stable=True | kind='bogus' | order='a' | -1, 'heapsort'",
        ),
        *calls(
            "np.<f>(<a>, <k><o>)",
            f="partition | argpartition",
            a="X | V | F | EV | O | T",
            k="1 | [0, 2] | (1,) | 9 | -1 | 1.5 | np.int64(1)",
            o=" | , axis=0 | , axis=None | , axis=5",
        ),
        *calls(
            "np.lexsort(<a>)",
            a="[X] | [V, W] | (V, W) | X | [V] | [V, [1, 2, 3, 4]] | [] | V | X, axis=0 | [V, V[:2]] | O",
        ),
        *calls(
            "np.unique(<a><o>)",
            a="X | D | V | O | EV | F | A | N",
            o=(
                " | , return_index=True | , return_inverse=True | , return_counts=True | , True, True, True | "
                ", equal_nan=False | , axis=0 | , axis=1 | , axis=5"
            ),
        ),
        *calls(
            "np.searchsorted(<a>, <v><o>)",
            a="V | [.1, .5, .9] | X | np.sort(V)",
            v=".5 | V | [.1, .2] | O | X",
            o=" | , side='right' | , 'right' | , side='bogus'",
        ),
        *calls(
            "np.digitize(<a>, <b>)",
            a="X | V | O",
            b="[.3, .6] | np.array([.3, .6]) | np.sort(V) | [.3, .1, .2]",
        ),
        *calls(
            "np.<f>(<a>)",
            f="nonzero | flatnonzero | argwhere | count_nonzero | any | all | unique_values",
            a="X | V | O | E | A | C",
        ),
        *calls(
            "np.<f>(<a>, axis=0)",
            f="any | all | count_nonzero",
            a="X | V | O | E",
        ),
        *listed(
            "np.unique_values(X) | np.unique_counts(X) | np.unique_inverse(D) | np.unique_all(D) | "
            "np.sort_complex(Z[0]) | np.sort_complex(V)"
        ),
    ],
    "histograms": [
        *calls(
            "np.<f>(<a><o>)",
            f="histogram | histogram_bin_edges",
            a="X | V",
            o=" | , 3 | , bins=[0., 1., 2.] | , range=(0, 1)",
        ),
        *listed(
            "np.bincount(J) | np.bincount(J, V[:3]) | np.cov(X) | np.corrcoef(X) | np.cov(X, rowvar=False) | "
            "np.cov(V, W) | np.cov(X, ddof=0)"
        ),
    ],
}
