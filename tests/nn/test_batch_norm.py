"""BatchNorm: torch's numbers, batch statistics in every sweep, running averages once per accepted update."""

import numpy as np
import pytest

import nn
import optim
import rmad

SHAPES = [(5, 3), (2, 3), (4, 6, 3), (2, 5, 3, 3), (1, 2, 1, 3)]


def made(dtype=np.float64, **options):
    rng = np.random.default_rng(0)
    layer = nn.BatchNorm(3, dtype=dtype, **options)
    layer.weight, layer.bias = rng.uniform(0.5, 2, 3).astype(dtype), rng.standard_normal(3).astype(dtype)
    return layer


def data(shape, dtype=np.float64):
    return (3 + 2 * np.random.default_rng(1).standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 1e-10), (np.float32, 2e-4)])
def test_as_torch(shape, training, dtype, rtol):
    torch = pytest.importorskip("torch")
    layer, x = made(dtype), data(shape, dtype)
    layer.running_mean, layer.running_var = np.array([1, 2, 3], dtype), np.array([0.5, 1, 4], dtype)
    twin = torch.nn.BatchNorm1d(3, dtype=torch.float64 if dtype == np.float64 else torch.float32)
    twin.train(training)
    state = {name: torch.tensor(a) for name, a in layer.state_dict().items()}
    twin.load_state_dict(state | {"num_batches_tracked": torch.tensor(0)})
    layer.train(training)
    layer.begin_step()

    flat = torch.tensor(x.reshape(-1, 3), requires_grad=True)
    expected = twin(flat)
    u = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    expected.backward(torch.tensor(u.reshape(-1, 3)))
    y, pull = rmad.vjp(lambda args: args[0](args[1]), (layer, x))
    of_layer, of_x = pull(u)
    assert y.dtype == of_x.dtype == dtype
    for ours, theirs in [
        (y, expected.detach()),
        (of_x, flat.grad),
        (of_layer.weight, twin.weight.grad),
        (of_layer.bias, twin.bias.grad),
    ]:
        theirs = theirs.numpy().reshape(ours.shape)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * max(1, np.abs(theirs).max()))

    layer.end_step()
    np.testing.assert_allclose(layer.running_mean, twin.running_mean.numpy(), rtol=1e-5)
    np.testing.assert_allclose(layer.running_var, twin.running_var.numpy(), rtol=1e-5)
    assert layer.running_mean.dtype == dtype


@pytest.mark.parametrize("training", [True, False])
def test_derivatives(training):
    layer = made().train(training)
    rmad.check_grads(lambda m, x: m(x), layer, data((5, 2, 3)), order=2)
    rmad.check_grads(lambda x: layer(x), data((5, 2, 3)), order=2)
    rmad.check_grads(lambda x: nn.BatchNorm(3, affine=False, dtype=np.float64)(x), data((4, 3)), order=2)


def net():
    rng = np.random.default_rng(3)
    f64 = {"rng": rng, "dtype": np.float64}
    return nn.Sequential(nn.Linear(4, 3, **f64), made(), nn.Tanh(), nn.Linear(3, 2, **f64))


def test_ggn_against_the_dense_one():
    model, x = net(), np.random.default_rng(4).standard_normal((6, 4))
    t, loss = np.array([0, 1, 1, 0, 1, 0]), nn.SoftmaxCrossEntropy()
    q = optim.Objective(model, loss).quadratic(x, t)
    assert len(q.shards) == 1
    flat, unravel = rmad.ravel(model)
    identity = np.eye(flat.size)
    _, lin = rmad.linearize(lambda m: m(x), model)
    J = np.stack([lin.Jv(unravel(e)).ravel() for e in identity], axis=1)
    z = model(x)
    L = np.stack([loss.hessian_product(z, t, e.reshape(z.shape)).ravel() for e in np.eye(z.size)])
    G = np.stack([q.ggn.matvec(e) for e in identity], axis=1)
    np.testing.assert_allclose(G, J.T @ L @ J, atol=1e-13)


def test_a_batch_is_divided_in_use_only():
    x, t = np.ones((8, 4)), np.ones((8, 2))
    model = net()
    objective = optim.Objective(model, nn.SquaredError(), shards=4)
    assert len(objective.divide(x, t)) == 1
    model.eval()
    assert len(objective.divide(x, t)) == 4


def test_statistics_are_no_parameters():
    model = net()
    assert rmad.ravel(model)[0].size == sum(a.size for a in model.parameters()) == 4 * 3 + 3 + 3 + 3 + 3 * 2 + 2
    assert [name for name in model.state_dict() if "running" in name] == ["1.running_mean", "1.running_var"]


@pytest.mark.parametrize(
    "make",
    [
        lambda m: optim.SGD(m, nn.SquaredError(), lr=0.1),
        lambda m: optim.Adam(m, nn.SquaredError()),
        lambda m: optim.HessianFree(m, nn.SquaredError(), damping=0.1, preconditioner=False),
    ],
    ids=["sgd", "adam", "hf"],
)
def test_running_averages_follow_accepted_updates_only(make):
    model, rng = net(), np.random.default_rng(5)
    x, t = rng.standard_normal((20, 4)), rng.standard_normal((20, 2))
    opt, norm = make(model), model[1]
    at_the_start = model[0](x)
    opt.step(x, t)
    np.testing.assert_allclose(norm.running_mean, 0.1 * at_the_start.mean(0), rtol=1e-12)
    np.testing.assert_allclose(norm.running_var, 0.9 + 0.1 * at_the_start.var(0, ddof=1), rtol=1e-12)

    mean, var = norm.running_mean, norm.running_var
    with pytest.warns(optim.NumericalWarning):
        opt.step(np.full_like(x, np.nan), t)
    assert norm.running_mean is mean
    assert norm.running_var is var
    opt.objective.value(x, t)  # what a line search does
    assert norm.running_mean is mean


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.BatchNorm(0), "number of features must be positive"),
        (lambda: nn.BatchNorm(3, eps=0), "eps must be > 0"),
        (lambda: nn.BatchNorm(3, momentum=2), r"momentum must be in \[0, 1\]"),
        (lambda: nn.BatchNorm(3)(np.ones((5, 4))), r"x has shape \(5, 4\), expected \(n, …, 3\)"),
        (lambda: nn.BatchNorm(3)(np.ones(3)), r"x has shape \(3,\)"),
        (lambda: nn.BatchNorm(3)(np.ones((1, 3))), "has 1 values per channel, needs 2"),
        (lambda: nn.BatchNorm(3)(np.ones((0, 3))), "has 0 values per channel"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("training", [True, False])
def test_refuses_integers(training):
    with pytest.raises(TypeError, match=r"BatchNorm\(3\): x must be an array of real floats, not of int64"):
        nn.BatchNorm(3).train(training)(np.ones((4, 3), int))


@pytest.mark.parametrize(
    "make",
    [
        lambda m: optim.HessianFree(m, nn.SquaredError(), preconditioner=False),
        lambda m: optim.KFAC(m, nn.SquaredError()),
    ],
    ids=["hf", "kfac"],
)
def test_running_averages_are_of_the_batch_of_the_gradient(make):
    """Not of the smaller one of the curvature."""
    rng = np.random.default_rng(0)
    norm = nn.BatchNorm(4, dtype=np.float64, momentum=1.0)
    first = nn.Linear(3, 4, rng=rng, dtype=np.float64)
    model = nn.Sequential(first, norm, nn.Tanh(), nn.Linear(4, 1, rng=rng, dtype=np.float64))
    x, t = rng.standard_normal((20, 3)), rng.standard_normal((20, 1))
    expected = first(x).mean(0)
    assert not make(model).step(x, t, curvature_batch=(x[:6], t[:6])).rejected
    np.testing.assert_allclose(norm.running_mean, expected, rtol=1e-12)
