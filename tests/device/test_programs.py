"""Whole programs on CuPy's arrays, as a user writes them: functions, operators, optimizers that stand in no table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.special as sc
from moving import assert_equal, to_device

import nn
import optim
import rmad
import rmad.stats as st
from rmad.primitives import integer_orders

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(3)
A, M, V = RNG.standard_normal((4, 4)), RNG.standard_normal((3, 4)), RNG.standard_normal(4)
T3 = np.sin(np.arange(36.0)).reshape(3, 3, 4)
P, T = RNG.uniform(0.2, 0.9, (3, 4)), RNG.standard_normal((2, 3, 4))


# -- functions -----------------------------------------------------------------------------------------------------


def divergence(p):
    q = np.exp(p) / np.sum(np.exp(p), 1, keepdims=True)
    return np.sum(q * np.log(q / (p + 1)))


def attention(q):
    s = q @ q.T / 2.0
    e = np.exp(s - np.max(s, axis=1, keepdims=True))
    return np.sum((e / e.sum(1, keepdims=True) @ q) ** 2)


def spectrum_of_a_signal(x):
    z = np.fft.fft(x * (1 + 0.5j))
    return np.sum(np.abs(z) ** 2 * np.cos(np.angle(z))) + np.sum(np.fft.irfft(np.fft.rfft(x) * 0.4) ** 3)


def eigenvalues(a):
    w, vectors = np.linalg.eigh(a @ a.T)
    return np.sum(np.exp(-w)) + np.sum(vectors[:, 0] ** 2 * w) + np.linalg.slogdet(a)[1]


def least_squares(a, b):
    return np.sum(np.linalg.lstsq(a[:, :3], b, rcond=None)[0] ** 2) + np.sum(np.linalg.solve(a, b))


def special_functions(x):
    return np.sum(sc.gammaln(x) + sc.digamma(x) * sc.erf(x) + sc.logit(x) + sc.log_ndtr(x) + sc.betaln(x, x + 1))


def bessel_functions(x):
    return np.sum(
        sc.j0(x) + sc.y0(9 * x) * sc.i0(x) + sc.k0(x) + sc.k0e(40 * x) * sc.i0e(40 * x) + sc.j1(x) + sc.i1e(x)
    )


def complex_numbers(x):
    z = x + 1j * np.roll(x, 1)
    return np.sum((z * np.conj(z)).real + np.abs(np.exp(1j * x) - z) ** 2 + np.log(z + 3).imag)


def recurrence(x):
    h = x * 0
    for t in range(4):
        h = np.tanh(h + x * x[t])
    return np.sum(h**2)


def statistics(x):
    return np.var(x) + np.std(x, axis=0).sum() + np.median(x) + np.quantile(x, 0.3) + np.mean(x, axis=1).prod()


def sums_of_products(x):
    return np.einsum("aij,akj->ik", x, np.tanh(x)).trace() + np.sum(np.linalg.inv(x @ np.swapaxes(x, 1, 2) + 2.0))


def written_by_views(x):
    y = np.empty_like(x)
    y[:] = 0
    y[::2] += x[::2] ** 2
    part = y[1:]
    part += x[1:]
    y[x > 0] *= 3
    y[0] -= x[3]
    return np.sum(y * y)


def written_one_by_one(x):
    y = np.zeros_like(x)
    y[0] += x[1]
    y[1] = y[0] * 2
    for k in range(2, 4):
        y[k] = y[k - 1] * x[k] + y[k - 2]
    y[x > 0] += x[x > 0]
    return np.sum(y**2)


def norms(x):
    return np.linalg.norm(x) + np.linalg.norm(x, axis=1).sum() + np.linalg.norm(x, "nuc") + np.sum(np.kron(x, x) ** 2)


def grids(x):
    knots = np.cumsum(np.ones_like(x))
    y = np.interp(0.3, knots, x) + np.sum(np.interp(x + 2, knots, x, left=0.0) ** 2)
    return y + np.sum(np.gradient(x) ** 2) + np.trapezoid(x) + np.sum(np.polyfit(knots, x, 2) ** 2)


def joined(x):
    return np.sum(np.append(x, 3.0) ** 2) + np.sum(np.r_[x, 1.0, x[::-1]] ** 3) + np.sum(np.insert(x, 1, 2.0) ** 2)


def sums_of_many_products(a, b, c):
    y = np.einsum("bij,bkj->bik", a, np.tanh(b))
    z = np.einsum("bik,bkl,bjl->bij", y, c[:, :, :3], np.exp(-(a[:, :, :3] ** 2)))
    w = np.einsum("...ij,...ij->...", z, y)
    return np.sum(w**2) + np.sum(np.einsum("bii->bi", z)) ** 2 + np.einsum("i,j,k->ijk", w, w, w).sum()


def checkpoints(x):
    segment = rmad.checkpoint(lambda x, y: (np.sin(x @ y), np.cos(y) * x))
    a, b = segment(x, x.T)
    for _ in range(3):
        a, b = segment(a, b)
    return np.sum(a * b)


def rotations(x):
    c, s = np.cos(x[0]), np.sin(x[0])
    R = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.sum((R @ x[:3] - x[1:]) ** 3)


def process(x):
    """The marginal likelihood of a Gaussian process."""
    d = (x[:, None] - x) ** 2
    L = np.linalg.cholesky(np.exp(-d) + np.tril(np.triu(np.exp(d))))
    a = rmad.solve_triangular(L, x, lower=True)
    return a @ a / 2 + np.sum(np.log(np.diagonal(L)))


def mixture(x):
    log_p = st.norm.logpdf(x[:, None], x[:2], np.exp(x[2:])) + x[:2] - rmad.logsumexp(x[:2])
    return (
        np.sum(rmad.logsumexp(log_p, axis=1))
        + np.sum(st.gamma.logpdf(np.exp(x), np.exp(x)))
        + np.sum(st.norm.logcdf(x) + st.weibull_min.logpdf(np.exp(x), 1.5) + st.gumbel_r.cdf(x))
    )


FUNCTIONS: dict[Any, tuple[np.ndarray, ...]] = {
    divergence: (P,),
    attention: (M,),
    spectrum_of_a_signal: (V,),
    eigenvalues: (A,),
    least_squares: (A, V),
    special_functions: (P,),
    bessel_functions: (P,),
    complex_numbers: (V,),
    recurrence: (V,),
    statistics: (M,),
    sums_of_products: (T,),
    written_by_views: (V,),
    written_one_by_one: (V,),
    norms: (M,),
    grids: (V,),
    joined: (V,),
    sums_of_many_products: (T3, T3 * 0.5, np.cos(T3)),
    checkpoints: (A * 0.3,),
    rotations: (V,),
    process: (V,),
    mixture: (V,),
}


@pytest.mark.parametrize("f", [mixture, recurrence, sums_of_many_products], ids=lambda f: f.__name__)
def test_a_function_that_the_host_does_not_look_into(f, nothing_leaves_the_device):
    x, *more = to_device(FUNCTIONS[f])
    with nothing_leaves_the_device():
        y, lin = rmad.linearize(f, x, *more)
        for _ in range(3):
            u = lin.JTu(y)
            lin.Jv(u)
            rmad.hvp(f, x, u, *more)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_a_function(f):
    args = FUNCTIONS[f]
    there = to_device(args)
    places = tuple(range(len(args)))
    assert_equal(rmad.value_and_grad(f, argnums=places)(*there), rmad.value_and_grad(f, argnums=places)(*args))
    x, *more = args
    y, *others = there
    assert_equal(rmad.hvp(f, y, y * 0.5 + 0.1, *others), rmad.hvp(f, x, x * 0.5 + 0.1, *more))


@pytest.mark.parametrize("n", [2, 3, 5])
def test_bessel_functions_of_integer_order(n):
    """That CuPy lacks, and the derivatives of those of order 0 and 1 need."""
    line = np.array([0.0, 1e-9, 0.3, -2.0, 7.0, 19.9, -20.1, 33.0, -90.0, 300.0])
    positive = np.abs(line[1:])
    for f, of_scipy, x in (
        (integer_orders.bessel_j, sc.jv, line),
        (integer_orders.bessel_i, sc.iv, line),
        (integer_orders.scaled_i, sc.ive, line),
        (integer_orders.bessel_k, sc.kv, positive),
        (integer_orders.scaled_k, sc.kve, positive),
    ):
        found = f(cupy.asarray(x), n).get()
        np.testing.assert_allclose(found, of_scipy(n, x), rtol=1e-12, atol=1e-15, err_msg=f.__name__)
    assert float(integer_orders.bessel_i(cupy.asarray(800.0), n)) == np.inf


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_digits_in_the_tails(dtype):
    """Slopes of tanh, sigmoid and softplus, and gradients of the cross-entropy, relative to their own size."""
    x = np.array([-30.0, -12, -3, -1e-6, 0, 1e-6, 3, 12, 30], dtype)
    rtol = 1e-5 if dtype is np.float32 else 1e-12
    for f in (np.tanh, sc.expit, nn.functional.softplus):
        wanted, found = (rmad.grad(lambda x, f=f: np.sum(f(x)))(place(x)) for place in (lambda a: a, to_device))
        np.testing.assert_allclose(found.get(), wanted, rtol=rtol, err_msg=str(f))
    for t in (0, 1, 0.25):
        z, loss = x[:, None], nn.SigmoidCrossEntropy()
        target = np.full_like(z, t)
        wanted, found = loss.value_and_gradient(z, target), loss.value_and_gradient(*to_device((z, target)))
        np.testing.assert_allclose(float(found[0]), wanted[0], rtol=rtol)
        np.testing.assert_allclose(found[1].get(), wanted[1], rtol=rtol)
        np.testing.assert_allclose(loss.gradient(*to_device((z, target))).get(), wanted[1], rtol=rtol)
        np.testing.assert_allclose(float(loss.value(*to_device((z, target)))), wanted[0], rtol=rtol)


# -- operators and what is made of them --------------------------------------------------------------------------


def model_here():
    return nn.Sequential(
        nn.Linear(4, 3, rng=np.random.default_rng(0), dtype=np.float64),
        nn.Tanh(),
        nn.Linear(3, 2, rng=np.random.default_rng(1), dtype=np.float64),
    )


def quadratic(place):
    model, x, t = place(model_here()), place(RNG_X), place(RNG_X[:, :2])
    return optim.Objective(model, nn.SquaredError()).quadratic(x, t)


def curvature(place, matrix, made=True, **how):
    """A matrix of a net of two layers over two batches; made: False for a function of model, loss and data."""
    rng = np.random.default_rng(4)
    model = optim.Function(
        lambda p, x: np.tanh(x @ p["W"] + p["b"]) @ p["V"],
        place({"W": rng.standard_normal((4, 5)), "b": np.zeros(5), "V": rng.standard_normal((5, 3))}),
    )
    x, t = rng.standard_normal((12, 4)), np.arange(12) % 3
    batches = [(place(x[:7]), place(t[:7])), (place(x[7:]), place(t[7:]))]
    given = model, nn.SoftmaxCrossEntropy(), batches
    return matrix(optim.Curvature(*given, **how) if made else given)


def numbers(A):
    """What an operator of a data set tells of itself."""
    b = A.dense()[:, 3]
    solved = [A.inverse(2.0, method, rtol=1e-12) @ b for method in ("cg", "minres", "lsmr")]
    told = [A.trace(products=12), A.trace("hutch++", 12), A.norm(products=12), A.logdet(2.0, steps=6)]
    return [A.dense(), *solved, *map(float, told), A.diagonal("xdiag", 12), A.diagonal("exact"), A.eigsh(2)[0]]


RNG_X = np.random.default_rng(8).standard_normal((12, 4))
USES: dict[str, Any] = {
    "jacobian of a tree": lambda place: rmad.jacobian(lambda q: {"a": q["x"] ** 2, "b": np.sum(q["y"]) * q["x"][0]})(
        place({"x": V, "y": M})
    ),
    "hessian": lambda place: rmad.hessian(lambda x: np.sum(np.exp(x) * x[0]))(place(V)),
    "matrices times a Jacobian": lambda place: [
        f(rmad.JacobianOperator(np.tanh, place(V)), place(A))
        for f in (lambda J, B: J.matmat(B), lambda J, B: J.rmatmat(B))
    ],
    "third order": lambda place: rmad.grad(lambda x: np.sum(rmad.hvp(lambda y: np.sum(np.tanh(y) ** 3), x, x)))(
        place(V)
    ),
    "loggamma of complex numbers": lambda place: rmad.vjp(sc.loggamma, place(V + 2j))[1](place(V + 0j)),
    "Kronecker operator": lambda place: (
        lambda q, C: [C @ q.gradient, C.inverse() @ q.gradient, C.trace(), C.logdet()]
    )(q := quadratic(place), optim.KroneckerOperator(optim.kronecker_factors(q, "kflr"), 0.1)),
    **{
        f"curvature over data: {name}": lambda place, matrix=matrix: curvature(place, lambda C: numbers(matrix(C)))
        for name, matrix in {
            "ggn": lambda C: C.ggn,
            "hessian": lambda C: C.hessian,
            "fisher": lambda C: C.fisher(2),
            "empirical Fisher": lambda C: C.empirical_fisher,
        }.items()
    },
    "curvature over data: by layer, in parts": lambda place: curvature(
        place,
        lambda C: [C.ggn.dense(), C.kflr.diagonal(), C.kflr.eigsh(2)[0], C.ekfac.diagonal()],
        blocks="layer",
        cases_in_memory=3,
    ),
    "Laplace, influence": lambda place: curvature(
        place,
        lambda C: [
            *(
                value
                for structure in ("full", "kron", "diag", "last-layer")
                for L in [optim.Laplace(*C, structure)]
                for value in (L.predict(C[2][0][0]), L.samples(C[2][0][0], 2), float(L.log_marginal_likelihood()))
            ),
            optim.influence(*C, C[2][1], damping=0.5, rtol=1e-12),
        ],
        made=False,
    ),
    "density of eigenvalues": lambda place: optim.spectral_density(
        quadratic(place).ggn, rng=np.random.default_rng(0), probes=2, steps=5
    ).density(np.linspace(0, 5, 7), 0.5),
}


@pytest.mark.parametrize("name", USES)
def test_a_use(name):
    wanted, found = USES[name](lambda x: x), USES[name](to_device)
    if name in ("density of eigenvalues",):  # a few numbers of the CPU's in either case
        np.testing.assert_allclose(found, wanted, rtol=1e-8)
    else:
        assert_equal(found, wanted)


# -- optimizers ---------------------------------------------------------------------------------------------------


def double(model):
    return rmad.map_leaves(lambda a: a.astype(np.float64) if a.dtype.kind == "f" else a, model)


def mlp():
    return double(nn.models.mlp((4, 5, 3), rng=np.random.default_rng(1), activation=nn.ReLU))


def convnet():
    rng = np.random.default_rng(3)
    layers = [nn.Conv2d(2, 4, 3, padding="same", rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2, rng=rng)]
    return double(nn.Sequential(*layers, nn.GELU(), nn.GlobalAvgPool2d(), nn.Linear(4, 3, rng=rng)))


class Reader(nn.Module):
    def __init__(self):
        rng = np.random.default_rng(1)
        self.embedding, self.cell = nn.Embedding(7, 4, rng=rng), nn.LSTM(4, 4, rng=rng, last=True)
        self.out = nn.Linear(4, 3, rng=rng)

    def forward(self, x):
        return self.out(self.cell(self.embedding(x)))


class Residual(nn.Module):
    """A small residual net with batch normalization."""

    def __init__(self):
        rng = np.random.default_rng(3)
        self.first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False, rng=rng), nn.BatchNorm(4), nn.ReLU())
        inner = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1, rng=rng), nn.BatchNorm(4))
        self.block, self.last = nn.Residual(inner), nn.Conv2d(4, 5, 3, stride=2, rng=rng)
        self.norm, self.out = nn.BatchNorm(5), nn.Linear(5, 3, rng=rng)

    def forward(self, x):
        y = np.maximum(self.block(self.first(x)), 0)
        return self.out(np.mean(np.tanh(self.norm(self.last(y))), axis=(1, 2)))


class Tied(nn.Module):
    """An autoencoder whose decoder has the encoder's weights, and one layer that is not trained."""

    def __init__(self):
        rng = np.random.default_rng(15)
        self.frozen, self.encoder, self.bias = nn.Linear(4, 4, rng=rng), nn.Linear(4, 3, rng=rng), np.zeros(4)

    def forward(self, x):
        x = rmad.stop_gradient(np.tanh(self.frozen(x)))
        return np.tanh(self.encoder(x)) @ self.encoder.weight.T + self.bias


def two_heads():
    rng = np.random.default_rng(17)
    params = {"W": rng.standard_normal((4, 3)), "V": rng.standard_normal((4, 2))}
    return optim.Function(lambda p, x: (np.tanh(x @ p["W"]), x @ p["V"]), params)


def of_both(z, t):
    return np.mean(np.sum((z[0] - t[:, :1]) ** 2, 1)) + np.mean(np.log(np.cosh(z[1] - t)).sum(1))


def bumps():
    rng = np.random.default_rng(2)
    params = {"c": rng.standard_normal((5, 4)), "s": [np.zeros(5)], "w": rng.standard_normal((5, 2))}

    def forward(p, x):
        return np.exp(-((x[:, None, :] - p["c"]) ** 2).sum(-1) * np.exp(p["s"][0])) @ p["w"]

    return optim.Function(forward, params)


def waves():
    rng = np.random.default_rng(2)
    w = rng.standard_normal(4) + 1j * rng.standard_normal(4)
    return optim.Function(lambda p, x: np.stack([np.abs(x @ p["w"]) ** 2, np.real(x @ p["w"])], 1), {"w": w})


def poisson(z, t):
    return np.mean(np.sum(np.exp(z) - t * z, 1))


def log_cosh(z, t):
    return np.mean(np.log(np.cosh(z - t)))


LABELS = (RNG_X, np.arange(12) % 3)
REALS = (RNG_X, np.abs(RNG_X[:, :2]))
IMAGES = (np.random.default_rng(4).standard_normal((8, 6, 6, 2)), np.arange(8) % 3)
TOKENS = (np.random.default_rng(4).integers(0, 7, (6, 5)), np.arange(6) % 3)
CLASSES, SQUARES = nn.SoftmaxCrossEntropy(), nn.SquaredError()
TRAININGS: dict[str, Any] = {
    "hf, damped by a function": (mlp, CLASSES, LABELS, optim.HessianFree, {
        "damping": optim.MatrixDamping(1.0, lambda q: np.exp(q.theta)), "l2": 1e-3}),
    "hf, in chunks": (mlp, CLASSES, LABELS, optim.HessianFree, {"cases_in_memory": 5, "cg_iterations": 6}),
    "hf, exact Kronecker factors": (mlp, CLASSES, LABELS, optim.HessianFree, {
        "preconditioner": optim.KroneckerPreconditioner("kflr", exact=True)}),
    "hf, a loss of one's own": (bumps, log_cosh, REALS, optim.HessianFree, {"cg_iterations": 5}),
    "hf, convolutions": (convnet, CLASSES, IMAGES, optim.HessianFree, {"cg_iterations": 5}),
    "hf, tokens": (Reader, CLASSES, TOKENS, optim.HessianFree, {"preconditioner": False, "cg_iterations": 5}),
    "hf, tied and frozen": (Tied, SQUARES, (RNG_X, RNG_X), optim.HessianFree, {"cg_iterations": 6}),
    "hf, trust region": (mlp, CLASSES, LABELS, optim.HessianFree, {"direction": optim.SteihaugToint()}),
    "sgn, two heads": (two_heads, of_both, REALS, optim.SGN, {}),
    "lm, two heads": (two_heads, of_both, REALS, optim.LevenbergMarquardt, {"scaling": "diagonal"}),
    "sgn, batch normalization": (Residual, CLASSES, IMAGES, optim.SGN, {"cg_iterations": 5}),
    "curveball, batch normalization": (Residual, CLASSES, IMAGES, optim.CurveBall, {}),
    "kfac, clipped": (mlp, CLASSES, LABELS, optim.KFAC, {"momentum": True, "clip": 0.5}),
    "kfac, convolutions": (convnet, CLASSES, IMAGES, optim.KFAC, {}),
    "ekfac, poisson": (bumps, poisson, REALS, optim.EKFAC, {"estimate": "kflr"}),
    "kflr, poisson": (bumps, poisson, REALS, optim.KFLR, {}),
    "sgn, preconditioned": (mlp, CLASSES, LABELS, optim.SGN, {"preconditioner": True, "momentum": 0.5, "damping": 0.1}),
    "curveball, complex parameters": (waves, SQUARES, REALS, optim.CurveBall, {"l2": 1e-2}),
    "lm, bumps": (bumps, SQUARES, REALS, optim.LevenbergMarquardt, {}),
    "adam, weight decay": (mlp, CLASSES, LABELS, optim.Adam, {"lr": lambda k: 0.1 * 0.9**k, "weight_decay": 0.01}),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training(name):
    make, loss, batch, kind, hyper = TRAININGS[name]
    more = {"rng": np.random.default_rng(0)} if kind is optim.KFAC else {}
    here = kind(double(make()), loss, **hyper, **more)
    more = {"rng": np.random.default_rng(0)} if kind is optim.KFAC else {}
    there = kind(to_device(double(make())), loss, **hyper, **more)
    x, t = to_device(batch)
    for _ in range(3):
        a, b = here.step(*batch), there.step(x, t)
        assert b.loss == pytest.approx(a.loss, rel=1e-10)
        assert (b.rejected, b.cg_iterations) == (a.rejected, a.cg_iterations)
    np.testing.assert_allclose(there.objective.flat().get(), here.objective.flat(), rtol=1e-8, atol=1e-10)
