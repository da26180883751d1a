"""Every row of the table of primitives through every check; and every handler has a row."""

from __future__ import annotations

import cases
import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import rmad
import rmad.primitives.scipy_ufuncs
from rmad.tracing import handlers as table
from rmad.tracing import traced, valued
from rmad.trees import tree

TABLE = cases.table()


def over(table):
    return pytest.mark.parametrize("case", [case for _, case in table], ids=[name for name, _ in table])


rows, drawn = over(TABLE), over([(name, case) for name, case in TABLE if case.any_shapes])

FIXED_SHAPES = {1: [[()], [(0,)], [(1, 3)]], 2: [[(), ()], [(0,), (1,)], [(3, 1), (1, 2)], [(2,), (3, 2)]]}


def shapes_of(case):
    """Strategy: broadcastable shapes for the free arguments of a row, 0-d and empty among them."""
    n = case.any_shapes
    return mutually_broadcastable_shapes(num_shapes=n, max_dims=3, min_side=0, max_side=3).map(
        lambda s: list(s.input_shapes)
    )


def fixed_shapes(case):
    """One set of shapes for the checks that need no variety."""
    return [(3, 1), (1, 2), (2,), ()][: case.any_shapes]


def edge_shapes(case):
    """0-d, empty and stretched: always tried, whatever hypothesis draws. One set of none where no shape is free."""
    n = case.any_shapes
    return FIXED_SHAPES.get(n, [[()] * n, [(0,)] * n, [(3, 1), *[(1, 2)] * (n - 1)]]) if n else [[]]


def variants(case):
    return (False, True) if case.complex else (False,)


def random_like(t, rng):
    return tree.map_leaves(lambda a: draw(a, rng), t)


def draw(a, rng):
    a = np.asarray(a)
    noise = rng.standard_normal(a.shape)
    noise = noise + 1j * rng.standard_normal(a.shape) if a.dtype.kind == "c" else noise
    return np.asarray(noise).astype(a.dtype if a.dtype.kind in "fc" else float)


def assert_same(a, b, what, rtol=1e-12):
    """Two trees with the same leaves: shape, then dtype, then value relative to the largest element."""
    a, b = tree.leaves(a, what), tree.leaves(b, what)
    assert len(a) == len(b), what
    for (path, p), (_, q) in zip(a, b, strict=True):
        p, q = np.asarray(p), np.asarray(q)
        assert p.shape == q.shape, f"{path}: {p.shape} != {q.shape}"
        assert p.dtype == q.dtype, f"{path}: {p.dtype} != {q.dtype}"
        scale = np.max(np.abs(q[np.isfinite(q)]), initial=0) if q.dtype.kind in "fc" else 0
        np.testing.assert_allclose(p, q, rtol=rtol, atol=rtol * float(scale), err_msg=path)


def check(case, xs, order=None):
    kept = [x.copy() for x in xs]
    order = case.order if order is None else order
    rmad.check_grads(lambda xs: case.f(*xs), xs, order=order, modes=case.modes, rtol=case.rtol)
    for x, before in zip(xs, kept, strict=True):
        np.testing.assert_array_equal(x, before, err_msg="an input was written into", strict=True)


# -- the rows ------------------------------------------------------------------------------------------


@rows
def test_derivatives(case):
    """Shapes and dtypes, adjoint identity to 1e-12, central differences, second order.

    On 0-d, empty and stretched inputs where shapes are free; on complex ones too where the row has them.
    """
    for shapes in edge_shapes(case):
        check(case, case.arrays(1, shapes), 1 if case.costly else None)
    if case.complex:
        check(case, case.arrays(2, fixed_shapes(case), as_complex=True))


@drawn
@settings(max_examples=max(2, settings.default.max_examples - 2))
@given(data=st.data())
def test_derivatives_on_drawn_shapes(case, data):
    seed, as_complex = data.draw(st.integers(0, 99)), data.draw(st.sampled_from(variants(case)))
    check(case, case.arrays(seed, data.draw(shapes_of(case)), as_complex))


@pytest.mark.slow
@rows
def test_derivatives_at_more_points(case):
    """Four points more, of which one would say nearly as much: only the values differ."""
    for seed in range(3, 7):
        for as_complex in variants(case):
            check(case, case.arrays(seed, fixed_shapes(case), as_complex))


@rows
def test_value_and_transforms(case):
    """The value is NumPy's own; jvp, vjp and the compiled linearization agree; v and u are not written into."""
    f = lambda xs: case.f(*xs)  # noqa: E731
    for as_complex in variants(case):
        rng = np.random.default_rng(3)
        xs = case.arrays(4, fixed_shapes(case), as_complex)
        plain = f(xs)
        y, lin = rmad.linearize(f, xs)
        assert_same(y, plain, "y")
        v, u = random_like(xs, rng), random_like(plain, rng)
        kept = tree.map_leaves(np.copy, (xs, u, v))
        if "fwd" in case.modes:
            y, Jv = rmad.jvp(f, xs, v)
            assert_same(y, plain, "y")
            assert_same(lin.Jv(v), Jv, "Jv")
            assert_same(lin.Jv(v), Jv, "Jv again")
        if "rev" in case.modes:
            y, pull = rmad.vjp(f, xs)
            assert_same(y, plain, "y")
            JTu = pull(u)
            assert_same(lin.JTu(u), JTu, "JTu")
            assert_same(lin.JTu(u), JTu, "JTu again")
        assert_same((xs, u, v), kept, "inputs", rtol=0)


@rows
def test_own_values_of_compositions(case, monkeypatch):
    """A composition has the value of NumPy's function that replaces its own, which stands on a GPU."""

    def compared(y, value, name):
        for own, numpys in zip(parts(traced.stop(y)), parts(value), strict=True):
            assert np.shape(own) == np.shape(numpys), name
            np.testing.assert_allclose(own, numpys, rtol=1e-9, atol=1e-9, err_msg=name)
        return with_value(y, value, name)

    def parts(y):
        return y if isinstance(y, list | tuple) else [y]

    with_value = valued.with_value
    monkeypatch.setattr(valued, "with_value", compared)
    for as_complex in variants(case):
        rmad.linearize(lambda xs: case.f(*xs), case.arrays(4, fixed_shapes(case), as_complex))


def fortran(x):
    return np.asfortranarray(x).reshape(x.shape)  # NumPy makes 0-d arrays 1-d here


def strided(x):
    """A view of every second element of an array twice as large."""
    big = np.zeros([2 * n for n in x.shape], x.dtype)
    view = big[(..., *(slice(None, None, 2) for _ in x.shape))]
    view[...] = x
    return view


def backwards(x):
    """The same values with negative strides."""
    every = (..., *(slice(None, None, -1),) * x.ndim)
    return x[every].copy()[every]


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def fortran_and_read_only(x):
    y = np.array(x, order="F")
    y.flags.writeable = False
    return y


def strided_and_backwards(x):
    """Every second element, from the last on."""
    every = (..., *(slice(None, None, -1),) * x.ndim)
    return strided(x[every])[every]


@rows
def test_layouts(case):
    """Fortran order, strides, negative strides and read-only inputs change nothing; nor do those of u and v."""
    in_layouts(case, fortran_and_read_only, strided_and_backwards)


@pytest.mark.slow
@rows
def test_layouts_one_at_a_time(case):
    in_layouts(case, fortran, strided, backwards, read_only)


def in_layouts(case, *layouts):
    if not case.layouts:
        return
    f = lambda xs: case.f(*xs)  # noqa: E731
    rng = np.random.default_rng(5)
    xs = case.arrays(6, fixed_shapes(case))
    y, lin = rmad.linearize(f, xs)
    v, u = random_like(xs, rng), random_like(y, rng)
    wanted = y, lin.Jv(v) if "fwd" in case.modes else None, lin.JTu(u) if "rev" in case.modes else None
    for layout in layouts:
        y, lin = rmad.linearize(f, tuple(layout(x) for x in xs))
        Jv = lin.Jv(tree.map_leaves(layout, v)) if "fwd" in case.modes else None
        JTu = lin.JTu(tree.map_leaves(layout, u)) if "rev" in case.modes else None
        assert_same((y, Jv, JTu), wanted, layout.__name__)


@rows
def test_float32(case):
    """Single precision in, single precision out: the value as NumPy gives it, Jv like it, JTu like x."""
    if not case.float32:
        return
    f = lambda xs: case.f(*xs)  # noqa: E731
    for as_complex in variants(case):
        rng = np.random.default_rng(7)
        xs = tuple(
            x.astype(np.complex64 if x.dtype.kind == "c" else np.float32)
            for x in case.arrays(8, fixed_shapes(case), as_complex)
        )
        plain = f(xs)
        y, lin = rmad.linearize(f, xs)
        assert_same(y, plain, "y", rtol=1e-5)
        v, u = random_like(xs, rng), random_like(plain, rng)
        if "fwd" in case.modes:
            assert_specs(lin.Jv(v), plain, "Jv")
            assert_specs(rmad.jvp(f, xs, v)[1], plain, "Jv in one sweep")
        if "rev" in case.modes:
            assert_specs(lin.JTu(u), xs, "JTu")
            assert_specs(rmad.vjp(f, xs)[1](u), xs, "JTu in one sweep")


def assert_specs(t, like, what):
    """Shapes and dtypes of two trees agree, where `like` holds floats."""
    for (path, a), (_, b) in zip(tree.leaves(t, what), tree.leaves(like, what), strict=True):
        assert np.shape(a) == np.shape(b), path
        if tree.is_differentiable(b):
            assert tree.dtype_of(a) == tree.dtype_of(b), path


# -- the rows themselves: are they sharp enough? -------------------------------------------------------------


class Slanted:
    """A linearization whose Jacobian is wrong by 0.05 %, the same in both directions."""

    def __init__(self, lin):
        self.lin, self._record = lin, lin._record

    def Jv(self, v):
        return tree.map_leaves(lambda a: (1.0005 * a).astype(a.dtype), self.lin.Jv(v))

    def JTu(self, u):
        return tree.map_leaves(lambda a: (1.0005 * a).astype(a.dtype), self.lin.JTu(u))


def test_every_row_notices_a_rule_that_is_wrong_by_a_twentieth_of_a_percent(monkeypatch):
    """In shapes and domain of every row; but where the derivative is zero there is nothing to notice."""

    def slanted(f, x):
        y, lin = rmad.linearize(f, x)
        return y, Slanted(lin)

    monkeypatch.setattr(rmad.check, "linearize", slanted)
    blind = []
    for name, case in TABLE:
        xs = case.arrays(10, fixed_shapes(case))
        try:
            rmad.check_grads(lambda xs, f=case.f: f(*xs), xs, order=1, modes=case.modes, rtol=case.rtol)
        except AssertionError:
            continue
        _, Jv = rmad.jvp(lambda xs, f=case.f: f(*xs), xs, random_like(xs, np.random.default_rng(11)))
        if any(np.any(a) for _, a in tree.leaves(Jv)):
            blind.append(name)
    assert not blind, "rows that would not notice a rule that is wrong by 0.05 %:\n" + "\n".join(blind)


# -- completeness --------------------------------------------------------------------------------------


def name_of(key):
    if isinstance(key, tuple):
        return ".".join(map(name_of, key))
    if isinstance(key, str):
        return key
    return f"{getattr(key, '__module__', None) or 'numpy'}.{getattr(key, '__name__', key)}"


def exercised(case, monkeypatch):
    """The keys of HANDLERS that are looked up while the row runs, and the primitives on its tape."""
    used = set()
    with monkeypatch.context() as patch:
        for key in [key for key in table.HANDLERS if isinstance(key, str)]:  # getitem, astype: called by name
            handler = table.HANDLERS[key]
            patch.setitem(table.HANDLERS, key, lambda *a, _k=key, _h=handler, **kw: used.add(_k) or _h(*a, **kw))
        lookup = traced.lookup
        patch.setattr(traced, "lookup", lambda key, what: used.add(key) or lookup(key, what))
        _, lin = rmad.linearize(lambda xs: case.f(*xs), case.arrays(9, fixed_shapes(case)))
    tapes = [lin._record.tape]
    if case.order > 1 and "fwd" in case.modes:  # rules may call primitives of their own, for the second derivative
        xs = case.arrays(9, fixed_shapes(case))
        v = random_like(xs, np.random.default_rng(12))
        tapes.append(rmad.linearize(lambda xs: rmad.jvp(lambda xs: case.f(*xs), xs, v)[1], xs)[1]._record.tape)
    primitives = {id(node.primitive) for tape in tapes for node in tape.nodes}
    return used | {key for key, handler in table.HANDLERS.items() if id(handler) in primitives}


def is_private(key):
    """A function of rmad's own that composite handlers call: covered by any row that puts it on a tape."""
    return isinstance(key, str) or (getattr(key, "__module__", None) or "").startswith("rmad")


CHECKED_ELSEWHERE = {  # primitives of the transforms and operators, not of an array function
    "checkpoint": "test_checkpointing.py",
    "correction": "test_implicit.py",
    "linear_map": "test_linear_map.py",
    "runge_kutta_stage": "test_ivp.py",
    "solved_system": "test_implicit.py",
    "operator": "test_operators_in_functions.py",
}


def without_row(covered):
    """Names of the handlers that no row covers; those of other tests do not count, nor do constants."""
    return sorted(
        name_of(key)
        for key, handler in table.HANDLERS.items()
        if key not in covered
        and (getattr(key, "__module__", None) or "numpy").startswith(("numpy", "scipy", "rmad"))
        and not getattr(handler, "constant", False)
        and getattr(handler, "name", None) not in CHECKED_ELSEWHERE
    )


def test_a_primitive_without_a_row_is_found(monkeypatch):
    monkeypatch.setattr(table, "HANDLERS", {np.spacing: np.spacing, (np.add, "at"): None, "item": None, np.sin: None})
    assert without_row({np.sin}) == ["item", "numpy.add.at", "numpy.spacing"]


def test_every_handler_has_a_row(monkeypatch):
    """A registered primitive without a row fails; so does a row that claims what it does not exercise."""
    if cases.CHOSEN != cases.FILES:
        pytest.skip("RMAD_CASES chooses some of the files")
    covered, idle = set(), []
    for name, case in TABLE:
        used = exercised(case, monkeypatch)
        covered |= {key for key in used if is_private(key)}
        covered |= set(case.covers)
        idle += [f"{name} covers {name_of(key)}" for key in case.covers if key not in used]
    missing = without_row(covered)
    assert not idle, "rows that never reach what they claim to cover:\n" + "\n".join(idle)
    assert not missing, "no row in tests/rmad/cases for:\n" + "\n".join(missing)


COVERAGE = {
    np: """
        abs absolute fabs negative positive reciprocal sqrt cbrt square exp exp2 expm1 log log2 log10 log1p sin cos tan
        arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh sinc deg2rad rad2deg degrees radians angle real imag
        conj conjugate real_if_close nan_to_num clip add subtract multiply divide true_divide power float_power maximum
        minimum fmax fmin mod remainder fmod hypot arctan2 logaddexp logaddexp2 where copysign heaviside sign ldexp i0
        unwrap

        sum mean prod max min amax amin var std cumsum cumprod trace average ptp diff gradient median percentile
        quantile nansum nanmean nanmax nanmin nanvar nanstd nanprod cumulative_sum trapezoid

        matmul dot inner outer tensordot einsum kron cross vdot vecdot matvec vecmat convolve correlate interp polyval
        vander

        reshape ravel transpose matrix_transpose permute_dims swapaxes moveaxis rollaxis squeeze expand_dims
        broadcast_to broadcast_arrays atleast_1d atleast_2d atleast_3d concatenate stack hstack vstack dstack
        column_stack block append
        split array_split hsplit vsplit dsplit tile repeat roll rot90 flip fliplr flipud pad diag diagonal triu tril
        full linspace sort partition take take_along_axis choose select compress insert delete resize
        meshgrid unstack argsort argmax
    """,
    np.linalg: """
        vector_norm matrix_norm multi_dot matrix_power norm solve inv pinv det slogdet cholesky eig eigh svd qr lstsq
        eigvals eigvalsh svdvals tensorsolve
    """,
    np.fft: """
        fft ifft rfft irfft fft2 ifft2 rfft2 irfft2 fftn ifftn rfftn irfftn fftshift ifftshift hfft ihfft
    """,
    scipy.special: """
        erf erfc erfinv erfcinv gamma gammaln rgamma digamma psi polygamma beta betaln betainc gammainc gammaincc expit
        logit i0 i1 iv ive j0 j1 jn y0 y1 yn log_expit xlogy xlog1py entr rel_entr kl_div ndtr ndtri log_ndtr exprel i0e
        i1e k0 k1 zeta hyp2f1 erfcx dawsn
    """,
    rmad: "logsumexp softmax log_softmax multigammaln solve_triangular cho_solve expm sqrtm",
}
"""The names that plain NumPy code may use: they are differentiable in both modes and to second order."""

NEWER = {"matvec", "vecmat", "cumulative_sum", "unstack"}  # not in every NumPy that rmad runs on
UFUNCS = {"zeta": scipy.special._ufuncs._zeta}  # plain functions over a ufunc of another name
OURS = {"polygamma"}  # SciPy's is no ufunc and takes no traced array; rmad has one


@pytest.mark.parametrize(("module", "name"), [(m, name) for m, names in COVERAGE.items() for name in names.split()])
def test_coverage(module, name):
    """Every name that is promised has a handler (rmad's own functions are called as they are)."""
    if module is rmad or name in OURS:
        assert callable(getattr(rmad, name))
    elif hasattr(module, name) or name not in NEWER:
        f = UFUNCS.get(name) or getattr(module, name)
        assert f in table.HANDLERS, f"{name_of(f)} has no handler"
