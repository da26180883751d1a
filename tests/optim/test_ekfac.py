"""Eigenvalue-corrected Kronecker factors: second moments against dense matrices; EKFAC's averages and steps."""

from types import SimpleNamespace

import numpy as np
import pytest

import nn
import optim
from optim.parts.estimate import eigenvectors, with_moments
from optim.parts.factors import loaded, saved
from optim.parts.kronecker import KroneckerInverse
from optim.parts.running import RunningFactors

N = 9
KW = {"dtype": np.float64}
KFLR = {"method": "kflr", "corrected": True}


def rng(seed=0):
    return np.random.default_rng(seed)


class Flat(nn.Module):
    """A module whose output has a row per case."""

    def __init__(self, module):
        self.module = module

    def forward(self, x):
        y = self.module(x)
        return np.reshape(y, (len(y), -1))


def shared():
    params = {"W": rng(4).standard_normal((3, 3)), "b": rng(5).standard_normal(3), "s": np.ones(3)}
    return optim.Function(lambda p, x: np.tanh(x @ p["W"] + p["b"]) @ p["W"] * p["s"] + p["b"], params)


def on_the_left():
    params = {"W": rng(4).standard_normal((4, 3)), "V": rng(5).standard_normal((2, 4))}

    def forward(p, x):  # the cases are columns: (3, n)
        return np.swapaxes(p["V"] @ np.tanh(p["W"] @ np.swapaxes(x, 0, 1)), 0, 1)

    return optim.Function(forward, params)


def tied():
    params = {"W": rng(4).standard_normal((3, 4)), "b": np.zeros(4)}
    return optim.Function(lambda p, x: np.tanh(x @ p["W"] + p["b"]) @ p["W"].T, params)


def batched_left():
    params = {"W": rng(4).standard_normal((4, 3))}  # W x_n for matrices x_n
    return optim.Function(lambda p, x: np.reshape(np.tanh(p["W"] @ x), (len(x), -1)), params)


def time_first():
    params = {"W": rng(4).standard_normal((2, 3)), "b": rng(3).standard_normal(3)}

    def forward(p, x):  # (n, t, 2): worked on as (t, n, 2)
        h = np.tanh(np.swapaxes(x, 0, 1) @ p["W"] + p["b"])
        return np.sum(h, axis=0)

    return optim.Function(forward, params)


def models():
    conv = nn.Sequential(nn.Conv2d(1, 2, 2, rng=rng(), **KW), nn.Tanh(), nn.Flatten(), nn.Linear(8, 2, rng=rng(), **KW))
    return {
        "mlp": (nn.models.mlp((3, 4, 2), rng=rng(), dtype=np.float64), (3,)),
        "cnn": (conv, (3, 3, 1)),
        "strided": (Flat(nn.Conv2d(2, 3, 3, stride=2, padding=1, rng=rng(), **KW)), (5, 5, 2)),
        "grouped": (Flat(nn.Conv2d(4, 4, 2, groups=2, rng=rng(), **KW)), (3, 3, 4)),
        "depthwise": (Flat(nn.Conv2d(3, 3, 2, groups=3, rng=rng(), **KW)), (3, 3, 3)),
        "transposed": (Flat(nn.ConvTranspose2d(2, 3, 2, rng=rng(), **KW)), (2, 2, 2)),
        "rnn": (nn.Sequential(nn.RNN(2, 3, rng=rng(), **KW), nn.Linear(3, 2, rng=rng(), **KW)), (3, 2)),
        "lstm": (nn.Sequential(nn.LSTM(2, 3, rng=rng(), **KW), nn.Linear(3, 2, rng=rng(), **KW)), (3, 2)),
        "attention": (Flat(nn.MultiHeadAttention(4, 2, rng=rng(), **KW)), (3, 4)),
        "shared": (shared(), (3,)),
        "on the left": (on_the_left(), (3,)),
        "tied": (tied(), (3,)),
        "matrices on the left": (batched_left(), (3, 2)),
        "time first": (time_first(), (4, 2)),
        "checkpoint": (
            nn.Sequential(nn.RNN(2, 3, rng=rng(), checkpoint=True, **KW), nn.Linear(3, 2, rng=rng(), **KW)),
            (9, 2),
        ),
    }


def case(name, shards=1):
    model, shape = models()[name]
    x = rng(1).standard_normal((N, *shape))
    t = rng(2).standard_normal(np.shape(model(x)))
    return SimpleNamespace(
        model=model, x=x, t=t, q=optim.Objective(model, nn.SquaredError(), shards=shards).quadratic(x, t)
    )


def rotated(block, G):
    """diag(Kᵀ G K), K = L ⊗ R, of the block's own part of G, as a matrix."""
    at = block.of(np.arange(len(G))).ravel()
    K = np.kron(block.corrected.L, block.corrected.R)
    return np.diag(K.T @ G[np.ix_(at, at)] @ K).reshape(block.shape)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("name", models())
def test_the_moments_are_the_diagonal_of_the_ggn_in_the_basis(name, shards):
    """With all columns of L″^½ they are: of the sum over uses, positions, heads and steps."""
    q = case(name, shards).q
    factors = optim.kronecker_factors(q, **KFLR)
    assert factors.blocks
    G = q.ggn @ np.eye(len(q.theta))
    for block in factors.blocks:
        np.testing.assert_allclose(block.corrected.values, rotated(block, G), atol=1e-12 * np.abs(G).max())
        np.testing.assert_allclose(block.corrected.L @ block.corrected.L.T, np.eye(block.shape[0]), atol=1e-12)


@pytest.mark.parametrize("name", models())
def test_the_corrected_factors_are_nearer_to_the_ggn(name):
    """Of all matrices with these eigenvectors they are the nearest, in the Frobenius norm: section 3."""
    q = case(name).q
    G = q.ggn @ np.eye(len(q.theta))
    plain, corrected = (optim.kronecker_factors(q, "kflr", corrected=flag) for flag in (False, True))
    for a, b in zip(plain.blocks, corrected.blocks, strict=True):
        at = a.of(np.arange(len(G))).ravel()
        E = [optim.KroneckerOperator(f) @ np.eye(len(G)) - G for f in (plain, corrected)]
        errors = [np.linalg.norm(M[np.ix_(at, at)]) for M in E]
        assert errors[1] <= errors[0] * (1 + 1e-9) + 1e-12
        assert b.shape == a.shape


@pytest.mark.parametrize("how", [{}, {"chunk": 40}])
def test_gradients_of_some_cases_at_a_time(how, monkeypatch):
    if how:
        monkeypatch.setattr("rmad.tuning.CASE_GRADIENTS_CHUNK", how["chunk"])
    for name in ("cnn", "lstm", "attention", "transposed"):
        q = case(name).q
        G = q.ggn @ np.eye(len(q.theta))
        for block in optim.kronecker_factors(q, **KFLR).blocks:
            np.testing.assert_allclose(block.corrected.values, rotated(block, G), atol=1e-12 * np.abs(G).max())


def test_cases_that_mix_take_random_signs():
    """Batch statistics: the mean over many seeds is the diagonal of the GGN."""
    model = nn.Sequential(
        nn.Linear(3, 4, rng=rng(), **KW), nn.BatchNorm(4, **KW), nn.Tanh(), nn.Linear(4, 2, rng=rng(), **KW)
    )
    x, t = rng(1).standard_normal((N, 3)), rng(2).standard_normal((N, 2))
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, t)
    factors = optim.kronecker_factors(q, "kflr")
    bases = eigenvectors(factors, lambda task, n: [task(k) for k in range(n)])
    G = q.ggn @ np.eye(len(q.theta))
    found = [with_moments(factors, bases, q, "kflr", seed) for seed in range(400)]
    for k, block in enumerate(found[0].blocks):
        each = np.array([f.blocks[k].corrected.values for f in found])
        error = np.std(each, axis=0, ddof=1) / 20 + 1e-12
        assert np.mean(np.abs(each.mean(0) - rotated(block, G)) < 3.5 * error) > 0.95


def test_a_loss_that_does_not_depend_on_a_block():
    params = {"W": rng(4).standard_normal((3, 2)), "V": np.zeros((2, 2))}
    model = optim.Function(lambda p, x: np.tanh(x @ p["W"]) + 0 * (x[:, :2] @ p["V"]), params)
    q = optim.Objective(model, nn.SquaredError()).quadratic(rng().standard_normal((N, 3)), np.zeros((N, 2)))
    factors = optim.kronecker_factors(q, **KFLR)
    assert all(np.isfinite(block.corrected.values).all() for block in factors.blocks)


# -- operators and inverses -----------------------------------------------------------------------------------------


def dense(factors):
    return optim.KroneckerOperator(factors) @ np.eye(len(factors.d))


def test_the_operator_and_its_inverse():
    factors = optim.kronecker_factors(case("grouped").q, **KFLR)
    A, p = dense(factors), len(factors.d)
    C = optim.KroneckerOperator(factors, 0.1)
    np.testing.assert_allclose(A, A.T, atol=1e-13)
    np.testing.assert_allclose(C.trace(), np.trace(A) + 0.1 * p)
    np.testing.assert_allclose(C.diagonal(), np.diag(A) + 0.1)
    np.testing.assert_allclose(C.logdet(), np.linalg.slogdet(A + 0.1 * np.eye(p))[1])
    np.testing.assert_allclose(C.inverse() @ np.eye(p), np.linalg.inv(A + 0.1 * np.eye(p)), atol=1e-10)
    for exact in (True, False):  # λ is added to the eigenvalues in either case
        inverse = KroneckerInverse(factors, 0.1, exact, skip_unused=False)
        np.testing.assert_allclose(inverse(np.ones(p)), np.linalg.solve(A + 0.1 * np.eye(p), np.ones(p)), rtol=1e-9)


def test_factors_in_a_state():
    factors = optim.kronecker_factors(case("mlp").q, **KFLR)
    state = saved(factors, "f")
    again = loaded(state, "f", factors.d)
    assert np.array_equal(dense(again), dense(factors))
    for key, value in (
        ("f.0.values", -state["f.0.values"] - 1),
        ("f.0.L", state["f.0.L"][:1]),
        ("f.1.R", np.nan * state["f.1.R"]),
    ):
        with pytest.raises(ValueError, match="the state's f do not fit"):
            loaded({**state, key: value}, "f", factors.d)
    with pytest.raises(ValueError, match=r"no entry 'f.0.R'"):
        loaded({k: v for k, v in state.items() if k != "f.0.R"}, "f", factors.d)


def test_over_a_data_set():
    a = case("mlp")
    batches = [(a.x[:5], a.t[:5]), (a.x[5:], a.t[5:])]
    how = {"rng": np.random.default_rng(1)}
    held = optim.Curvature(a.model, nn.SquaredError(), batches, rng=np.random.default_rng(1))
    parts = optim.Curvature(a.model, nn.SquaredError(), batches, cases_in_memory=4, **how)
    eye = np.eye(len(a.q.theta))
    np.testing.assert_allclose(parts.ekfac @ eye, held.ekfac @ eye, atol=1e-12)
    G = held.ggn.dense()
    errors = [np.linalg.norm(C @ eye - G) for C in (held.kfac, held.ekfac)]
    assert errors[1] < errors[0]
    for inverse in (
        held.ggn.inverse(0.1, preconditioner="ekfac", rtol=1e-10),
        held.ggn.inverse(0.1, "minres", rtol=1e-10),
    ):
        np.testing.assert_allclose(inverse @ eye, np.linalg.inv(G + 0.1 * eye), atol=1e-7)
    np.testing.assert_allclose(
        held.ggn.inverse(0.1, "ekfac") @ eye, np.linalg.inv(held.ekfac @ eye + 0.1 * eye), atol=1e-10
    )


# -- the optimizer ----------------------------------------------------------------------------------------------------


def test_a_step_is_that_of_the_dense_matrix():
    a = case("mlp")
    opt = optim.EKFAC(a.model, nn.SquaredError(), damping=0.1, lr=0.5, estimate="kflr", adapt_every=0)
    q = optim.Objective(a.model, nn.SquaredError()).quadratic(a.x, a.t)
    C = dense(optim.kronecker_factors(q, **KFLR))
    expected = q.theta - 0.5 * np.linalg.solve(C + 0.1 * np.eye(len(C)), q.gradient)
    opt.step(a.x, a.t)
    np.testing.assert_allclose(opt.objective.flat(), expected, atol=1e-12)
    np.testing.assert_allclose(opt.operator @ np.eye(len(C)), C + 0.1 * np.eye(len(C)), atol=1e-12)


def test_a_deep_linear_net_takes_the_gauss_newton_step():
    """KFLR's factors are exact there, and so are their eigenvectors: the moments change nothing."""
    a = case("mlp")
    linear = nn.Sequential(nn.Linear(3, 2, rng=rng(), **KW))
    q = optim.Objective(linear, nn.SquaredError()).quadratic(a.x, a.t[:, :2])
    np.testing.assert_allclose(dense(optim.kronecker_factors(q, **KFLR)), q.ggn @ np.eye(8), atol=1e-12)


def test_the_older_moments_are_carried_to_new_eigenvectors():
    """As the diagonal of the older matrix in the new basis; between inversions the basis stays."""
    a = case("mlp")
    how = optim.EKFAC(a.model, nn.SquaredError(), average=0.5, estimate="kflr", inverses_every=100).renewal
    running = RunningFactors(optim.Objective(a.model, nn.SquaredError()).crew)
    batches = [(rng(k).standard_normal((N, 3)), np.zeros((N, 2))) for k in range(6)]
    objective = optim.Objective(a.model, nn.SquaredError())
    for k, (x, t) in enumerate(batches[:5]):
        older = running.factors
        assert not running.renew(objective.quadratic(x, t), how, k, 0.1, k)
        if k:
            new = [block.corrected for block in running.factors.blocks]
            own = with_moments(running.factors, [(c.L, c.R) for c in new], objective.quadratic(x, t), "kflr")
            weight = min(0.5, 1 - 1 / (k + 1))
            for block, old, fresh in zip(running.factors.blocks, older.blocks, own.blocks, strict=True):
                K = np.kron(block.corrected.L, block.corrected.R)
                before = np.kron(old.corrected.L, old.corrected.R)
                M = (before * old.corrected.values.ravel()) @ before.T
                carried = np.diag(K.T @ M @ K).reshape(block.shape)
                expected = weight * carried + (1 - weight) * fresh.corrected.values
                np.testing.assert_allclose(block.corrected.values, expected, atol=1e-12)
    basis = running.factors.blocks[0].corrected.L
    assert not running.renew(objective.quadratic(*batches[5]), how, 6, 0.1, 5)  # an update that estimates only
    assert running.factors.blocks[0].corrected.L is basis


def test_as_a_preconditioner():
    """In CG on the GGN of its own batch it needs no more iterations than KFAC's factors."""
    a = case("cnn")
    iterations = {}
    for corrected in (False, True):
        P = optim.KroneckerPreconditioner("kflr", exact=True, corrected=corrected)
        opt = optim.HessianFree(a.model, nn.SquaredError(), preconditioner=P, automatic=False, damping=0.01)
        iterations[corrected] = opt.step(a.x, a.t).cg_iterations
    assert iterations[True] <= iterations[False]
