"""The networks of the papers: parameters counted from the published sizes, shapes, torch's numbers, sweeps."""

from itertools import pairwise

import numpy as np
import pytest

import nn
import optim
import rmad

models = nn.models


def rng():
    return np.random.default_rng(0)


def dense(*sizes):
    """Weights and biases of affine layers of these sizes."""
    return sum(i * o + o for i, o in pairwise(sizes))


def conv(k, i, o):
    return k * k * i * o + o


# name of a case: model, parameters, shape of one input, shape of its output
COUNTED = {
    "CURVES": (
        lambda: models.autoencoder(models.CURVES, rng=rng()),
        dense(784, 400, 200, 100, 50, 25, 6, 25, 50, 100, 200, 400, 784),
        (784,),
        (784,),
    ),
    "MNIST": (
        lambda: models.autoencoder(models.MNIST, rng=rng()),
        dense(784, 1000, 500, 250, 30, 250, 500, 1000, 784),
        (784,),
        (784,),
    ),
    "FACES": (
        lambda: models.autoencoder(models.FACES, rng=rng()),
        dense(625, 2000, 1000, 500, 30, 500, 1000, 2000, 625),
        (625,),
        (625,),
    ),
    "curveball_mnist": (lambda: models.curveball_mnist(rng=rng()), dense(784, 128, 64, 32, 10), (784,), (10,)),
    "sgn_boston": (lambda: models.sgn_boston(rng=rng()), dense(13, 100, 100, 1), (13,), (1,)),
    "sgn_sine": (lambda: models.sgn_sine(rng=rng()), dense(1, 20, 20, 20, 1), (1,), (1,)),
    "sgn_mnist": (lambda: models.sgn_mnist(rng=rng()), dense(784, 20, 20, 20, 10), (784,), (10,)),
    # 28 pixels, 24 after the first filters, 12, 8, 4
    "sgn_fashion": (
        lambda: models.sgn_fashion(rng=rng()),
        conv(5, 1, 6) + conv(5, 6, 16) + dense(4 * 4 * 16, 120, 84, 10),
        (28, 28, 1),
        (10,),
    ),
    "sgn_cifar": (
        lambda: models.sgn_cifar(rng=rng()),
        conv(3, 3, 32) + conv(3, 32, 64) + conv(3, 64, 64) + dense(8 * 8 * 64, 64, 10),
        (32, 32, 3),
        (10,),
    ),
    # 32 pixels, 30 without padding, 15, 13, 6, 4
    "sgn_cifar, no padding": (
        lambda: models.sgn_cifar(rng=rng(), padding="valid"),
        conv(3, 3, 32) + conv(3, 32, 64) + conv(3, 64, 64) + dense(4 * 4 * 64, 64, 10),
        (32, 32, 3),
        (10,),
    ),
    # the fourth layer's filters cover all of the 4 x 4 pixels that are left
    "curveball_cifar": (
        lambda: models.curveball_cifar(rng=rng()),
        conv(5, 3, 32) + conv(5, 32, 32) + conv(5, 32, 64) + conv(4, 64, 64) + conv(1, 64, 10),
        (32, 32, 3),
        (10,),
    ),
    # a scale in addition to every bias
    "curveball_cifar, batch norm": (
        lambda: models.curveball_cifar(rng=rng(), batch_norm=True),
        conv(5, 3, 32) + conv(5, 32, 32) + conv(5, 32, 64) + conv(4, 64, 64) + conv(1, 64, 10) + 32 + 32 + 64 + 64,
        (32, 32, 3),
        (10,),
    ),
    # the number known for this form of the net
    "resnet18": (lambda: models.resnet18(rng=rng()), 11_173_962, (8, 8, 3), (10,)),
    "resnet18, 100 classes": (lambda: models.resnet18(100, rng=rng()), 11_173_962 + 90 * 513, (8, 8, 3), (100,)),
    "rnn": (lambda: models.rnn(2, 3, rng=rng()), 2 * 100 + 100 * 100 + 100 + dense(100, 3), (7, 2), (3,)),
    "vgg_f, narrow": (
        lambda: models.vgg_f(100, rng=rng(), width=4, batch_norm=False),
        conv(11, 3, 4) + conv(5, 4, 16) + 3 * conv(3, 16, 16) + dense(6 * 6 * 16, 256, 256, 100),
        (224, 224, 3),
        (100,),
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_and_shapes(name):
    make, count, given, expected = COUNTED[name]
    model = make()
    assert model.n_parameters == count
    y = model(np.random.default_rng(1).standard_normal((2, *given), dtype=np.float32))
    assert y.shape == (2, *expected)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()


def count_of_vgg_f(classes):
    filters = conv(11, 3, 64) + conv(5, 64, 256) + 3 * conv(3, 256, 256)
    return filters + dense(6 * 6 * 256, 4096, 4096, classes)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg_f_as_published(batch_norm, monkeypatch):
    """224 pixels, 54 after the first filters, 27, 13, 6; without drawing sixty million numbers."""
    monkeypatch.setattr(nn.init, "he_normal", lambda rng, shape, dtype: np.zeros(shape, dtype))
    made = models.vgg_f(100, rng=rng(), batch_norm=batch_norm, dropout=0.5)
    scales = 64 + 4 * 256 + 2 * 4096 if batch_norm else 0
    assert made.n_parameters == count_of_vgg_f(100) + scales
    assert count_of_vgg_f(1000) == 60_834_536
    assert sum(isinstance(layer, nn.Dropout) for layer in made) == 2
    assert made.training
    assert all(module.training for module in made.modules())


@pytest.mark.parametrize("classes", [10, 1000])
def test_vgg_f_runs(classes):
    model = models.vgg_f(classes, rng=rng(), width=2, dropout=0.5)
    objective = optim.Objective(model, nn.SoftmaxCrossEntropy())
    x = np.random.default_rng(1).standard_normal((2, 224, 224, 3), dtype=np.float32)
    objective.begin_step()
    value, gradient = objective.value_and_gradient(x, np.array([1, 3]))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda d: models.autoencoder((6, 4, 2), rng=rng(), dtype=d),
        lambda d: models.curveball_mnist(rng=rng(), dtype=d),
        lambda d: models.sgn_fashion(rng=rng(), dtype=d),
        lambda d: models.curveball_cifar(rng=rng(), batch_norm=True, dtype=d),
        lambda d: models.resnet18(rng=rng(), width=2, dtype=d),
        lambda d: models.vgg_f(3, rng=rng(), width=1, image=(64, 64, 3), dtype=d),
        lambda d: models.rnn(2, 3, rng=rng(), dtype=d),
    ],
)
def test_dtype_and_rng(make):
    first, again = make(np.float64).state_dict(), make(np.float64).state_dict()
    for name, array in first.items():
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, again[name])
    assert {a.dtype for a in make(np.float32).state_dict().values()} == {np.dtype(np.float32)}


def test_bad_sizes():
    with pytest.raises(ValueError, match=r"mlp: sizes must name .* not \(3,\)"):
        models.mlp((3,), rng=rng())
    with pytest.raises(ValueError, match="vgg_f: width must be positive, not 0"):
        models.vgg_f(rng=rng(), width=0)
    with pytest.raises(ValueError, match=r"Conv2d.*x has shape \(2, 8, 8, 1\)"):
        models.resnet18(rng=rng(), width=2)(np.zeros((2, 8, 8, 1), np.float32))


# -- ResNet-18 against torch --------------------------------------------------------------------------------------


def torch_resnet18(torch, width, classes):
    """The net as its users write it in torch, submodules named by what they are."""
    tnn = torch.nn

    class Block(tnn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1, self.bn1 = tnn.Conv2d(i, o, 3, stride, 1, bias=False), tnn.BatchNorm2d(o)
            self.conv2, self.bn2 = tnn.Conv2d(o, o, 3, 1, 1, bias=False), tnn.BatchNorm2d(o)
            self.downsample = None
            if stride != 1 or i != o:
                self.downsample = tnn.Sequential(tnn.Conv2d(i, o, 1, stride, bias=False), tnn.BatchNorm2d(o))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Net(tnn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = tnn.Conv2d(3, width, 3, 1, 1, bias=False), tnn.BatchNorm2d(width)
            blocks, i = [], width
            for stage in range(4):
                o = width * 2**stage
                blocks += [Block(i, o, 2 if stage else 1), Block(o, o, 1)]
                i = o
            self.blocks, self.fc = tnn.Sequential(*blocks), tnn.Linear(i, classes)

        def forward(self, x):
            return self.fc(self.blocks(torch.relu(self.bn1(self.conv1(x)))).mean((2, 3)))

    return Net().double()


def renamed(name):
    """Our name for a name in torch's state: 0 and 1 are the stem, block k is at 3 + 2 k."""
    head, _, rest = name.partition(".")
    if head != "blocks":
        return {"conv1": "0", "bn1": "1", "fc": "20"}[head] + "." + rest
    block, part, rest = rest.split(".", 2)
    place = {"conv1": "body.0", "bn1": "body.1", "conv2": "body.3", "bn2": "body.4", "downsample": "shortcut"}[part]
    return f"{3 + 2 * int(block)}.{place}.{rest}"


@pytest.mark.parametrize("training", [True, False])
def test_resnet18_as_torch(training):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch_resnet18(torch, 8, 10)
    ours = models.resnet18(rng=rng(), width=8, dtype=np.float64)
    x = np.random.default_rng(1).standard_normal((3, 16, 16, 3))
    images = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    theirs(images)  # running statistics that are not 0 and 1
    nn.load_torch_state_dict(ours, theirs.state_dict(), rename=renamed)
    theirs.train(training)
    ours.train(training)

    expected = theirs(images)
    u = np.random.default_rng(2).standard_normal((3, 10))
    expected.backward(torch.tensor(u))
    y, lin = rmad.linearize(lambda m: m(x), ours)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-10, atol=1e-10)
    of_ours = lin.JTu(u)
    for name, p in theirs.named_parameters():
        got, layout = dict(of_ours.named_parameters())[renamed(name)], p.grad.numpy()
        layout = layout.transpose(2, 3, 1, 0) if layout.ndim == 4 else layout.T
        np.testing.assert_allclose(got, layout, rtol=1e-8, atol=1e-10 * np.abs(layout).max(), err_msg=name)


# -- sweeps through ResNet-18 -------------------------------------------------------------------------------------


@pytest.fixture
def small():
    model = models.resnet18(4, rng=rng(), width=3, dtype=np.float64)
    return model, np.random.default_rng(1).standard_normal((2, 8, 8, 3)), np.array([0, 2])


def test_the_two_sweeps_agree(small):
    model, x, _ = small
    flat, unravel = rmad.ravel(model)
    y, lin = rmad.linearize(lambda p: unravel(p)(x), flat)
    v, u = rng().standard_normal(flat.size), rng().standard_normal(y.shape)
    left, right = np.vdot(u, lin.Jv(v)), np.vdot(lin.JTu(u), v)
    np.testing.assert_allclose(left, right, rtol=1e-10)


def test_a_gauss_newton_product(small):
    model, x, t = small
    loss = nn.SoftmaxCrossEntropy()
    quadratic = optim.Objective(model, loss).quadratic(x, t)
    flat, unravel = rmad.ravel(model)
    z, lin = rmad.linearize(lambda p: unravel(p)(x), flat)
    v = rng().standard_normal(flat.size)
    expected = lin.JTu(loss.hessian_product(z, t, lin.Jv(v)))
    product = quadratic.ggn @ v
    np.testing.assert_allclose(product, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())
    assert v @ product > 0
    np.testing.assert_allclose(
        quadratic.gradient, lin.JTu(loss.gradient(z, t)), rtol=1e-9, atol=1e-11 * np.abs(quadratic.gradient).max()
    )


@pytest.mark.parametrize("method", ["sgd", "hessian-free"])
def test_running_statistics_move_once_per_update(small, method):
    model, x, t = small
    loss, norm = nn.SoftmaxCrossEntropy(), model[1]
    seen = model[0](x)
    optimizer = (
        optim.SGD(model, loss, lr=0.01) if method == "sgd" else optim.HessianFree(model, loss, preconditioner=False)
    )
    info = optimizer.step(x, t)
    assert not info.rejected
    np.testing.assert_allclose(norm.running_mean, 0.1 * seen.mean((0, 1, 2)), rtol=1e-10)
    np.testing.assert_allclose(norm.running_var, 0.9 + 0.1 * seen.var((0, 1, 2), ddof=1), rtol=1e-10)
    assert all(module.running_mean.any() for module in model.modules() if isinstance(module, nn.BatchNorm))
