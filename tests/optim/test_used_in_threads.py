"""One objective, or one local model of it, on several threads: every call returns what it returns alone."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse.linalg import eigsh

import nn
import optim
from optim.parts.preconditioner import ExactDiagonal, UnbiasedDiagonal
from optim.problem.quadratic import Quadratic
from optim.problem.shard import LinearizedShard
from rmad.trees import tree

THREADS, CALLS = 8, 16


@pytest.fixture(autouse=True)
def switches():
    """Threads are interrupted after every few calls of NumPy."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(2e-5)
    yield
    sys.setswitchinterval(before)


def data(n=40):
    rng = np.random.default_rng(1)
    return rng.standard_normal((n, 4)), rng.standard_normal((n, 3))


def mlp():
    rng = np.random.default_rng(4)
    return nn.Sequential(
        nn.Linear(4, 30, rng=rng, dtype=np.float64), nn.Tanh(), nn.Linear(30, 3, rng=rng, dtype=np.float64)
    )


def vectors(k, size):
    return np.random.default_rng(k).standard_normal((2, size))


def into(method):
    """A method (v, out) as a function of q and of the number of the vector."""

    def call(q, k):
        out = np.empty(q.objective.size)
        found = getattr(q, method)(vectors(k, out.size)[0], out)
        return out if found is None else [*found, *out]

    return call


def residual_along(q, k):
    """As CurveBall calls it: a second method goes on where the first has ended, with other threads in between."""
    v, w = vectors(k, q.objective.size)
    return [*q.residual(v, np.empty_like(v)), *q.residual_along(w, v)]


def along_gradients(q, k):
    out = np.zeros(len(data()[0]))
    q.along_gradients(vectors(k, q.objective.size)[0], out)
    return out


def product_between(q, v):
    out = np.empty_like(v)
    q.product_between(lambda shard: lambda u: [shard.n * part for part in u], v, out)
    return out


PUBLIC = {  # every public method and attribute of the class
    "f": lambda q, k: float(q.f),
    "value": lambda q, k: q.value,
    "gradient": lambda q, k: q.gradient,
    "theta": lambda q, k: q.theta,
    "ggn": lambda q, k: q.ggn @ vectors(k, q.objective.size)[0],
    "hessian": lambda q, k: q.hessian @ vectors(k, q.objective.size).T,
    "ggn_product": into("ggn_product"),
    "hessian_product": into("hessian_product"),
    "residual": into("residual"),
    "residual_along": residual_along,
    "curvature_along": lambda q, k: q.curvature_along(vectors(k, q.objective.size)[0]),
    "curvature_between": lambda q, k: q.curvature_between(*vectors(k, q.objective.size)),
    "along_gradients": along_gradients,
    "product_between": lambda q, k: product_between(q, vectors(k, q.objective.size)[0]),
    "each_shard": lambda q, k: sum(q.each_shard(lambda shard: shard.gradient() * (k + 1))),
    "squared_gradients": lambda q, k: q.squared_gradients(),
    "squares": lambda q, k: q.squares(LinearizedShard.per_case_gradients) * k,
    "squared_columns": lambda q, k: q.squared_columns(lambda shard: iter([[np.stack([shard.z, k + shard.z])]])),
}
INDIRECT = {  # what optim and SciPy make of these
    "ExactDiagonal": lambda q, k: ExactDiagonal().estimate(q, (k,)),
    "UnbiasedDiagonal": lambda q, k: UnbiasedDiagonal().estimate(q, (k,)),
    **{
        method: lambda q, k, m=method: (
            optim.KroneckerOperator(optim.kronecker_factors(q, m, seed=k), 0.1) @ vectors(k, q.objective.size)[0]
        )
        for method in ("kfac", "kflr", "kfra", "empirical")
    },
    "eigsh": lambda q, k: eigsh(q.ggn, k=1, v0=vectors(k, q.objective.size)[0], return_eigenvectors=False),
    "pcg": lambda q, k: (
        optim.pcg(q.ggn_product, vectors(k, q.objective.size)[0], None, None, damping=0.1, iterations=5, keep=False).x
    ),
}


def together(calls, thing):
    """calls[name](thing, k) for every k < CALLS and every name, in another order on each of THREADS threads."""
    start = threading.Barrier(THREADS)

    def some(j):
        rng = np.random.default_rng(j)
        mine = [(name, k) for k in range(j, CALLS, THREADS) for name in calls]
        start.wait()
        return {mine[i]: np.asarray(calls[mine[i][0]](thing, mine[i][1])) for i in rng.permutation(len(mine))}

    with ThreadPoolExecutor(THREADS) as pool:
        return {key: found for part in pool.map(some, range(THREADS)) for key, found in part.items()}


def compare(calls, thing, alone):
    found = together(calls, thing)
    assert len(found) == CALLS * len(calls)
    for (name, k), result in found.items():
        expected = np.asarray(calls[name](alone, k))
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14, err_msg=f"{name} {k}")


DIVISIONS = [
    {"shards": 1, "threads": 1},
    {"shards": 3, "threads": 1},
    {"shards": 2, "threads": 2},
    {"cases_in_memory": 15, "threads": 1},
    {"cases_in_memory": 20, "threads": 2},
]


@pytest.mark.parametrize("division", DIVISIONS, ids=str)
def test_every_public_method_of_a_local_model(division):
    objective = optim.Objective(mlp(), nn.SoftmaxCrossEntropy(), l2=0.1, **division)
    x, t = data()[0], np.arange(40) % 3
    assert set(PUBLIC) == {name for name in vars(Quadratic) if not name.startswith("_")}
    compare(PUBLIC, objective.quadratic(x, t), objective.quadratic(x, t))


@pytest.mark.parametrize("division", DIVISIONS[:3], ids=str)
def test_what_is_made_of_a_local_model(division):
    objective = optim.Objective(mlp(), nn.SoftmaxCrossEntropy(), **division)
    x, t = data()[0], np.arange(40) % 3
    compare(INDIRECT, objective.quadratic(x, t), objective.quadratic(x, t))


def test_long_vectors_in_place(monkeypatch):
    """Sweeps are bound to the caller's arrays, to those of other threads in between."""
    monkeypatch.setattr(optim.tuning, "IN_PLACE_FROM", 0)
    objective = optim.Objective(mlp(), nn.SquaredError(), shards=1, threads=1)
    some = {name: PUBLIC[name] for name in ("ggn_product", "residual_along", "gradient")} | {"pcg": INDIRECT["pcg"]}
    q = objective.quadratic(*data())
    assert q._may_bind
    compare(some, q, objective.quadratic(*data()))


class Complex(nn.Module):
    """z = [Re xw, Im xw, |xw|²]."""

    def __init__(self):
        rng = np.random.default_rng(2)
        self.w = rng.standard_normal(4) + 1j * rng.standard_normal(4)

    def __call__(self, x):
        y = x @ self.w
        return np.stack([np.real(y), np.imag(y), np.real(y * np.conj(y))], axis=1)


@pytest.mark.parametrize("model", [mlp, Complex])
@pytest.mark.parametrize("division", DIVISIONS[1:4], ids=str)
def test_an_objective(model, division):
    """The model's arrays were changed by hand before, so that all threads find them new."""
    x, t = data()
    objective, alone = (optim.Objective(model(), nn.SquaredError(), **division) for _ in range(2))
    calls = {
        "value": lambda f, k: f.value(x, t),
        "value_at": lambda f, k: f.value_at(vectors(k, f.size)[0], x, t),
        "value_and_gradient": lambda f, k: np.append(*f.value_and_gradient(x, t)),
        "quadratic": lambda f, k: f.quadratic(x, t).ggn @ vectors(k, f.size)[0],
        "flat": lambda f, k: f.flat(),
    }
    for f in (objective, alone):
        flat = f.flat() / 2
        f.assign(flat)
        if model is Complex:
            original = f.model.original
            original.w = original.w * 1j
    compare(calls, objective, alone)


def test_pairs_are_whole_when_another_thread_sees_them(monkeypatch):
    """A second thread asks for θ while the first makes pairs of the model's new arrays."""
    objective, seen = optim.Objective(Complex(), nn.SquaredError()), []
    w = objective.model.original.w = np.arange(4) - 2j
    as_pairs = tree.as_pairs

    def slow(a):
        if not seen:
            seen.append(None)
            with ThreadPoolExecutor(1) as pool:
                seen.append(pool.submit(objective.flat).result())
        return as_pairs(a)

    monkeypatch.setattr(tree, "as_pairs", slow)
    np.testing.assert_array_equal(objective.flat(), w.view(float))
    np.testing.assert_array_equal(seen[1], w.view(float))


def test_a_task_on_the_shards_cannot_use_the_model_that_waits_for_it():
    q = optim.Objective(mlp(), nn.SquaredError(), shards=2, threads=2).quadratic(*data())
    for use in (lambda: q.gradient, lambda: q.ggn_product(q.theta, q.theta), lambda: q.each_shard(lambda s: 0)):
        with pytest.raises(RuntimeError, match="uses the Quadratic itself, which waits for the task"):
            q.each_shard(lambda shard, use=use: use())
    assert np.isfinite(q.gradient).all()
    assert q.each_shard(lambda shard: float(q.gradient[0])) == [q.gradient[0]] * 2  # what was computed before
