"""PyTorch's weights in our layers: the same outputs."""

import numpy as np
import pytest

import nn

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def rng():
    return np.random.default_rng(1)


def agree(model, theirs, *shape, image=False):
    """Outputs on the same numbers; images change their layout on the way in, and out where they are still images."""
    x = np.random.default_rng(2).standard_normal(shape)
    theirs = theirs.double().eval()
    with torch.no_grad():
        y = theirs(torch.from_numpy(np.moveaxis(x, -1, 1).copy() if image else x))
        y = (y[0] if isinstance(y, tuple) else y).numpy()
    expected = np.moveaxis(y, 1, -1) if image and y.ndim == 4 else y
    np.testing.assert_allclose(model.eval()(x), expected, rtol=1e-10, atol=1e-12)


def convnets():
    ours = nn.Sequential(
        nn.Conv2d(4, 6, (3, 2), groups=2, rng=rng(), dtype=np.float64),
        nn.BatchNorm(6, dtype=np.float64),
        nn.ReLU(),
        nn.ConvTranspose2d(6, 4, 3, groups=2, rng=rng(), dtype=np.float64),
        nn.Flatten(),
        nn.Linear(4 * 7 * 9, 5, rng=rng(), dtype=np.float64),
    )
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(4, 6, (3, 2), groups=2),
        torch.nn.BatchNorm2d(6),
        torch.nn.ReLU(),
        torch.nn.ConvTranspose2d(6, 4, 3, groups=2),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 7 * 9, 5),
    ).double()
    for _ in range(3):  # running statistics that are not 0 and 1
        theirs(torch.randn(8, 4, 7, 8).double())
    return ours, theirs


def test_a_convnet():
    ours, theirs = convnets()
    nn.load_torch_state_dict(ours, theirs.state_dict(), flattened={"5.weight": (4, 7, 9)})
    agree(ours, theirs, 3, 7, 8, 4, image=True)
    # the arrays are ours: nothing that torch does later shows
    before = ours[5].bias.copy()
    theirs[5].bias.data.add_(1.0)
    np.testing.assert_array_equal(ours[5].bias, before)


def test_a_renamed_convnet():
    ours, theirs = convnets()
    state = {f"module.features.{k}": v.numpy() for k, v in theirs.state_dict().items()}
    state["module.features.9.weight"] = np.zeros(3)
    rename = {"module.features": "", "module.features.9": None}
    nn.load_torch_state_dict(ours, state, rename=rename, flattened={"5.weight": (4, 7, 9)})
    agree(ours, theirs, 3, 7, 8, 4, image=True)
    other, _ = convnets()
    del state["module.features.9.weight"]
    nn.load_torch_state_dict(
        other, state, rename=lambda name: name.removeprefix("module.features."), flattened={"5.weight": (4, 7, 9)}
    )
    np.testing.assert_array_equal(other[5].weight, ours[5].weight)


def test_norms_and_embedding():
    ours = nn.LayerNorm((5, 6, 3), dtype=np.float64)
    theirs = torch.nn.LayerNorm((3, 5, 6)).double()
    torch.nn.init.normal_(theirs.weight)
    torch.nn.init.normal_(theirs.bias)
    nn.load_torch_state_dict(ours, theirs.state_dict())
    agree(ours, theirs, 2, 5, 6, 3, image=True)
    table = torch.nn.Embedding(7, 4)
    ours = nn.Sequential(nn.Embedding(7, 4, rng=rng()), nn.LayerNorm(4))
    theirs = torch.nn.Sequential(table, torch.nn.LayerNorm(4))
    nn.load_torch_state_dict(ours, theirs.state_dict())
    x = np.array([[1, 6, 0]])
    np.testing.assert_allclose(ours(x), theirs(torch.from_numpy(x)).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bias", [True, False])
def test_recurrent(kind, bias):
    ours = nn.Sequential(getattr(nn, kind)(3, 4, bias=bias, rng=rng(), dtype=np.float64))
    theirs = getattr(torch.nn, kind)(3, 4, batch_first=True, bias=bias).double()
    nn.load_torch_state_dict(ours, {f"0.{name}": value for name, value in theirs.state_dict().items()})
    agree(ours, theirs, 2, 5, 3)


def test_attention():
    ours = nn.Sequential(nn.TransformerBlock(8, 2, rng=rng(), dtype=np.float64, norm_first=False, hidden=12))
    theirs = torch.nn.TransformerEncoderLayer(8, 2, 12, activation="gelu", batch_first=True, dropout=0.0).double()
    nn.load_torch_state_dict(ours, {f"0.{name}": value for name, value in theirs.state_dict().items()})
    torch.backends.mha.set_fastpath_enabled(False)  # its kernels are not made for float64
    try:
        agree(ours, theirs, 2, 5, 8)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


def test_bfloat16_and_parameters():
    ours = nn.Sequential(nn.Linear(3, 2, rng=rng()))
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 2)).bfloat16()
    nn.load_torch_state_dict(ours, dict(theirs.named_parameters()))  # with gradients on
    assert ours[0].weight.dtype == np.float32
    np.testing.assert_array_equal(ours[0].weight, theirs[0].weight.detach().float().numpy().T)


class Own(nn.Module):
    def __init__(self):
        self.gain = np.ones((2, 3))
        self.layers = [nn.Linear(3, 2, rng=rng())]


def state_of(**changes):
    state = {"gain": np.zeros((2, 3)), "layers.0.weight": np.ones((2, 3)), "layers.0.bias": np.ones(2)}
    return {name: value for name, value in (state | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("state", "options", "message"),
    [
        (
            state_of(**{"layers.0.bias": None}),
            {},
            r"'layers.0.bias' of Linear\(3, 2\), here \(2,\), needs .* state lacks",
        ),
        (
            state_of(**{"layers.0.weight": np.ones((3, 2))}),
            {},
            r"'layers.0.weight' of Linear\(3, 2\), here \(3, 2\), needs '.*' \(2, 3\), the state has \(3, 2\)",
        ),
        (
            state_of(**{"layers.1.bias": np.ones(4)}),
            {},
            r"the state has 'layers.1.bias' \(4,\), which the model does not have",
        ),
        (state_of(gain=np.zeros((2, 3), int)), {}, "'gain' is float64, the state has int64"),
        (
            state_of(),
            {"flattened": {"layers.1.weight": (3, 1, 1)}},
            "flattened names 'layers.1.weight', which the model",
        ),
        (
            state_of(),
            {"flattened": {"layers.0.weight": (3, 2, 1)}},
            r"flattened gives 'layers.0.weight' \(3, 2, 1\), which is for .* a Linear with 6 features; .* \(3, 2\)",
        ),
        (state_of(), {"rename": {"gain": "layers.0.bias"}}, "two arrays of the state are renamed to 'layers.0.bias'"),
    ],
)
def test_what_does_not_fit(state, options, message):
    model = Own()
    before = dict(model.state_dict())
    with pytest.raises(ValueError, match=message):
        nn.load_torch_state_dict(model, state, **options)
    assert all(array is before[name] for name, array in model.state_dict().items())


def test_a_whole_checkpoint():
    with pytest.raises(TypeError, match="'epoch' is a int, not an array; of a checkpoint that holds more"):
        nn.load_torch_state_dict(Own(), {"epoch": 3, "state_dict": {}})


def test_other_arrays_are_taken_as_they_are():
    model = Own()
    nn.load_torch_state_dict(model, state_of())
    assert not model.gain.any()
    assert model.layers[0].weight.shape == (3, 2)


def test_arrays_lie_in_c_order():
    """As all others do: PyTorch's are turned over on the way."""
    layer = nn.Conv2d(2, 3, 3, rng=np.random.default_rng(0))
    nn.load_torch_state_dict(layer, {"weight": np.ones((3, 2, 3, 3)), "bias": np.ones(3)})
    assert layer.weight.flags.c_contiguous


class Odd:
    """A tensor whose numbers cannot be had, as torch's on the device meta, sparse or marked ones."""

    def __init__(self, error):
        self.error = error

    def detach(self):
        raise self.error


W, B = np.ones((2, 3)), np.zeros(2)
MISTAKES = {
    "a tensor on meta": (
        {"0.weight": Odd(NotImplementedError("no data"))},
        {},
        ValueError,
        "'0.weight' has no numbers",
    ),
    "a sparse tensor": ({"0.weight": Odd(RuntimeError("sparse"))}, {}, ValueError, "'0.weight' has no numbers.*sparse"),
    "an odd tensor": ({"0.weight": Odd(AttributeError("cpu"))}, {}, ValueError, "'0.weight' has no numbers"),
    "texts": ({"0.weight": np.full((2, 3), "a")}, {}, ValueError, "'0.weight' holds <U1, which are no numbers"),
    "objects": ({"0.weight": np.full((2, 3), None)}, {}, ValueError, "'0.weight' holds object, which are no numbers"),
    "NaN": ({"0.weight": W * np.nan}, {}, ValueError, "'0.weight' of the state holds NaN"),
    "overflow": ({"0.weight": W * 1e300}, {}, ValueError, "'0.weight' of the state has numbers too large for float32"),
    "numbers for names": ({0: W}, {}, TypeError, "the names in a state dict are texts, not 0"),
    "a number for a new name": ({"a": W}, {"rename": {"a": 3}}, TypeError, "rename leads from 'a' to 3"),
    "a function to a number": ({"a": W}, {"rename": lambda name: 3}, TypeError, "rename leads from '0.bias' to 3"),
    "a list of names": ({"a": W}, {"rename": ["a"]}, TypeError, "rename must be a dict or a function, not list"),
    "a list of images": ({"a": W}, {"flattened": ["a"]}, TypeError, "flattened must be a dict"),
    "a text for an image": ({"0.weight": W}, {"flattened": {"0.weight": "abc"}}, ValueError, r"must be \(c, h, w\)"),
    "no image": ({"0.weight": W}, {"flattened": {"0.weight": None}}, ValueError, r"must be \(c, h, w\), not None"),
    "sizes below one": ({"0.weight": W}, {"flattened": {"0.weight": (-1, -3, 1)}}, ValueError, r"must be \(c, h, w\)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_and_changes_nothing(name):
    state, keywords, error, told = MISTAKES[name]
    model = nn.Sequential(nn.Linear(3, 2, rng=np.random.default_rng(0)))
    before = {key: a.copy() for key, a in model.state_dict().items()}
    with pytest.raises(error, match=told):
        nn.load_torch_state_dict(model, {"0.bias": B, **state}, **keywords)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])
