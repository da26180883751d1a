"""nn.summary: names, shapes and numbers, and a model that stays as it was."""

import numpy as np
import pytest

import nn


def rng():
    return np.random.default_rng(0)


def convnet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, rng=rng()),
        nn.BatchNorm(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(864, 10, rng=rng()),
    )


def test_a_convnet(capsys):
    s = nn.summary(convnet(), (28, 28, 1))
    assert [row.name for row in s.rows] == ["", "0", "1", "2", "3", "4", "5"]
    assert [row.n_parameters for row in s.rows] == [0, 156, 12, 0, 0, 0, 8650]
    maps = [(1, 24, 24, 6)] * 3
    assert [row.output for row in s.rows] == [(1, 10), *maps, (1, 12, 12, 6), (1, 864), (1, 10)]
    assert (s.n_parameters, s.n_buffers) == (8818, 12)
    assert s.parameter_bytes == 4 * (8818 + 12)
    assert s.activation_bytes == 4 * (3 * 24 * 24 * 6 + 12 * 12 * 6 + 10)  # Flatten only looks
    text = str(s)
    assert "5        Linear(864, 10)  (1, 10)              8,650" in text
    assert text.endswith(
        "8,818 parameters, 12 numbers in buffers, 35.3 kB\nactivations 45 kB for an input (1, 28, 28, 1) float32"
    )
    assert repr(s) == text
    assert capsys.readouterr().out == ""


def test_the_shape_may_have_the_cases():
    assert nn.summary(convnet(), (7, 28, 28, 1)).rows[0].output == (7, 10)
    mlp = nn.Sequential(nn.Linear(4, 3, rng=rng()), nn.Tanh())
    assert nn.summary(mlp, (4,)).rows[0].output == (1, 3)
    assert nn.summary(mlp, (5, 4)).rows[0].output == (5, 3)
    assert nn.summary(mlp, [5, 4]).rows[0].output == (5, 3)


def test_tokens():
    model = nn.Sequential(
        nn.Embedding(65, 8, rng=rng()), nn.TransformerBlock(8, 2, rng=rng()), nn.Linear(8, 65, rng=rng())
    )
    s = nn.summary(model, (12,), dtype=int)
    rows = {row.name: row for row in s.rows}
    assert rows["0"].output == (1, 12, 8)
    assert rows["1.attention.projection"].output == (1, 12, 24)
    assert sum(row.n_parameters for row in s.rows) == s.n_parameters == model.n_parameters
    with pytest.raises(
        ValueError, match=r"zeros of float32 of shape \(1, 12\): TypeError: Embedding.*must hold integers"
    ):
        nn.summary(model, (12,))


class Custom(nn.Module):
    """Modules in a list and a dict, one that is called twice, one never, an array of its own, two inputs."""

    def __init__(self):
        self.parts = [nn.Linear(3, 3, rng=rng()), nn.Tanh()]
        self.heads = {"a": nn.Linear(3, 2, rng=rng(), bias=False), "b": nn.Linear(3, 1, rng=rng())}
        self.scale = np.ones(3, np.float32)
        self.steps = np.arange(4)
        self.rng = rng()
        self.count = 0

    def forward(self, x, y):
        self.count += 1
        self.noise = self.rng.standard_normal(2)
        for _ in range(2):
            x = self.parts[1](self.parts[0](x) * self.scale)
        return {"a": self.heads["a"](x), "both": (x, y)}


def test_a_module_of_ones_own():
    model = Custom()
    before = vars(model).copy()
    state = model.rng.bit_generator.state
    s = nn.summary(model, ((3,), (7,)))
    rows = {row.name: row for row in s.rows}
    assert list(rows) == ["", "parts.0", "parts.1", "heads.a", "heads.b"]
    assert rows[""].output == {"a": (1, 2), "both": ((1, 3), (1, 7))}
    assert (rows[""].n_parameters, rows["heads.a"].n_parameters) == (3, 6)
    assert [row.calls for row in s.rows] == [1, 2, 2, 1, 0]
    assert s.activation_bytes == 4 * (4 * 3 + 2)
    assert "(1, 3) ×2" in str(s)
    assert "not called" in str(s)
    # the model is unchanged
    assert vars(model) == before
    assert model.rng.bit_generator.state == state
    assert type(model.parts[0]) is nn.Linear
    assert model.training


def test_a_failure_leaves_the_model_alone():
    class Fails(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(3, 3, rng=rng())

        def forward(self, x):
            self.layer.weight = self.layer(x)
            raise RuntimeError("no")

    model = Fails()
    weight = model.layer.weight
    with pytest.raises(ValueError, match=r"does not take zeros of float32 of shape \(1, 3\): RuntimeError: no"):
        nn.summary(model, (3,))
    assert model.layer.weight is weight
    assert type(model) is Fails


def test_layers_of_training_are_in_use():
    model = nn.Sequential(nn.Linear(3, 4, rng=rng()), nn.BatchNorm(4), nn.Dropout(0.5, rng=rng()))
    mean = model[1].running_mean
    nn.summary(model, (3,))  # one case is too few for a batch's statistics
    model.end_step()
    assert model[1].running_mean is mean
    assert all(m.training for m in model.modules())


def test_dtypes():
    double = nn.Sequential(nn.Linear(3, 4, rng=rng(), dtype=np.float64))
    s = nn.summary(double, (3,))
    assert s.dtype == np.float64
    assert s.activation_bytes == 32
    assert nn.summary(nn.Tanh(), (5, 2)).rows[0].output == (5, 2)
    assert nn.summary(nn.Sequential(), (2,)).activation_bytes == 0


def test_bad_shapes():
    with pytest.raises(TypeError, match=r"input_shape must be a shape, as \(28, 28, 1\), or a tuple of shapes, not 3"):
        nn.summary(nn.Tanh(), 3)
    with pytest.raises(ValueError, match=r"input_shape \(-1, 3\) has a negative length"):
        nn.summary(nn.Tanh(), (-1, 3))
    with pytest.raises(
        ValueError, match=r"of shape \(27, 28, 3\): .*expected \(n, h, w, 1\).*; nor \(1, 27, 28, 3\): .*Conv2d"
    ):
        nn.summary(convnet(), (27, 28, 3))
