"""KFRA's recursion: curvature averaged over the cases at every node of the tape."""

import numpy as np
import pytest
from recorded import F64, identity_columns, mlp, normal, recorded, rng

import nn
import rmad
from rmad.primitives.elementwise import sigmoid
from rmad.primitives.layers.conv import conv2d
from rmad.record import Record
from rmad.sweeps.averaged import averaged, cost
from rmad.sweeps.case_maps import Constants, Scalar, Scale, Selected, find_map
from rmad.sweeps.rows import Rows
from rmad.tapes.blocks import Diagonal
from rmad.tapes.tape import ArraySpec


def test_kfra_by_its_recursion():
    """Ḡ_l = (W Ḡ_{l+1} Wᵀ) ⊙ E[b bᵀ] on two layers, eq. (21)."""
    model, x = mlp(rng()), normal(6, 4)
    _, meetings = recorded(lambda m, x: m(x), model, x)
    H = normal(3, 3, seed=3)
    H = H @ H.T
    found = averaged([meetings], [1.0], H)
    h = np.tanh(x @ model[0].weight + model[0].bias)
    s = 1 / (1 + np.exp(-(h @ model[2].weight + model[2].bias)))
    b2, b1 = s * (1 - s), 1 - h**2
    G2 = H * (b2.T @ b2) / 6
    np.testing.assert_allclose(found[1][0], G2, rtol=1e-12)
    np.testing.assert_allclose(found[0][0], (model[2].weight @ G2 @ model[2].weight.T) * (b1.T @ b1) / 6, rtol=1e-12)


def test_parts_of_a_batch_add_up():
    model, x = mlp(rng()), normal(6, 4)
    whole = averaged([recorded(lambda m, x: m(x), model, x)[1]], [1.0], np.eye(3))
    parts = [recorded(lambda m, x: m(x), model, x[s])[1] for s in (slice(0, 2), slice(2, 6))]
    for a, b in zip(whole, averaged(parts, [1 / 3, 2 / 3], np.eye(3)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(2, 3, 3, rng=rng(), **F64), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 3, 3, rng=rng(), **F64), nn.ReLU(), nn.MaxPool2d(3, 1), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 3, 3, rng=rng(), **F64), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 3, 3, rng=rng(), **F64), nn.ReLU(), nn.MaxPool2d((3, 1), (3, 2)), nn.Flatten()),
        nn.Sequential(nn.Conv2d(2, 3, 3, rng=rng(), **F64), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten()),
        nn.Sequential(nn.Linear(2, 3, rng=rng(), **F64), nn.LayerNorm(3, **F64), nn.Flatten()),
    ],
    ids=["max", "overlapping-max", "padded-max", "max-with-gaps", "mean", "layer-norm"],
)
def test_primitives_on_the_way_by_their_cases(model):
    """KFRA's matrix at the first sum is E[J_nᵀ H J_n], J_n by the tape; one nonlinear map each, so that this is all."""
    x = normal(4, 6, 6, 2)
    record, meetings = recorded(lambda m, x: m(x), model, x)
    c = record.y.size // 4
    H = normal(c, c, seed=5)
    H = H @ H.T / c
    found = averaged([meetings], [1.0], H)[0][0]
    after = model[1:]
    h = model[0](x)
    expected = np.zeros((3, 3))
    D = h[0].size
    if isinstance(model[1], nn.LayerNorm):
        for k in range(4):
            J = rmad.JacobianOperator(lambda a: nn.Sequential(*after)(a), h[k : k + 1]) @ np.eye(D)
            expected += np.einsum("pipj->ij", (J.T @ H @ J).reshape(D // 3, 3, D // 3, 3)) / 4
        np.testing.assert_allclose(found, expected, rtol=1e-9)
        return
    # elementwise and pooling in turn, each averaged
    s = model[1](h)
    M = np.zeros((D, D))
    pool = nn.Sequential(*model[2:])
    for k in range(4):
        J = rmad.JacobianOperator(pool, s[k : k + 1]) @ np.eye(D)
        M += J.T @ H @ J / 4
    b = rmad.grad(lambda a: np.sum(model[1](a)))(h).reshape(4, -1)
    M *= b.T @ b / 4
    expected = np.einsum("pipj->ij", M.reshape(D // 3, 3, D // 3, 3))
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_attention_for_one_case_is_exact_in_the_cotangents():
    """For one case KFRA and all columns agree through a transformer block."""
    model, x = nn.TransformerBlock(4, 2, rng=rng(), **F64), normal(1, 3, 4)
    record, meetings = recorded(lambda m, x: m(x), model, x)
    G, mean = meetings.cotangents([identity_columns(record.y)]), averaged([meetings], [1.0], np.eye(12))
    for a, b in zip(G, mean, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-12)


def test_cases_that_mix_are_named():
    model = nn.Sequential(nn.Linear(3, 4, rng=rng(), **F64), nn.BatchNorm(4, **F64))
    _, meetings = recorded(lambda m, x: m(x), model, normal(5, 3))
    with pytest.raises(ValueError, match=r"KFRA is not defined for standardize .* cases mix"):
        averaged([meetings], [1.0], np.eye(4))


def test_what_the_averaged_sweep_refuses(monkeypatch):
    """Several outputs, outputs without rows of cases, and matrices that are too large."""
    W, x = normal(3, 4), normal(5, 3)
    _, two = recorded(lambda W, x: (x @ W, np.tanh(x @ W)), W, x)
    with pytest.raises(ValueError, match=r"one array of outputs that depends on the parameters, found 2"):
        averaged([two], [1.0], np.eye(8))
    _, turned = recorded(lambda W, x: (x @ W).T, W, x)
    with pytest.raises(ValueError, match=r"output has shape \(4, 5\), and no first axis for the 5 cases"):
        averaged([turned], [1.0], np.eye(4))
    monkeypatch.setattr("rmad.tuning.AVERAGED_CURVATURE_MOST", 3)
    _, wide = recorded(lambda W, x: np.tanh(x @ W), W, x)
    with pytest.raises(ValueError, match=r"tanh has an input of 4 numbers per case, .* 4 × 4 matrix; use KFAC or KFLR"):
        averaged([wide], [1.0], np.eye(4))


@pytest.mark.parametrize(
    ("n", "shape", "kind"),
    [
        (4, (), Scalar),
        (4, (3,), Constants),
        (4, (1, 3), Constants),
        (4, (4, 3), Scale),
        (4, (4, 1), Scale),
        (1, (3,), Constants),
        (1, (1, 3), Scale),  # the one case's own, as far as can be seen
    ],
)
def test_a_factor_that_all_cases_share_is_no_factor_of_each(n, shape, kind):
    """Its mean takes no pass over the cases; either way the map pulls d ⊙ M."""
    spec, d = ArraySpec((n, 3), np.dtype(float)), normal(*shape)
    block, rows = Diagonal(sigmoid, 0, spec, spec, d), [Rows(n, 0)]
    found, _ = find_map([block], rows, None, [1.0], lambda task, k: [task(j) for j in range(k)], d)
    assert type(found) is kind
    M = normal(3, 2, seed=1)
    mean = np.mean(np.broadcast_to(d, (n, 3)), axis=0)
    np.testing.assert_allclose(found.mean_pull(M), mean[:, None] * M, rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "x", "axis"),
    [
        (lambda K: conv2d(normal(4, 5, 5, 1), K), normal(2, 2, 1, 3), 0),
        (lambda P: P @ normal(4, 5).T, normal(3, 5), 1),
        (lambda W: normal(4, 5) @ W, normal(5, 3), 0),
    ],
    ids=["kernel", "left factor", "right factor"],
)
def test_what_all_cases_share_has_no_map_of_the_cases(f, x, axis):
    """An argument that all cases share, at products that have a map for their other argument."""
    block = Record(f, x, ()).tape.nodes[1].blocks[0]
    with pytest.raises(ValueError, match=r"cases mix, or do not lie along an axis"):
        find_map([block], [Rows(4, axis)], None, [1.0], lambda task, k: [task(j) for j in range(k)], x)


def test_windows_are_found_by_their_block():
    """No pass over the cases is needed to know them."""
    block = Record(lambda x: nn.MaxPool2d(2)(x), normal(4, 4, 4, 1), ()).tape.nodes[1].blocks[0]
    found, _ = find_map([block], [Rows(4, 0)], None, [1.0], lambda task, k: [task(j) for j in range(k)], block.y)
    assert type(found) is Selected


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2, padding=1)], ids=["apart", "overlapping"])
def test_parts_of_pooled_images_add_up(pool):
    """Parts of unequal sizes, and a second way to the sum past the maximum, so that cross terms come too."""
    features = nn.Conv2d(1, 2, 3, rng=rng(), **F64)

    def both_ways(model, x):
        h = model(x)
        return np.sum(pool(h), axis=(1, 2)) + np.mean(h, axis=(1, 2))

    x, H = normal(5, 8, 8, 1), np.array([[2.0, 0.3], [0.3, 1.0]])
    whole = averaged([recorded(both_ways, features, x)[1]], [1.0], H)
    parts = [recorded(both_ways, features, x[s])[1] for s in (slice(0, 1), slice(1, 5))]
    np.testing.assert_allclose(averaged(parts, [1 / 5, 4 / 5], H)[0][0], whole[0][0], rtol=1e-12)
    lin = rmad.linearize(lambda h: np.sum(pool(h), axis=(1, 2)) + np.mean(h, axis=(1, 2)), features(x))[1]
    J = np.stack([lin.JTu(np.tile(e, (5, 1))) for e in np.eye(2)], axis=1)  # (n, o, p, q, c)
    expected = np.einsum("nopqc,ok,nkpqd->cd", J, H, J) / 5
    np.testing.assert_allclose(whole[0][0], expected, rtol=1e-12)


def test_images_of_which_several_make_a_case():
    """A kernel that runs over two images of each case: KFRA's matrix of the first layer is E[J_nᵀ H J_n]."""
    first, kernel = nn.Linear(2, 2, rng=rng(), **F64), normal(2, 2, 2, 3, seed=3)

    def two_images(model, x):
        h = np.reshape(model(x), (-1, 3, 3, 2))
        return np.reshape(conv2d(h, kernel), (x.shape[0], -1))

    x = normal(4, 2, 3, 3, 2)
    record, meetings = recorded(two_images, first, x)
    c = record.y.size // 4
    H = normal(c, c, seed=5)
    H = H @ H.T / c
    h = first(x)
    J = rmad.JacobianOperator(lambda h: np.reshape(conv2d(h, kernel), (-1,)), h[0]) @ np.eye(h[0].size)
    expected = np.einsum("pipj->ij", (J.T @ H @ J).reshape(18, 2, 18, 2))
    np.testing.assert_allclose(averaged([meetings], [1.0], H)[0][0], expected, rtol=1e-9)


def test_the_cost_grows_as_said():
    """n d² for a map that differs by case, two passes for a product with a weight; nothing before the first weight."""
    model = mlp(rng())  # 4 - 5 - 3, tanh between
    costs = {n: cost([recorded(lambda m, x: m(x), model, normal(n, 4))[1]]) for n in (6, 12)}
    widths = [model[0].weight.shape, model[2].weight.shape]
    (i, h), (_, o) = widths
    for n, found in costs.items():
        assert found.forward == n * (i * h + h * o)
        assert (found.width, found.memory) == (h, 3 * 8 * h * h)
    assert costs[12].work - costs[6].work == 6 * (h * h + o * o)
    assert costs[6].work == 6 * (h * h + o * o) + (h + o) * h * o
    parts = [recorded(lambda m, x: m(x), model, normal(n, 4))[1] for n in (2, 4)]
    assert cost(parts) == costs[6]


def test_the_cost_of_factors():
    """A number times Ḡ is a pass over it; a vector counts as if it differed from case to case."""
    W, V, x = normal(4, 5), normal(5, 3), normal(6, 4)
    by_number, by_vector = (
        cost([recorded(lambda p, x, s=s: (x @ p[0] * s) @ p[1], (W, V), x)[1]]).work for s in (2.0, normal(5))
    )
    assert by_number < by_vector == (5 + 3) * 5 * 3 + 6 * 5**2
