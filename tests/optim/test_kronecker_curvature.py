"""The curvature of KFAC, KFLR and KFRA against exact matrices; parameters that no block fits."""

import itertools
import warnings

import numpy as np
import pytest

import nn
import optim
import rmad
from optim.parts.estimate import kronecker_factors

METHODS = [optim.KFAC, optim.KFLR, optim.KFRA, optim.EKFAC]
F64 = {"dtype": np.float64}


def rng(seed=0):
    return np.random.default_rng(seed)


def dense_ggn(q):
    return q.ggn @ np.eye(q.objective.size)


def indices(block):
    return np.concatenate([np.arange(first, last) for first, last, _ in block.parts])


def assert_blocks(factors, exact, **tolerance):
    assert factors.blocks
    for block in factors.blocks:
        at = indices(block)
        np.testing.assert_allclose(np.kron(block.A, block.G), exact[np.ix_(at, at)], **tolerance)


def mlp(activation=nn.Tanh, o=3, **kw):
    kw = {"rng": rng(), **F64, **kw}
    return nn.Sequential(
        nn.Linear(4, 6, **kw), activation(), nn.Linear(6, 5, **kw), activation(), nn.Linear(5, o, **kw)
    )


LOSSES = {
    "squared": (nn.SquaredError(), lambda n: rng(1).standard_normal((n, 3))),
    "sigmoid": (nn.SigmoidCrossEntropy(), lambda n: rng(1).random((n, 3))),
    "softmax": (nn.SoftmaxCrossEntropy(), lambda n: rng(1).integers(0, 3, n)),
}


# -- the curvature ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kflr", "kfra"])
@pytest.mark.parametrize("loss", LOSSES)
def test_exact_for_one_case(loss, method):
    L, targets = LOSSES[loss]
    q = optim.Objective(mlp(), L).quadratic(rng().standard_normal((1, 4)), targets(1))
    assert_blocks(kronecker_factors(q, method), dense_ggn(q), atol=1e-12)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("method", ["kflr", "kfra"])
def test_exact_on_deep_linear_nets_for_any_batch(method, shards):
    q = optim.Objective(mlp(nn.Identity), nn.SquaredError(), shards=shards).quadratic(
        rng().standard_normal((8, 4)), rng(1).standard_normal((8, 3))
    )
    assert_blocks(kronecker_factors(q, method), dense_ggn(q), atol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_single_layer_of_kflr_and_kfra_has_the_mean_curvature(loss):
    """The last layer's G is E[L″], exactly, in both."""
    L, targets = LOSSES[loss]
    x = rng().standard_normal((7, 4))
    model = mlp()
    q = optim.Objective(model, L).quadratic(x, targets(7))
    S = L.sqrt_hessian(model(x)).reshape(3, 7, 3)
    for method in ("kflr", "kfra"):
        np.testing.assert_allclose(
            kronecker_factors(q, method).blocks[-1].G, np.einsum("cni,cnj->ij", S, S), atol=1e-14
        )


@pytest.mark.parametrize("method", ["kflr", "kfra"])
def test_factors_do_not_depend_on_the_shards(method):
    x, t = rng().standard_normal((9, 4)), rng(1).integers(0, 3, 9)
    found = [
        kronecker_factors(optim.Objective(mlp(), nn.SoftmaxCrossEntropy(), shards=k, threads=2).quadratic(x, t), method)
        for k in (1, 2, 4)
    ]
    for other in found[1:]:
        for a, b in zip(found[0].blocks, other.blocks, strict=True):
            np.testing.assert_allclose(a.A, b.A, rtol=1e-12)
            np.testing.assert_allclose(a.G, b.G, rtol=1e-12)


class Rescaled(nn.Module):
    """Layers on rows (n, T, i), between them a scale per unit, one per position, and one that depends on the case."""

    def __init__(self):
        self.first, self.last = nn.Linear(3, 4, rng=rng(), **F64), nn.Linear(4, 3, rng=rng(1), **F64)

    def __call__(self, x):
        h = self.first(x) * np.array([1.0, 2.0, 0.5, 3.0])
        h = h * np.arange(1.0, x.shape[1] + 1)[:, None] * np.max(np.abs(x), axis=(1, 2), keepdims=True)
        return np.mean(self.last(np.tanh(h)), axis=1)


@pytest.mark.parametrize("method", ["kflr", "kfra"])
@pytest.mark.parametrize("model", [mlp(), mlp(nn.ReLU), Rescaled()], ids=["tanh", "relu", "rescaled"])
def test_factors_do_not_depend_on_shards_of_one_case(model, method):
    """One case has the shape of what is the same for all cases: the first shard may not be taken for that."""
    n, width = (5, (2, 3)) if isinstance(model, Rescaled) else (4, (4,))
    x, t = rng().standard_normal((n, *width)), rng(1).standard_normal((n, 3))
    whole, *others = (
        kronecker_factors(optim.Objective(model, nn.SquaredError(), shards=k, threads=2).quadratic(x, t), method)
        for k in (1, 2, 3, n)
    )
    in_turn = optim.Objective(model, nn.SquaredError(), cases_in_memory=1, threads=1)
    for other in [*others, kronecker_factors(in_turn.quadratic(x, t), method)]:
        for a, b in zip(whole.blocks, other.blocks, strict=True):
            np.testing.assert_allclose(a.A, b.A, rtol=1e-12, atol=1e-13)
            np.testing.assert_allclose(a.G, b.G, rtol=1e-12, atol=1e-13)


def test_kfra_of_one_case_at_a_time():
    """The first G of a net of two layers, each case a shard of its own."""
    r = np.random.default_rng
    layers = nn.Linear(3, 5, rng=r(0), **F64), nn.Tanh(), nn.Linear(5, 3, rng=r(1), **F64)
    model, x = nn.Sequential(*layers), r(2).normal(size=(4, 3))
    b = 1 - np.tanh(layers[0](x)) ** 2
    W = layers[2].weight
    right = (W @ W.T) * (b.T @ b) / 4  # Ḡ ⊙ E[b bᵀ], Ḡ = W Wᵀ: L″ is the identity
    q = optim.Objective(model, nn.SquaredError(), shards=4).quadratic(x, r(3).normal(size=(4, 3)))
    np.testing.assert_allclose(kronecker_factors(q, "kfra").blocks[0].G, right, rtol=1e-12)


def test_batches_larger_than_memory():
    x, t = rng().standard_normal((9, 4)), rng(1).integers(0, 3, 9)
    objective = optim.Objective(mlp(), nn.SoftmaxCrossEntropy(), cases_in_memory=4, threads=1)
    whole = optim.Objective(mlp(), nn.SoftmaxCrossEntropy())
    for a, b in zip(
        kronecker_factors(objective.quadratic(x, t), "kflr").blocks,
        kronecker_factors(whole.quadratic(x, t), "kflr").blocks,
        strict=True,
    ):
        np.testing.assert_allclose(a.G, b.G, rtol=1e-12)


@pytest.mark.parametrize("loss", [*LOSSES, "per position"])
def test_kfac_tends_to_kflr(loss):
    """Over draws of the targets the mean of G is KFLR's within five standard errors, in every entry."""
    if loss == "per position":
        L, t = nn.SoftmaxCrossEntropy(per_position=True), rng(1).integers(0, 3, (5, 2))
        x = rng().standard_normal((5, 2, 4))
    else:
        L, t, x = LOSSES[loss][0], LOSSES[loss][1](5), rng().standard_normal((5, 4))
    q = optim.Objective(mlp(), L, shards=2).quadratic(x, t)
    draws = [kronecker_factors(q, "kfac", seed=k) for k in range(300)]
    for k, exact in enumerate(kronecker_factors(q, "kflr").blocks):
        G = np.stack([draw.blocks[k].G for draw in draws])
        error = G.std(axis=0, ddof=1) / np.sqrt(len(G))
        assert (np.abs(G.mean(axis=0) - exact.G) <= 5 * error + 1e-15).all()
        np.testing.assert_allclose(draws[0].blocks[k].A, exact.A)


@pytest.mark.parametrize(
    "loss", [nn.SoftmaxCrossEntropy(), lambda z, t: nn.SoftmaxCrossEntropy().value(z, t)], ids=["drawn", "signs"]
)
def test_more_samples_come_closer(loss):
    q = optim.Objective(mlp(), loss).quadratic(rng().standard_normal((20, 4)), rng(1).integers(0, 3, 20))
    exact = kronecker_factors(q, "kflr").blocks[0].G
    error = [np.linalg.norm(kronecker_factors(q, "kfac", samples=m).blocks[0].G - exact) for m in (1, 400)]
    assert error[1] < error[0] / 5


def test_the_empirical_fisher_takes_the_targets_of_the_batch():
    x, t = rng().standard_normal((5, 4)), rng(1).integers(0, 3, 5)
    model, L = mlp(), nn.SoftmaxCrossEntropy()
    q = optim.Objective(model, L).quadratic(x, t)
    u = L.gradient(model(x), t)
    np.testing.assert_allclose(kronecker_factors(q, "empirical").blocks[-1].G, 5 * u.T @ u)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_hessian_blocks_of_piecewise_linear_nets_are_those_of_the_ggn(activation):
    """The corollary of section 3: and so no layer has negative curvature. With tanh neither holds."""
    model = mlp(activation)
    q = optim.Objective(model, nn.SoftmaxCrossEntropy()).quadratic(
        3 * rng().standard_normal((6, 4)), rng(1).integers(0, 3, 6)
    )
    G, H = dense_ggn(q), q.hessian @ np.eye(q.objective.size)
    worst, lowest = 0.0, 0.0
    for block in kronecker_factors(q, "kflr").blocks:
        at = np.ix_(indices(block), indices(block))
        worst = max(worst, np.abs(G[at] - H[at]).max())
        lowest = min(lowest, np.linalg.eigvalsh(H[at])[0])
    assert np.abs(G - H).max() > 1e-3  # between layers they differ
    if activation is nn.ReLU:
        assert worst < 1e-12
        assert lowest > -1e-12
    else:
        assert worst > 1e-3
        assert lowest < -1e-4


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("name", ["cnn", "rnn", "attention"])
def test_the_mean_over_rows_against_dense_matrices(name, n):
    """A ⊗ G with A and G from the rows of dense Jacobians: ∂/∂(the sum that a weight stands in) by the tape itself."""
    kw = {"rng": rng(), **F64}
    x = rng(2)
    if name == "cnn":
        model = nn.Sequential(nn.Conv2d(1, 2, 2, **kw), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2, **kw))
        x = x.standard_normal((n, 3, 3, 1))
    elif name == "rnn":
        model, x = nn.Sequential(nn.RNN(2, 3, **kw), nn.Linear(3, 2, **kw)), x.standard_normal((n, 3, 2))
    else:
        model, x = nn.TransformerBlock(2, 1, hidden=3, **kw), x.standard_normal((n, 3, 2))
    z = model(x)
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, np.zeros_like(z))
    found, exact = kronecker_factors(q, "kflr"), dense_ggn(q)
    assert found.blocks
    # one row per case and a linear way on: the last layer of the CNN is exact. Every block has the right trace
    # for A = I: the trace over inputs with a unit activation is that of its bias, whose block is exact in shape
    if name == "cnn":
        at = indices(found.blocks[-1])
        np.testing.assert_allclose(np.kron(found.blocks[-1].A, found.blocks[-1].G), exact[np.ix_(at, at)], atol=1e-12)
    for block in found.blocks:
        assert np.linalg.eigvalsh(block.A)[0] > -1e-12
        assert np.linalg.eigvalsh(block.G)[0] > -1e-12
    at = np.flatnonzero(found.rest)
    np.testing.assert_allclose(found.d[at], exact[at, at], atol=1e-12)


# -- parameters without a block ---------------------------------------------------------------------------------


class Odd(nn.Module):
    """An embedding, a gain, a free scalar, a frozen and an unused weight."""

    def __init__(self):
        self.E = rng().standard_normal((6, 4))
        self.gain, self.scale = np.ones(4), np.array(1.5)
        self.W, self.frozen = rng(1).standard_normal((4, 4)), rng(2).standard_normal((4, 3))
        self.unused = np.ones((2, 2))

    def forward(self, x):
        h = np.tanh((self.E[x].sum(axis=1) * self.gain) @ self.W)
        return self.scale * h @ rmad.stop_gradient(self.frozen)


@pytest.mark.parametrize("Method", METHODS)
def test_what_no_block_fits(Method):
    model = Odd()
    before = rmad.trees.tree.map_leaves(
        np.array, {k: getattr(model, k) for k in ("E", "gain", "scale", "W", "frozen", "unused")}
    )
    x = rng().integers(0, 6, (8, 3))
    t = x[:, 0] % 3
    opt = Method(model, nn.SoftmaxCrossEntropy())
    losses = [opt.step(x, t) for _ in range(20)]
    assert losses[-1].loss < 0.7 * losses[0].loss
    assert losses[0].reason == "diagonal curvature for 29 parameters; 16 parameters are not used"
    for name in ("E", "gain", "scale", "W"):
        assert np.any(before[name] != getattr(model, name))
    for name in ("frozen", "unused"):
        np.testing.assert_array_equal(before[name], getattr(model, name))


def test_the_diagonal_is_that_of_the_ggn():
    x, t = rng().integers(0, 6, (8, 3)), rng(1).integers(0, 3, 8)
    q = optim.Objective(Odd(), nn.SoftmaxCrossEntropy(), shards=2).quadratic(x, t)
    found, exact = kronecker_factors(q, "kflr"), np.diag(dense_ggn(q))
    np.testing.assert_allclose(found.d[found.rest], exact[found.rest], atol=1e-12)
    assert np.count_nonzero(found.rest) == 29
    draws = np.stack([kronecker_factors(q, "kfac", seed=k).d for k in range(300)])
    error = draws.std(axis=0, ddof=1) / np.sqrt(300)
    assert (np.abs(draws.mean(axis=0) - found.d) <= 5 * error + 1e-15).all()


def test_batch_norm_has_an_estimate():
    """Cases mix, so the diagonal of the scales is a mean over signs: unbiased."""
    model = nn.Sequential(
        nn.Linear(4, 3, rng=rng(), **F64), nn.BatchNorm(3, **F64), nn.Tanh(), nn.Linear(3, 2, rng=rng(), **F64)
    )
    x, t = rng().standard_normal((8, 4)), rng(1).integers(0, 2, 8)
    opt = optim.KFAC(model, nn.SoftmaxCrossEntropy())
    infos = [opt.step(x, t) for _ in range(20)]
    assert infos[-1].loss < infos[0].loss / 2
    assert "diagonal curvature for 3 parameters" in infos[0].reason
    q = opt.objective.quadratic(x, t)
    draws = np.stack([kronecker_factors(q, "kfac", seed=k).d for k in range(600)])
    exact, rest = np.diag(dense_ggn(q)), kronecker_factors(q, "kfac").rest
    error = draws.std(axis=0, ddof=1) / np.sqrt(600)
    assert (np.abs(draws.mean(axis=0) - exact) <= 5 * error + 1e-15)[rest].all()


def test_the_diagonal_before_cases_mix():
    """Two cases have the same signs or different ones: (a + b)² or (a − b)² for each column, a² + b² on average."""

    def mixing(params, x):
        h = np.tanh(x * params["gain"])
        return (h - np.mean(h, axis=0)) @ params["W"]

    model = optim.Function(mixing, {"gain": np.ones(4), "W": rng(1).standard_normal((4, 3))})
    x, t = rng(2).standard_normal((2, 4)), rng(3).standard_normal((2, 3))
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, t)
    _, pull = rmad.vjp(lambda gain: mixing({**model.params, "gain": gain}, x), np.ones(4))
    of_signs = np.array([[pull(np.outer([1.0, sign], e)) ** 2 / 2 for e in np.eye(3)] for sign in (1, -1)])
    possible = [of_signs[signs, range(3)].sum(axis=0) for signs in itertools.product([0, 1], repeat=3)]
    for seed in range(6):
        found = kronecker_factors(q, "kflr", seed=seed)
        assert any(np.allclose(found.d[found.rest], sums, rtol=1e-10) for sums in possible)


def test_an_output_without_cases():
    """One number for the whole batch: the empirical Fisher is the squared gradient, without signs."""
    model = optim.Function(lambda p, x: np.sum(np.tanh(x * p)), np.array([0.3, 0.4]))
    q = optim.Objective(model, lambda z, t: (z - t) ** 2 / 2).quadratic(rng(4).standard_normal((3, 2)), 1.0)
    np.testing.assert_allclose(kronecker_factors(q, "empirical").d, q.gradient**2)


def images(n=20):
    g = np.random.default_rng(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding="same", rng=g), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 4, 3, padding="same", rng=g), nn.Tanh(), nn.Flatten(), nn.Linear(196, 3, rng=g)),
    )
    return net, g.normal(size=(n, 14, 14, 1)).astype(np.float32), g.integers(0, 3, n)


@pytest.mark.parametrize(
    "make",
    [
        optim.KFRA,
        lambda m, f: optim.HessianFree(m, f, preconditioner=optim.KroneckerPreconditioner("kfra"), cg_iterations=2),
    ],
)
def test_kfra_warns_of_its_cost_once(make, monkeypatch):
    """With the limit in seconds lowered to that of a small net; the message comes before they are spent."""
    monkeypatch.setattr("optim.tuning.AVERAGED_CURVATURE_SECONDS", 1e-3)
    net, x, t = images()
    opt = make(net, nn.SoftmaxCrossEntropy())
    message = r"KFRA passes matrices of up to 784 × 784 .* takes about [\d.e-]+ seconds .* as long as \d+ grad.* GB"
    with pytest.warns(RuntimeWarning, match=message):
        opt.step(x, t)
    for _ in range(3):
        opt.step(x, t)  # a warning is an error here
    optim.KFAC(images()[0], nn.SoftmaxCrossEntropy()).step(x, t)


def test_kfra_warns_of_a_net_for_28_by_28_images():
    """At the limits as they are: by shapes alone, without the step."""
    g = np.random.default_rng(0)
    net = nn.Sequential(
        *(nn.Conv2d(1, 8, 5, rng=g), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 5, rng=g), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 10, rng=g)),
    )
    x, t = g.normal(size=(100, 28, 28, 1)).astype(np.float32), g.integers(0, 10, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opt = optim.KFRA(net, nn.SoftmaxCrossEntropy())
        with pytest.raises(RuntimeWarning, match=r"KFRA passes matrices of up to 4,608 × 4,608"):
            opt.step(x, t)
        dense = optim.KFRA(nn.models.mlp((784, 300, 100, 10), rng=g), nn.SoftmaxCrossEntropy())
        dense.step(x.reshape(100, -1), t)


TURNED = {
    ".T": lambda W: W.T,
    "transpose": lambda W: np.transpose(W),
    "transpose of no axes": lambda W: np.transpose(W, None),
    "transpose by axes": lambda W: np.transpose(W, (1, 0)),
    "transpose by negative axes": lambda W: W.transpose(-1, -2),
    "swapaxes": lambda W: np.swapaxes(W, 0, 1),
    "swapaxes from the end": lambda W: np.swapaxes(W, -1, -2),
}


@pytest.mark.parametrize("turn", TURNED)
def test_a_weight_that_is_turned_shares_no_block_with_the_bias(turn):
    """z = W xᵀ as rows, + b: exact for one case, with the rows of W on the side of the outputs."""
    params = {"W": rng().standard_normal((3, 4)), "b": rng(1).standard_normal(3)}
    model = optim.Function(lambda p, x: np.tanh(x @ TURNED[turn](p["W"]) + p["b"]), params)
    q = optim.Objective(model, nn.SquaredError()).quadratic(rng(2).standard_normal((1, 4)), rng(3).random((1, 3)))
    for method in ("kflr", "kfra"):
        factors = kronecker_factors(q, method)
        assert [(len(b.A), len(b.G)) for b in factors.blocks] == [(3, 4), (1, 3)]
        assert_blocks(factors, dense_ggn(q), atol=1e-12)


def test_a_transpose_that_turns_nothing_has_no_block():
    params = {"W": rng().standard_normal((4, 3))}
    model = optim.Function(lambda p, x: np.tanh(x @ np.transpose(p["W"], (0, 1))), params)
    q = optim.Objective(model, nn.SquaredError()).quadratic(rng(2).standard_normal((1, 4)), rng(3).random((1, 3)))
    factors = kronecker_factors(q, "kflr")
    assert not factors.blocks
    np.testing.assert_allclose(factors.d, np.diag(dense_ggn(q)), atol=1e-12)


@pytest.mark.parametrize("method", ["kfac", "empirical", "kflr", "kfra"])
@pytest.mark.parametrize(
    "loss", [nn.SigmoidCrossEntropy(), lambda z, t: nn.SigmoidCrossEntropy().value(z, t)], ids=["targets", "signs"]
)
def test_no_division_changes_the_diagonal_of_parameters_without_a_block(method, loss):
    """What is drawn for a case is the same in whatever shard it is: so is the diagonal of KFRA, which draws for it."""
    layers = nn.Linear(4, 3, rng=rng(), **F64), nn.LayerNorm(3, **F64), nn.Tanh(), nn.Linear(3, 3, rng=rng(), **F64)
    x, t = rng().standard_normal((7, 4)), rng(1).random((7, 3))
    found = [
        kronecker_factors(optim.Objective(nn.Sequential(*layers), loss, shards=shards).quadratic(x, t), method)
        for shards in (1, 2, 3, 7)
    ]
    assert found[0].rest.any()
    assert (found[0].d[found[0].rest] > 0).all()
    for other in found[1:]:
        np.testing.assert_allclose(other.d, found[0].d, rtol=1e-10)
