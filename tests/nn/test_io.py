"""Models in files."""

import builtins
import os

import numpy as np
import pytest
import safetensors.numpy

import nn
from nn.io import write_whole


@pytest.fixture
def model():
    return nn.Sequential(
        nn.Linear(3, 2, rng=np.random.default_rng(0)), nn.Tanh(), nn.Linear(2, 1, rng=np.random.default_rng(1))
    )


def test_there_and_back(model, tmp_path):
    path = tmp_path / "model.safetensors"
    nn.save(model, path)
    assert set(safetensors.numpy.load_file(path)) == set(model.state_dict())
    assert os.listdir(tmp_path) == ["model.safetensors"]
    other = nn.Sequential(
        nn.Linear(3, 2, rng=np.random.default_rng(8)), nn.Tanh(), nn.Linear(2, 1, rng=np.random.default_rng(9))
    )
    nn.load(other, path)
    for (name, a), (_, b) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=name)
        assert b.flags.writeable


def test_views_are_written_as_they_look(model, tmp_path):
    # safetensors writes the memory of a transposed array without a word about its strides
    model[0].weight = np.arange(6, dtype=np.float32).reshape(2, 3).T
    model[2].weight = np.arange(4, dtype=np.float32)[::-2].reshape(2, 1)
    expected = {k: v.copy() for k, v in model.state_dict().items()}
    nn.save(model, tmp_path / "m")
    nn.load(model, tmp_path / "m")
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, expected[name])


def test_scalars_and_integers(tmp_path):
    module = nn.Module()
    module.scale, module.steps = np.array(2.5), np.arange(3)
    nn.save(module, tmp_path / "m")
    module.scale, module.steps = np.array(0.0), np.zeros(3, int)
    nn.load(module, tmp_path / "m")
    assert module.scale.shape == ()
    assert module.scale == 2.5
    assert module.steps.tolist() == [0, 1, 2]


def test_a_file_of_another_model(model, tmp_path):
    path = tmp_path / "m"
    nn.save(
        nn.Sequential(
            nn.Linear(3, 4, rng=np.random.default_rng(0)), nn.Tanh(), nn.Linear(4, 1, rng=np.random.default_rng(0))
        ),
        path,
    )
    with pytest.raises(
        ValueError, match=r"m does not fit the model. Sequential: '0.weight' has shape \(3, 2\), the state has \(3, 4\)"
    ):
        nn.load(model, path)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"no model at all", lambda b: b[:-1], lambda b: b[:20]])
def test_a_damaged_file(model, tmp_path, damage):
    path = tmp_path / "m"
    nn.save(model, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="m is no safetensors file, or a damaged one"):
        nn.load(model, path)


def test_no_file(model, tmp_path):
    with pytest.raises(FileNotFoundError):
        nn.load(model, tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        nn.save(model, tmp_path / "no" / "folder")


def test_a_crash_leaves_the_old_file(tmp_path):
    path = tmp_path / "f"
    write_whole(path, lambda file: file.write(b"old"))

    def crash(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(path, crash)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_without_safetensors(model, tmp_path, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    for f in (nn.save, nn.load):
        with pytest.raises(ImportError, match=r"pip install rmad\[examples\]"):
            f(model, tmp_path / "m")
