"""Elementwise functions and operators: see the table in `same_as_numpy`."""

from __future__ import annotations

from same_as_numpy.table import calls, listed

ROWS = {
    "comparisons": [
        *calls(
            "np.<f>(<a>, <b>)",
            f=(
                "not_equal | less_equal | greater | greater_equal | logical_or | logical_xor | ldexp | isclose | "
                "allclose | array_equal | array_equiv | isin | may_share_memory | shares_memory"
            ),
            a="X | F | O | C | E | VF",
            b="X | 2 | 1.5 | VF | J | [1, 2, 3, 4] | 'f4' | None | np.float32(2) | X[:2]",
        ),
        *calls("np.<f>(<a>)", f="isposinf | isneginf | isscalar", a="X | C | O | A | OF | E"),
        *calls("np.<f>(<a>, X)", f="isclose | allclose | logical_xor | ldexp", a="1 | [1, 2, 3, 4] | M | X[0] | I[0]"),
        *calls("np.ones(2, np.<f>(<a>))", f="result_type | common_type | min_scalar_type", a="X | F | VF | F, VF | O"),
        *calls(
            "np.ones(2, np.result_type(<a>, <b>))", a="X | VF | O", b="2 | 1.5 | VF | J | 'f4' | 2j | np.float32(2)"
        ),
        *listed("np.can_cast(X.dtype, F.dtype) | np.can_cast(F.dtype, 'f8')"),
        *calls(
            "np.astype(<a>, <d>)", a="X | F | C | O", d="np.float32 | complex | int | 'f2' | float, copy=False | 'x'"
        ),
        *calls("<v> in <a>", v="1.5 | O | X[0, 1] | 'a'", a="X | F | E | C"),
        *calls("np.full(<s>, <v>, like=<a>)", s="3 | (2, 2) | ()", v="2 | 1.5 | O | X", a="X | F | O"),
    ],
    "unary": [
        *calls(
            "np.<f>(<a>)",
            f=(
                "abs | absolute | fabs | negative | positive | sign | exp | exp2 | expm1 | log | log2 | log10 | "
                "log1p | sqrt | cbrt | square | reciprocal | sin | cos | tan | arcsin | arccos | arctan | sinh | "
                "cosh | tanh | arcsinh | arccosh | arctanh | deg2rad | rad2deg | degrees | radians | floor | ceil | "
                "trunc | rint | signbit | isnan | isfinite | isinf | conjugate | conj | spacing | logical_not | "
                "modf | frexp"
            ),
            a="X | F | C | H | V | E | O | OF | A | X[0,0] | OF[()]",
        ),
    ],
    "unary dtype": [
        *calls(
            "np.<f>(<a>, dtype=<d>)",
            f="exp | sqrt | abs | negative | square | sign | arctanh",
            a="X | F | C | O",
            d="np.float64 | np.float32 | complex | int | 'f2'",
        ),
        *calls(
            "np.<f>(X, <o>)",
            f="exp | sqrt",
            o=(
                "casting='no' | casting='unsafe', dtype='f4' | signature='d->d' | sig='f->f' | order='F' | "
                "subok=True | where=True | casting='bogus' | dtype='bogus'"
            ),
        ),
    ],
    "binary": [
        *calls(
            "np.<f>(<a>, <b>)",
            f=(
                "add | subtract | multiply | divide | true_divide | power | float_power | maximum | minimum | fmax | "
                "fmin | hypot | arctan2 | logaddexp | logaddexp2 | remainder | mod | fmod | copysign | heaviside | "
                "floor_divide | divmod | equal | less | logical_and | nextafter"
            ),
            a="X | F | C | O | OF | VF | X[0, 0] | OF[()]",
            b=(
                "2 | 2.5 | X | F | VF | I | O | OF | np.float32(2) | np.float64(2) | [1, 2, 3, 4] | [1.5, 2, 3, 4] | "
                "X[:2] | 2j | True | H | [[1.]] | 0 | .5 | -1 | np.array(2) | np.array(2.) | 'a' | None"
            ),
        ),
        *calls(
            "np.<f>(<b>, <a>)",
            f=(
                "add | subtract | multiply | divide | true_divide | power | float_power | maximum | minimum | fmax | "
                "fmin | hypot | arctan2 | logaddexp | logaddexp2 | remainder | mod | fmod | copysign | heaviside | "
                "floor_divide | divmod | equal | less | logical_and | nextafter"
            ),
            a="X | F | OF | O",
            b="2 | 2.5 | I | np.float32(2) | np.float64(2) | [1, 2, 3, 4] | 3 | True | np.array(2) | 0 | 'a' | None",
        ),
    ],
    "operators": [
        *calls(
            "<a> <o> <b>",
            o="+ | - | * | / | ** | % | // | @ | < | ==",
            a="X | F | OF | O | VF | C | V",
            b=(
                "2 | 2.5 | 0.5 | -1 | 0 | 1 | 3 | X | VF | I | J | O | OF | np.float32(2) | np.float64(2) | "
                "[1, 2, 3, 4] | 2j | True | np.array(2) | np.array(0.5) | np.int64(2) | -2 | 1.5 | 'a' | None | H | "
                "(1, 2, 3, 4)"
            ),
        ),
        *calls(
            "<b> <o> <a>",
            o="+ | - | * | / | ** | % | // | @ | < | ==",
            a="X | F | OF | O | C",
            b=(
                "2 | 2.5 | I | np.float32(2) | np.float64(2) | [1, 2, 3, 4] | 2j | True | np.array(2) | "
                "np.int64(2) | -2 | 'a' | None"
            ),
        ),
        *calls(
            "<o><a>",
            o="- | + | abs",
            a="(X) | (OF) | (O) | (C)",
        ),
        *calls(
            "divmod(<a>, <b>)",
            a="X | F | O",
            b=".7 | X | 2 | np.float32(.3)",
        ),
        *calls(
            "divmod(<b>, <a>)",
            a="X | F | O",
            b=".7 | 2 | np.float32(.3)",
        ),
        *calls(
            "round(<a>, 2)",
            a="X | O[()]",
        ),
    ],
    "choices": [
        *calls(
            "np.select(<l>, <c><d>)",
            l="[M, ~M] | [X > 1, X < .5] | [M4, ~M4] | [M] | [M, M, M] | [] | [I, M] | M | [True, M] | (M, ~M)",
            c=(
                "[F, 2] | [F, 2.5] | [X, F] | [X, X] | [F, np.float64(2)] | [F, 2j] | [X] | [F, I] | [OF, 1] | "
                "(X, X) | [X, [1, 2, 3, 4]] | [2, F] | [VF, F]"
            ),
            d=" | , 0 | , 1.5 | , F | , default=np.float64(1) | , X | , 1j | , np.array([1.])",
        ),
        *calls(
            "np.where(<c>, <a>, <b>)",
            c="M | M4 | True | I | [True, False, True, True] | X > 1 | X | None",
            a="F | X | 2 | OF | O | 2.5",
            b="F | 0 | 1.5 | np.float64(1) | I | [1, 2, 3, 4] | O | OF | 1j | J",
        ),
        *calls(
            "np.choose(<k>, <c><o>)",
            k="J | [0, 1, 2] | J + 1 | 1 | [[0], [1]]",
            c="[D[0], D[1], D[0]] | [D[0], F[0, :3], 2] | D | [D[0], 2., 3] | (F[0, :3], 1, 2)",
            o=" | , mode='wrap' | , mode='clip' | , mode='bogus'",
        ),
        *calls(
            "np.clip(<a>, <l>, <u>)",
            a="X | F | O | C | OF | I",
            l=".5 | None | 1 | np.float64(.5) | V | VF | [.1, .2, .3, .4] | np.inf | np.nan",
            u="1 | None | 1.5 | np.float32(1) | VF | np.nan | .2",
        ),
        *listed(
            "np.clip(X) | np.clip(X, min=.5) | np.clip(X, max=1, min=.5) | np.clip(X, .5, min=1) | "
            "np.clip(X, .5, 1, dtype=np.float32) | X.clip(.5, 1) | X.clip(max=1) | X.clip() | np.clip(X, 'a', 1)"
        ),
        *calls(
            "np.<f>(<a>)",
            f=(
                "real | imag | conj | angle | nan_to_num | real_if_close | isreal | iscomplex | iscomplexobj | i0 | "
                "sinc | unwrap | fix | round | around | copy"
            ),
            a="X | F | C | Z | V | O | OF | E | A | N | T",
        ),
        *calls(
            "np.nan_to_num(<a>, <o>)",
            a="N | NF | A | C | X | O",
            o="nan=1.5 | posinf=3 | copy=False | nan=np.float64(2) | 1 | nan=[1]",
        ),
        *calls(
            "np.angle(<a>, <o>)",
            a="X | C | Z | F | O",
            o="True | deg=True | deg=0",
        ),
        *calls(
            "np.unwrap(<a>, <o>)",
            a="X | V | F | O",
            o="axis=0 | discont=2 | period=2 | period=3.5 | axis=5 | axis=np.int64(0)",
        ),
        *calls(
            "np.piecewise(<a>, [<a> < 1, <a> >= 1], [0., 1.])",
            a="X | V",
        ),
    ],
    "special": [
        *calls(
            "sp.<f>(<a>)",
            f=(
                "erf | erfc | erfcx | erfinv | erfcinv | dawsn | ndtr | ndtri | log_ndtr | expit | logit | "
                "log_expit | entr | exprel | expm1 | log1p | exp2 | exp10 | cbrt | cosm1 | sindg | cosdg | tandg | "
                "cotdg | gamma | gammasgn | rgamma | gammaln | loggamma | psi | digamma | exp1 | expi | j0 | j1 | "
                "y0 | y1 | i0 | i1 | i0e | i1e | k0 | k1 | k0e | k1e | sinc | round | wofz | ndtri_exp | erfi | "
                "spence | ellipk | zetac"
            ),
            a="V | VF | O | OF | C[0] | E | H[0,0] | W",
        ),
        *calls(
            "sp.<f>(<a>)",
            f=(
                "erf | erfc | erfcx | erfinv | erfcinv | dawsn | ndtr | ndtri | log_ndtr | expit | logit | "
                "log_expit | gamma | expit"
            ),
            a="V, dtype=np.float32 | VF, dtype=np.float64",
        ),
        *calls(
            "sp.<f>(<a>)",
            f=(
                "xlogy | xlog1py | rel_entr | kl_div | huber | pseudo_huber | boxcox | boxcox1p | beta | betaln | "
                "gammainc | gammaincc | gammaincinv | gammainccinv | jv | yv | iv | ive | kv | kve | yn | kn | "
                "hankel1 | hankel2 | hyp0f1 | chdtr | chdtrc | pdtr | pdtrc | stdtr"
            ),
            a=(
                "2, V | 2, VF | 2., VF | 1.5, O | np.float32(2), VF | V, VF | VF, VF | [1, 2, 3, 4], VF | OF, 2 | "
                "VF, .5 | np.float64(2), VF | J[:1], VF | 'a', V"
            ),
        ),
        *calls(
            "sp.<f>(<a>)",
            f="betainc | betaincc | betaincinv | betainccinv | hyp1f1 | hyperu | fdtr | fdtrc | gdtr | gdtrc",
            a="2, 3, V | 2, 3, VF | 2., 3, OF | V, V, .5 | [1], 2, VF | np.float64(2), 3, VF",
        ),
        *calls("sp.<f>(<a>)", f="bdtr | bdtrc", a="1, 3, V | 2., 4, VF | 1, 3, O | np.float64(2), 3, V"),
        *calls(
            "sp.<f>(<a>)",
            f="hyp2f1 | logsumexp | softmax | log_softmax | polygamma | multigammaln | zeta | comb | factorial",
            a="1, 2, 3, VF | X | 1, V",
        ),
        *calls(
            "sp.<f>(<a>)",
            f=(
                "ellipkm1 | ellipe | ber | bei | ker | kei | berp | beip | kerp | keip | kelvin | wrightomega | airy | "
                "fresnel | sici | shichi | itj0y0 | iti0k0 | it2j0y0 | it2i0k0 | itairy | itstruve0 | "
                "it2struve0 | itmodstruve0 | lambertw"
            ),
            a="V | VF | C[0] | W",
        ),
        *calls(
            "sp.<f>(<a>)",
            f=(
                "eval_legendre | eval_chebyt | eval_chebyu | eval_chebyc | eval_chebys | eval_laguerre | "
                "eval_hermite | eval_hermitenorm | eval_sh_legendre | eval_sh_chebyt | eval_sh_chebyu | "
                "expn | struve | modstruve | "
                "jve | yve | hankel1e | hankel2e | pbdv | pbvv | pbwa | spherical_jn | spherical_yn | spherical_in | "
                "spherical_kn | pdtri"
            ),
            a="2, V | 2, VF | J[:1], VF",
        ),
        *calls(
            "sp.<f>(<a>)",
            f=(
                "ellipkinc | ellipeinc | ellipj | elliprc | agm | poch | binom | powm1 | inv_boxcox | inv_boxcox1p | "
                "owens_t | chdtri | chdtriv | stdtrit | stdtridf | pdtrik | tklmbda"
            ),
            a="2, V | 2., VF | VF, .5 | V, VF",
        ),
        *calls(
            "sp.<f>(<a>)",
            f=(
                "elliprd | elliprf | elliprg | voigt_profile | radian | gdtria | gdtrib | gdtrix | btdtria | btdtrib | "
                "fdtri | fdtridfd | nrdtrimn | nrdtrisd | bdtrik | bdtrin | nbdtrik | nbdtrin"
            ),
            a="2, 3, V | .4, .5, VF | V, V, .5",
        ),
        *calls(
            "sp.<f>(<a>)",
            f=(
                "eval_gegenbauer | eval_genlaguerre | lpmv | wright_bessel | log_wright_bessel | nbdtr | nbdtrc | "
                "bdtri | nbdtri"
            ),
            a="1, 3, V",
        ),
        *calls("sp.<f>(<a>)", f="chndtr | chndtrix | chndtrinc", a=".5, 3, V | V, 3, .5"),
        *calls("sp.airye(<a>)", a="V | VF | W"),
        *calls("sp.<f>(2, 3, 1.5, V)", f="eval_jacobi | eval_sh_jacobi | elliprj"),
    ],
}
