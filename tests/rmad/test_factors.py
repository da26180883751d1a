"""Kronecker factors from the tape, against dense matrices."""

import numpy as np
import pytest
from recorded import F64, identity_columns, mlp, normal, recorded, rng

import nn
import rmad
from rmad.primitives.layers.conv import conv2d, conv2d_input
from rmad.record import Record
from rmad.sweeps.averaged import averaged


def jacobian(f, params, x):
    """(outputs, parameters) of all cases, and where the leaves lie in the columns."""
    record = Record(f, params, (x,))
    size = np.size(record.y)
    leaves = []
    for k in range(size):
        u = np.zeros(size)
        u[k] = 1
        leaves.append(rmad.ravel(record.pull(u.reshape(np.shape(record.y))))[0])
    shapes = [node.spec.shape for node in record.tape.nodes[: record.n_inputs]]
    return np.stack(leaves), np.concatenate([[0], np.cumsum([int(np.prod(s)) for s in shapes])])


def columns(J, bounds, group):
    return np.concatenate([J[:, bounds[i] : bounds[i + 1]] for i in group.inputs], axis=1)


def blocks(f, params, x, sharing="expand"):
    """Per group: A ⊗ G by all columns, by KFRA, and the exact block."""
    record, meetings = recorded(f, params, x, sharing)
    S = identity_columns(record.y)
    c = len(S)
    A, G = meetings.activations(), meetings.cotangents([S])
    mean = averaged([meetings], [1.0], len(x) * np.eye(c))
    J, bounds = jacobian(f, params, x)
    found = []
    for g, group in enumerate(meetings.groups):
        part = columns(J, bounds, group)
        found.append((np.kron(*meetings.pair(g, A[g], G[g])), np.kron(*meetings.pair(g, A[g], mean[g])), part.T @ part))
    return found


def linear_net(rng):
    return nn.Sequential(nn.Linear(4, 5, rng=rng, **F64), nn.Linear(5, 3, rng=rng, **F64))


def residual(params, x):
    h = np.tanh(x @ params["W"] + params["b"])
    return (h + np.sin(h) @ params["U"]) * 2 @ params["V"]


def linear_residual(params, x):
    h = x @ params["W"] + params["b"]
    return (h + h @ params["U"] - 0.5 * h) @ params["V"]


RESIDUAL = {"W": normal(4, 3), "b": normal(3), "U": normal(3, 3, seed=1), "V": normal(3, 2, seed=2)}


@pytest.mark.parametrize(
    ("f", "params"),
    [(lambda m, x: m(x), mlp(rng())), (lambda m, x: m(x), linear_net(rng())), (residual, RESIDUAL)],
    ids=["mlp", "linear", "residual"],
)
def test_one_case_is_exact(f, params):
    for all_columns, mean, exact in blocks(f, params, normal(1, 4)):
        np.testing.assert_allclose(all_columns, exact, atol=1e-12)
        np.testing.assert_allclose(mean, exact, atol=1e-12)


@pytest.mark.parametrize("n", [2, 5, 9])
@pytest.mark.parametrize(
    ("f", "params"),
    [(lambda m, x: m(x), linear_net(rng())), (linear_residual, RESIDUAL)],
    ids=["chain", "residual"],
)
def test_linear_nets_are_exact_for_any_batch(f, params, n):
    for all_columns, mean, exact in blocks(f, params, normal(n, 4)):
        np.testing.assert_allclose(all_columns, exact, atol=1e-11)
        np.testing.assert_allclose(mean, exact, atol=1e-11)


def test_a_single_weight_with_one_output():
    for all_columns, mean, exact in blocks(lambda W, x: np.tanh(x @ W), normal(1, 1), normal(1, 1)):
        np.testing.assert_allclose(all_columns, exact)
        np.testing.assert_allclose(mean, exact)


def test_all_columns_are_the_mean_over_cases():
    """G of several cases is Σ_n J_nᵀJ_n with respect to the sum before the activation."""
    model, x = mlp(rng()), normal(6, 4)
    record, meetings = recorded(lambda m, x: m(x), model, x)
    G = meetings.cotangents([identity_columns(record.y)])
    h = x @ model[0].weight + model[0].bias

    def rest(h):
        return 1 / (1 + np.exp(-(np.tanh(h) @ model[2].weight + model[2].bias)))

    J = [rmad.JacobianOperator(rest, h[k]) @ np.eye(5) for k in range(6)]
    expected = sum(J_n.T @ J_n for J_n in J)
    np.testing.assert_allclose(G[0][0], expected, rtol=1e-10)


def patches(x, kernel, stride=1, pad=0):
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    n, h, w, _ = x.shape
    rows = [
        x[:, a : a + kernel, b : b + kernel].reshape(n, -1)
        for a in range(0, h - kernel + 1, stride)
        for b in range(0, w - kernel + 1, stride)
    ]
    return np.stack(rows, axis=1)


@pytest.mark.parametrize("sharing", ["expand", "reduce"])
@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (1, 1), (2, 1)])
def test_a_convolution_is_the_product_with_patches(stride, pad, sharing):
    x, W, b, V = normal(3, 6, 6, 2), normal(3, 3, 2, 4), normal(4), normal(4, 2)

    def by_conv(params, x):
        y = np.tanh(conv2d(x, params["W"], stride, pad) + params["b"])
        return y.mean(axis=(1, 2)) @ V

    def by_matmul(params, x):
        y = np.tanh(patches(x, 3, stride, pad) @ params["W"].reshape(-1, 4) + params["b"])
        return y.mean(axis=1) @ V

    record, conv = recorded(by_conv, {"W": W, "b": b}, x, sharing)
    _, product = recorded(by_matmul, {"W": W, "b": b}, x, sharing)
    S = identity_columns(record.y)
    assert [g.shape for g in conv.groups] == [g.shape for g in product.groups] == [(19, 4)]
    assert not conv.rest
    (A, G, mean), (A2, G2, mean2) = (
        (m.activations(), m.cotangents([S]), averaged([m], [1.0], np.eye(2))) for m in (conv, product)
    )
    np.testing.assert_allclose(A[0][0][0], A2[0][0][0], rtol=1e-10)
    np.testing.assert_allclose(G[0][0], G2[0][0], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(mean[0][0], mean2[0][0], rtol=1e-10, atol=1e-14)


def test_the_kernel_of_a_transposed_convolution():
    """One position and one case: exact. KFRA says that it has no form for it."""
    x = normal(1, 1, 1, 3)

    def f(w, x):
        return np.reshape(conv2d_input(x, w, (1, 2, 2, 2)), (1, -1))

    w = normal(2, 2, 2, 3)
    record, meetings = recorded(f, w, x)
    A, G = meetings.activations(), meetings.cotangents([identity_columns(record.y)])
    J, _ = jacobian(f, w, x)
    np.testing.assert_allclose(np.kron(*meetings.pair(0, A[0], G[0])), J.T @ J, atol=1e-12)
    with pytest.raises(ValueError, match="KFRA is not defined for the kernel of conv2d_input"):
        averaged([meetings], [1.0], np.eye(8))


def test_groups_of_a_convolution():
    w = normal(3, 3, 1, 4)
    record, meetings = recorded(lambda w, x: conv2d(x, w, groups=2).mean(axis=(1, 2)), w, normal(3, 5, 5, 2))
    A, G = meetings.activations(), meetings.cotangents([identity_columns(record.y)])
    assert [(g.inputs, g.part) for g in meetings.groups] == [([0], (0, 2)), ([0], (1, 2))]
    for c in range(2):
        assert [M.shape for M in meetings.pair(c, A[c], G[c])] == [(9, 9), (2, 2)]


def test_a_weight_on_the_left():
    """y = W x, with cases as columns, is x Wᵀ."""
    W, x = normal(3, 4), normal(1, 4)
    found = blocks(lambda W, x: np.tanh(W @ x.T).T, W, x)
    for all_columns, mean, exact in found:
        np.testing.assert_allclose(all_columns, exact, atol=1e-12)
        np.testing.assert_allclose(mean, exact, atol=1e-12)


def test_a_transposed_weight():
    W, x = normal(3, 4), normal(1, 4)
    for all_columns, mean, exact in blocks(lambda W, x: np.tanh(x @ W.T), W, x):
        np.testing.assert_allclose(all_columns, exact, atol=1e-12)
        np.testing.assert_allclose(mean, exact, atol=1e-12)


@pytest.mark.parametrize("size", [1.0, 0.05, 0.0])
def test_tied_weights_are_summed_over_their_uses(size):
    """Both pairs are brought to one mean trace on the left, unless one of them is zero."""
    W, x = normal(4, 3), size * normal(5, 4)
    params = {"W": W, "b": normal(3), "c": normal(4)}

    def f(p, x):
        return np.tanh(x @ p["W"] + p["b"]) @ p["W"].T + p["c"]

    record, meetings = recorded(f, params, x)
    by_weight = {g.weight: g for g in meetings.groups}
    assert sorted(by_weight) == [0, 1, 2]  # W; and both biases on their own
    assert [by_weight[k].shape for k in range(3)] == [(4, 3), (1, 3), (1, 4)]
    assert [use.swapped for use in by_weight[0].uses] == [False, True]
    A, G = meetings.activations(), meetings.cotangents([identity_columns(record.y)])
    left, right = meetings.pair(0, A[0], G[0])
    (A1, _), (A2, _) = A[0]
    scale = np.trace(A1) / np.trace(G[0][1]) if size else 1.0
    np.testing.assert_allclose(left, (A1 + scale * G[0][1]) / 2)
    np.testing.assert_allclose(right, G[0][0] + A2 / scale)


def test_rows_of_a_sequence():
    """expand: every row is a case. reduce: activations are averaged and cotangents summed over the rows of a case."""
    W, x = normal(4, 3), normal(5, 7, 4)
    u = normal(1, 5, 7, 3)
    for sharing in ("expand", "reduce"):
        _, meetings = recorded(lambda W, x: x @ W, W, x, sharing)
        A, G = meetings.activations()[0][0][0], meetings.cotangents([u])[0][0]
        a = x.reshape(35, 4) if sharing == "expand" else x.mean(axis=1)
        g = u.reshape(35, 3) if sharing == "expand" else u[0].sum(axis=1)
        np.testing.assert_allclose(A, a.T @ a / len(a))
        np.testing.assert_allclose(G, g.T @ g)


LAYOUTS = {
    "steps first": (lambda W, x: np.swapaxes(x, 0, 1) @ W, lambda u: u.reshape(-1, 3)),
    "steps and cases on one axis": (lambda W, x: np.reshape(x, (-1, 4)) @ W, lambda u: u),
    "cases in columns": (lambda W, x: W.T @ np.transpose(x, (1, 2, 0)), lambda u: np.swapaxes(u, 1, 2).reshape(-1, 3)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_are_found_wherever_the_cases_lie(layout):
    f, as_rows = LAYOUTS[layout]
    W, x = normal(4, 3), normal(5, 7, 4)  # 7 is no multiple of 5
    record, meetings = recorded(f, W, x)
    assert [group.shape for group in meetings.groups] == [(4, 3)]
    u = normal(*np.shape(record.y))
    A, G = meetings.pair(0, meetings.activations()[0], meetings.cotangents([u[None]])[0])
    a, g = x.reshape(35, 4), as_rows(u)
    np.testing.assert_allclose(A, a.T @ a / 35)
    np.testing.assert_allclose(G, g.T @ g)


SUMS = {  # Σ_t tanh(x_nt W) of x: (n, t, 4)
    "steps first": lambda W, x: np.sum(np.tanh(np.swapaxes(x, 0, 1) @ W), axis=0),
    "cases, then steps on one axis": lambda W, x: np.sum(
        np.reshape(np.tanh(np.reshape(x, (-1, 4)) @ W), (*x.shape[:2], 3)), axis=1
    ),
    "steps, then cases on one axis": lambda W, x: np.sum(
        np.reshape(np.tanh(np.reshape(np.swapaxes(x, 0, 1), (-1, 4)) @ W), (x.shape[1], -1, 3)), axis=0
    ),
    "cases in columns": lambda W, x: np.sum(np.tanh(W.T @ np.transpose(x, (1, 2, 0))), axis=0).T,
    "in the middle": lambda W, x: np.sum(np.tanh(np.swapaxes(x, 0, 1)[None] @ W), axis=(0, 1)),
}


@pytest.mark.parametrize("steps", [1, 3, 6, 7])  # as many as there are cases is no way to tell them apart
@pytest.mark.parametrize("f", SUMS.values(), ids=SUMS)
def test_reduce_sums_over_a_case_wherever_its_rows_lie(f, steps):
    W, x, u = normal(4, 3), normal(3, steps, 4), normal(1, 3, 3)
    _, meetings = recorded(f, W, x, "reduce")
    A, G = meetings.pair(0, meetings.activations()[0], meetings.cotangents(u[None])[0])
    a, g = x.mean(axis=1), np.sum((1 - np.tanh(x @ W) ** 2) * u[0][:, None], axis=1)
    np.testing.assert_allclose(A, a.T @ a / 3, rtol=1e-12)
    np.testing.assert_allclose(G, g.T @ g, rtol=1e-12)


@pytest.mark.parametrize("first", ["cases", "images"])
def test_reduce_sums_over_the_images_of_a_case(first):
    """Two images per case, one after the other on the first axis, or all first images before all second ones."""
    kernel, x, u = normal(3, 3, 2, 4), normal(3, 2, 5, 5, 2), normal(1, 3, 4)

    def f(kernel, x):
        images = np.reshape(x if first == "cases" else np.swapaxes(x, 0, 1), (-1, 5, 5, 2))
        y = np.sum(np.tanh(nn.functional.conv2d(images, kernel)), axis=(1, 2))
        return (
            np.sum(np.reshape(y, (3, 2, 4)), axis=1) if first == "cases" else np.sum(np.reshape(y, (2, 3, 4)), axis=0)
        )

    patches = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))  # (n, 2, 3, 3, i, kh, kw)
    rows = np.moveaxis(patches, 4, -1).reshape(3, 18, 18)
    slopes = 1 - np.tanh(rows @ kernel.reshape(18, 4)) ** 2
    _, meetings = recorded(f, kernel, x, "reduce")
    A, G = meetings.pair(0, meetings.activations()[0], meetings.cotangents(u[None])[0])
    a, g = rows.mean(axis=1), np.sum(slopes * u[0][:, None], axis=1)
    np.testing.assert_allclose(A, a.T @ a / 3, rtol=1e-12)
    np.testing.assert_allclose(G, g.T @ g, rtol=1e-12)


def test_reduce_is_exact_where_rows_only_enter_by_their_sum():
    """The mean over positions of a linear layer (Eschenhagen et al. 2023): reduce is exact, for one case."""
    W, x = normal(4, 3), normal(1, 7, 4)
    for all_columns, mean, exact in blocks(lambda W, x: np.sum(x @ W, axis=1) / 7, W, x, "reduce"):
        np.testing.assert_allclose(all_columns, exact, atol=1e-12)
        np.testing.assert_allclose(mean, exact, atol=1e-12)


@pytest.mark.parametrize(
    "layer", [nn.RNN(3, 4, rng=rng(), **F64), nn.LSTM(3, 4, rng=rng(), **F64)], ids=["rnn", "lstm"]
)
def test_a_recurrent_layer_sums_over_time(layer):
    """Compares with the cotangents of every step's sum: the pull with respect to a shift of that step alone."""
    x = normal(2, 5, 3)
    record, meetings = recorded(lambda m, x: m(x), layer, x)
    weights = [g for g in meetings.groups if len(g.uses) > 1]
    assert not meetings.rest
    assert len(weights) == 2
    assert {len(g.uses) for g in meetings.groups} == {4, 5}  # from no state, h @ U is not formed
    A = meetings.activations()
    whole = next(g for g in weights if g.bias is not None)
    k = meetings.groups.index(whole)
    mean, _ = meetings.pair(k, A[k], meetings.cotangents([normal(1, *record.y.shape)])[k])
    rows = np.concatenate([x.reshape(10, 3), np.ones((10, 1))], axis=1)
    np.testing.assert_allclose(mean, rows.T @ rows / 10, rtol=1e-12)


def test_frozen_and_unused_parameters_have_no_factors():
    params = {"W": normal(4, 3), "frozen": normal(3, 3), "unused": normal(7, 7)}

    def f(p, x):
        return np.tanh(x @ p["W"]) @ rmad.stop_gradient(p["frozen"])

    _, meetings = recorded(f, params, normal(5, 4))
    assert [g.inputs for g in meetings.groups] == [[0]]
    assert sorted(meetings.unused) == [1, 2]
    assert meetings.rest == []


def test_the_rest_is_listed():
    params = {"E": normal(6, 3), "s": np.float64(2.0), "gain": normal(3), "W": normal(3, 2), "mask": normal(3, 2)}
    tokens = rng().integers(0, 6, (5, 4))

    def f(p, x):
        return np.tanh((p["E"][x] * p["gain"]).sum(axis=1) @ (p["W"] * p["mask"])) * p["s"]

    _, meetings = recorded(f, params, tokens)
    assert meetings.groups == []
    assert meetings.rest == [0, 1, 2, 3, 4]


def test_checkpoints_are_seen_through():
    model, x = mlp(rng()), normal(3, 4)
    record, plain = recorded(lambda m, x: m(x), model, x)
    _, pieces = recorded(lambda m, x: rmad.checkpoint(lambda m, x: m[2:](m[:2](x)))(m, x), model, x)
    S = identity_columns(record.y)
    for a, b in zip(plain.cotangents([S]), pieces.cotangents([S]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_no_product_is_formed_for_parameters():
    """The sweep pulls through activations only: nodes before the first weight have no cotangent."""
    model, x = mlp(rng()), normal(3, 4)
    record, meetings = recorded(lambda m, x: m(x), model, x)
    reached = [j for j, _ in meetings.pulled([identity_columns(record.y)])]
    assert min(reached) >= meetings.n_inputs


def test_single_precision_stays():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, rng=rng()), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2, rng=rng()))
    record, meetings = recorded(lambda m, x: m(x), model, normal(2, 6, 6, 2).astype(np.float32))
    A, G = meetings.activations(), meetings.cotangents([identity_columns(record.y).astype(np.float32)])
    mean = averaged([meetings], [1.0], np.eye(2, dtype=np.float32))
    for g in range(2):
        assert {M.dtype for M in (*meetings.pair(g, A[g], G[g]), mean[g][0])} == {np.dtype(np.float32)}


def test_sharing_is_checked():
    with pytest.raises(ValueError, match="sharing"):
        recorded(lambda W, x: x @ W, normal(2, 2), normal(3, 2), "sum")
