"""Curvature of a data set whose batches are shared by ranks: that of one process, and the same bits on all of them."""

import numpy as np
import pytest
from ranks_in_threads import together

import nn
import optim

RNG = np.random.default_rng(0)
X, T = RNG.standard_normal((13, 4)), RNG.integers(0, 3, 13)
BATCHES = [(X[:6], T[:6]), (X[6:], T[6:])]
LOSS = nn.SoftmaxCrossEntropy()


def net():
    how = {"rng": np.random.default_rng(0), "dtype": np.float64}
    return nn.Sequential(nn.Linear(4, 5, **how), nn.Tanh(), nn.Linear(5, 3, **how))


def numbers(**how):
    C = optim.Curvature(net(), LOSS, BATCHES, **how)
    V = np.random.default_rng(1).standard_normal((C.theta.size, 2))
    matrices = [C.ggn, C.hessian, C.fisher(2), C.empirical_fisher, C.kfac, C.ekfac, C.kflr]
    posterior = optim.Laplace(net(), LOSS, BATCHES, "diag", **how)
    return [
        np.array(C.value),
        C.gradient,
        *(A @ V for A in matrices),
        *(A.diagonal("exact") for A in matrices[:4]),
        np.array(C.ggn.trace(products=10)),
        C.ggn.inverse(0.1, rtol=1e-12) @ V[:, 0],
        C.along_gradients(V[:, 0]),
        np.array(posterior.log_marginal_likelihood()),
        optim.influence(net(), LOSS, BATCHES, (X[:2], T[:2]), damping=0.1, rtol=1e-12, **how),
    ]


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("how", [{}, {"cases_in_memory": 2}], ids=["held", "in parts"])
def test_ranks(size, how):
    expected = numbers(threads=1)
    found = together(size, lambda ranks: numbers(ranks=ranks, threads=1, **how))
    for result in found:
        if isinstance(result, BaseException):
            raise result
        assert len(result) == len(expected)
        for a, b, first in zip(result, expected, found[0], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9 * max(np.abs(b).max(), 1))
            assert np.array_equal(a, first)
