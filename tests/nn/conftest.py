"""Fixtures for the tests of layers and data sets."""

import numpy as np
import pytest

import optim
import rmad
from nn.data.sources import SOURCES


def _check_ggn(model, loss, x, t, shards=(1, 3)):
    flat, unravel = rmad.ravel(model)
    z = model(x)
    _, lin = rmad.linearize(lambda p: unravel(p)(x), flat)
    J = np.stack([lin.Jv(e).ravel() for e in np.eye(flat.size)], axis=1)
    L = np.stack([loss.hessian_product(z, t, e.reshape(z.shape)).ravel() for e in np.eye(z.size)], axis=1)
    for number in shards:
        quadratic = optim.Objective(model, loss, shards=number, threads=1).quadratic(x, t)
        V = np.eye(flat.size) if flat.size <= 200 else np.random.default_rng(5).standard_normal((flat.size, 50))
        GV = np.stack([quadratic.ggn @ v for v in V.T], axis=1)
        np.testing.assert_allclose(GV, J.T @ (L @ (J @ V)), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(quadratic.gradient, J.T @ loss.gradient(z, t).ravel(), rtol=1e-9, atol=1e-12)


@pytest.fixture
def check_ggn():
    """check_ggn(model, loss, x, t): products of optim.Objective on 1 and 3 shards against the dense JᵀL″J, float64."""
    return _check_ggn


@pytest.fixture
def no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RMAD_DATA", raising=False)
    monkeypatch.setenv("RMAD_CACHE", str(tmp_path / "cache"))
    for name, files in SOURCES.items():  # whatever happens, no test asks the net
        monkeypatch.setitem(SOURCES, name, {file: known._replace(urls=()) for file, known in files.items()})
