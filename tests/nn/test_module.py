"""Module as a tree of arrays: names, states, replacement, use as the argument of a transform."""

import copy
import pickle

import numpy as np
import pytest

import nn
import rmad
from rmad.trees import tree


class Mixed(nn.Module):
    """Every kind of attribute that a module may have."""

    def __init__(self, rng):
        self.first = nn.Linear(3, 2, rng=rng, dtype=np.float64)
        self.width, self.name, self.rng, self.dtype = 2, "mixed", rng, np.float32
        self.eps = np.float64(1e-3)
        self.scale = np.array(2.0)
        self.heads = [
            nn.Linear(2, 1, rng=rng, dtype=np.float64),
            nn.Linear(2, 1, rng=rng, bias=False, dtype=np.float64),
        ]
        self.table = {"b": rng.standard_normal(2), "a": rng.standard_normal(1)}
        self.counts = np.arange(2)
        self.sizes = [1, 2]

    def forward(self, x):
        h = np.tanh(self.first(x)) * self.scale + self.table["b"] * self.counts
        return self.heads[0](h) * self.heads[1](h) + self.table["a"] * self.eps


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_names_follow_the_tree(rng):
    model = Mixed(rng)
    names = [
        "first.weight",
        "first.bias",
        "scale",
        "heads.0.weight",
        "heads.0.bias",
        "heads.1.weight",
        "table.b",
        "table.a",
    ]
    assert [name for name, _ in model.named_parameters()] == names
    assert list(model.state_dict()) == [*names, "counts"]
    leaves = [leaf for _, leaf in tree.leaves(model)]
    assert all(a is b for a, b in zip(model.state_dict().values(), leaves, strict=True))
    assert model.n_parameters == 6 + 2 + 1 + 2 + 1 + 2 + 2 + 1
    assert len(model.parameters()) == len(names)


def test_names_as_in_torch(rng):
    model = nn.Sequential(nn.Linear(3, 2, rng=rng), np.tanh, nn.Sequential(nn.Linear(2, 1, rng=rng), nn.Tanh()))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias"]


def test_the_weight_comes_before_its_bias(rng):
    flat, _ = rmad.ravel(nn.Linear(3, 2, rng=rng, bias=7.0))
    assert flat.shape == (8,)
    assert (flat[6:] == 7).all()


def test_derivatives_of_a_module_are_modules(rng):
    model, x = Mixed(rng), rng.standard_normal((4, 3))
    y, lin = rmad.linearize(lambda m: m(x), model)
    u = lin.JTu(np.ones_like(y))
    assert type(u) is Mixed
    assert u.width == 2
    shares = dict(u.named_parameters())
    for name, a in model.named_parameters():
        assert (shares[name].shape, shares[name].dtype) == (a.shape, a.dtype)
    assert isinstance(u.scale, np.ndarray)  # a 0-d array, not a NumPy scalar, which would leave the tree
    assert lin.Jv(u).shape == y.shape
    squares = sum(np.sum(shares[name] ** 2) for name, _ in model.named_parameters())
    np.testing.assert_allclose(np.sum(lin.Jv(u)), squares, rtol=1e-12)
    rmad.check_grads(lambda m: m(x), model, order=2)
    hv = rmad.hvp(lambda m: np.sum(m(x) ** 2), model, u)
    assert type(hv) is Mixed


def test_the_model_itself_is_untouched(rng):
    model = Mixed(rng)
    before = list(model.state_dict().values())
    rmad.grad(lambda m: np.sum(m(np.ones((2, 3)))))(model)
    assert all(a is b for a, b in zip(model.state_dict().values(), before, strict=True))


def test_rebind_replaces_every_parameter(rng):
    model = Mixed(rng)
    new = [a + 1 for a in model.parameters()]
    tree.rebind(model, new)
    assert model.n_parameters == Mixed(rng).n_parameters
    for a, b in zip(model.parameters(), new, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_subclass_of_sequential_keeps_its_own_arrays(rng):
    class Scaled(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Linear(2, 2, rng=rng, dtype=np.float64))
            self.gain = np.ones(2)

        def forward(self, x):
            return self.gain * super().forward(x)

    model = Scaled()
    assert list(model.state_dict()) == ["0.weight", "0.bias", "gain"]
    rmad.check_grads(lambda m: m(np.ones((1, 2))), model)
    tree.rebind(model, [a * 2 for a in model.parameters()])
    assert (model.gain == 2).all()


def test_state_goes_round(rng):
    a, b = Mixed(rng), Mixed(rng)
    b.load_state_dict(a.state_dict())
    x = rng.standard_normal((4, 3))
    np.testing.assert_array_equal(a(x), b(x))
    assert b.first.weight is not a.first.weight
    b.load_state_dict({k: v.astype(np.float32) if v.dtype.kind == "f" else v for k, v in a.state_dict().items()})
    assert b.first.weight.dtype == np.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("first.bias"), r"Mixed: the state lacks 'first.bias' of shape \(2,\)"),
        (
            lambda s: s.update(more=np.ones(3)),
            r"Mixed: the state has 'more' of shape \(3,\), which the module does not have",
        ),
        (lambda s: s.update(scale=np.ones(3)), r"Mixed: 'scale' has shape \(\), the state has \(3,\)"),
        (lambda s: s.update(counts=np.ones(2)), r"Mixed: 'counts' is int64, the state has float64"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(rng, change, message):
    model = Mixed(rng)
    before = model.state_dict()
    state = {k: v + 1 for k, v in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    assert all(a is b for a, b in zip(model.state_dict().values(), before.values(), strict=True))


def test_an_array_in_a_tuple_cannot_be_rebound(rng):
    model = nn.Module()
    model.pair = (np.ones(1),)
    with pytest.raises(TypeError, match="sits in a tuple"):
        model.load_state_dict({"pair.0": np.zeros(1)})


def test_a_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="Module does not say what it computes"):
        nn.Module()(1)


def test_repr(rng):
    assert repr(nn.Linear(3, 2, rng=rng, bias=False)) == "Linear(3, 2, bias=False)"
    model = nn.Sequential(nn.Linear(3, 2, rng=rng), nn.LeakyReLU(0.1), nn.Sequential(nn.Softmax()))
    assert repr(model).splitlines() == [
        "Sequential(",
        "  0: Linear(3, 2)",
        "  1: LeakyReLU(0.1)",
        "  2: Sequential(",
        "    0: Softmax()",
        "  )  # 0 parameters",
        ")  # 8 parameters",
    ]
    assert repr(nn.Sequential()) == "Sequential()"
    assert repr(Mixed(rng)).startswith("Mixed(\n  first: Linear(3, 2)")


def test_copies(rng):
    model = nn.Sequential(nn.Linear(3, 2, rng=rng), nn.GELU())
    x = np.ones((1, 3), np.float32)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(twin(x), model(x))
        assert twin[0].weight is not model[0].weight


def test_sequential_is_a_list_of_layers(rng):
    model = nn.Sequential(nn.Linear(3, 2, rng=rng), nn.Tanh(), nn.Linear(2, 1, rng=rng))
    assert len(model) == 3
    assert list(model)[1] is model[1]
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(model[2](model[:2](x)), model(x))
    assert model[:2][0] is model[0]
    with pytest.raises(TypeError, match="layer 1 is of type int"):
        nn.Sequential(nn.Tanh(), 3)
