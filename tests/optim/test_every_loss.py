"""Every kind of loss of rmad.testing, several outputs among them, on any division: the same numbers, or one error."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import optim
import rmad
from optim import tuning
from optim.parts.estimate import kronecker_factors
from rmad.testing import losses
from rmad.testing.losses import LOSSES


def model(heads):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((4, 3)), "V": rng.standard_normal((4, 3))}
    one = lambda p, x: np.tanh(x @ p["W"]) + x @ p["V"]  # noqa: E731
    two = lambda p, x: (np.tanh(x @ p["W"]), x @ p["V"])  # noqa: E731
    return optim.Function(one if heads == 1 else two, params)


def results(case, n, **division):
    x, t = np.random.default_rng(1).standard_normal((n, 4)), case.targets(n)
    objective = optim.Objective(model(case.heads), case.loss, 0.1, **division)
    v = np.random.default_rng(2).standard_normal(objective.size)
    f, gradient = objective.value_and_gradient(x, t)
    q = objective.quadratic(x, t)
    products = [q.ggn @ v, q.hessian @ v]
    return [objective.value(x, t), f, gradient, q.gradient, *products, q.squared_gradients(), *factors(q, case)]


def factors(q, case):
    """A and G of all blocks, and the diagonal, by the methods that draw nothing."""
    found = [kronecker_factors(q, method) for method in ("empirical", "kflr", "kfra")[: 3 if case.heads == 1 else 2]]
    return [array for k in found for array in (*(part for block in k.blocks for part in (block.A, block.G)), k.d)]


@given(
    case=losses(),
    n=st.integers(1, 40),
    shards=st.sampled_from([1, 2, 3, 5, 16, 40]),
    threads=st.sampled_from([1, 2, 4]),
)
def test_shards_and_threads_change_nothing(case, n, shards, threads):
    whole = results(case, n, shards=1, threads=1)
    for a, b in zip(whole, results(case, n, shards=shards, threads=threads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@given(case=losses(), n=st.integers(2, 40), memory=st.integers(1, 39))
def test_chunks_change_nothing_or_are_refused(case, n, memory):
    try:
        found = results(case, n, cases_in_memory=memory, threads=1)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert not case.is_mean
        assert "do not come apart" in refusal
        return
    for a, b in zip(results(case, n, shards=1, threads=1), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


ONE_OUTPUT = [name for name, case in LOSSES.items() if case.heads == 1]


@pytest.mark.parametrize("name", ONE_OUTPUT)
def test_factors_have_the_curvature_of_each_case(name):
    """KFRA's G of a layer with z = … + xV is Σ L″ₙₙ: without the blocks between cases of a loss that couples them."""
    case, x = LOSSES[name], np.random.default_rng(1).standard_normal((7, 4))
    q = optim.Objective(model(1), case.loss).quadratic(x, t := case.targets(7))
    loss = getattr(case.loss, "value", case.loss)
    H = rmad.hessian(lambda z: loss(z, t))(model(1)(x))
    G = kronecker_factors(q, "kfra").blocks[-1].G
    np.testing.assert_allclose(G, np.einsum("ninj->ij", H), atol=1e-12)
    positive = sum(
        np.einsum("ik,k,jk->ij", U, np.maximum(d, 0), U) for d, U in (np.linalg.eigh(H[n, :, n]) for n in range(7))
    )
    np.testing.assert_allclose(kronecker_factors(q, "kflr").blocks[-1].G, positive, atol=1e-12)


def test_large_batches_of_coupled_cases_are_refused(monkeypatch):
    monkeypatch.setattr(tuning, "COUPLED_OUTPUTS", 20)
    case, x = LOSSES["correlation"], np.random.default_rng(1).standard_normal((7, 4))
    q = optim.Objective(model(1), case.loss).quadratic(x, case.targets(7))
    for method in ("kfac", "kflr", "kfra"):
        with pytest.raises(ValueError, match=r"_correlation couples the cases.*7 × 3 outputs"):
            kronecker_factors(q, method)
    kronecker_factors(q, "empirical")


def test_a_clipped_curvature_of_coupled_cases_has_the_blocks_of_each():
    case, z = LOSSES["correlation"], np.random.default_rng(2).standard_normal((5, 3))
    t, v = case.targets(5), np.random.default_rng(3).standard_normal((5, 3))
    H = rmad.hessian(lambda z: case.loss(z, t))(z)
    d, U = np.linalg.eigh(np.stack([H[n, :, n] for n in range(5)]))
    wanted = np.einsum("nik,nk,njk,nj->ni", U, np.maximum(d, 0), U, v)
    found = optim.ClippedCurvature(case.loss).hessian_product(z, t, v)
    np.testing.assert_allclose(found, wanted, atol=1e-12)
