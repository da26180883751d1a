"""Models in files."""

import builtins
import json
import os

import numpy as np
import pytest
import safetensors.numpy

import nn
from nn.files.io import write_whole


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


def test_buffers_are_saved(tmp_path):
    model = nn.Sequential(nn.BatchNorm(3), nn.Linear(3, 2, rng=np.random.default_rng(0)))
    model[0].running_mean = np.arange(3, dtype=np.float32)
    nn.save(model, tmp_path / "m")
    other = nn.Sequential(nn.BatchNorm(3), nn.Linear(3, 2, rng=np.random.default_rng(1)))
    nn.load(other, tmp_path / "m")
    np.testing.assert_array_equal(other[0].running_mean, [0, 1, 2])
    np.testing.assert_array_equal(other.eval()(np.ones((2, 3), np.float32)), model.eval()(np.ones((2, 3), np.float32)))


def test_every_dtype_and_shape(tmp_path):
    dtypes = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", ">f4", ">i8"]
    shapes = [(), (0,), (2, 0, 3), (1, 3)]
    module = nn.Module()
    module.arrays = {f"{d}{s}": np.full(s, 1, d) for d in dtypes for s in shapes}
    before = dict(module.arrays)
    nn.save(module, tmp_path / "m")
    module.arrays = {name: np.zeros_like(a) for name, a in before.items()}
    nn.load(module, tmp_path / "m")
    for name, array in before.items():
        np.testing.assert_array_equal(module.arrays[name], array, err_msg=name, strict=True)


def test_a_dtype_that_the_format_lacks(model, tmp_path):
    model[2].bias = np.zeros(1, np.complex128)
    with pytest.raises(TypeError, match=r"save: '2.bias' is complex128, for which safetensors files have no type"):
        nn.save(model, tmp_path / "m")
    assert not os.listdir(tmp_path)


def write(path, dtype, shape, data):
    """A file with one array `weight`: the length of the header, the header, the numbers."""
    header = json.dumps({"weight": {"dtype": dtype, "shape": shape, "data_offsets": [0, len(data)]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)


def test_bfloat16(tmp_path):
    layer = nn.Linear(2, 2, bias=False, rng=np.random.default_rng(0))
    values = np.array([[1.0, -2.5], [3.140625, np.inf]], np.float32)  # bfloat16 has them all
    write(tmp_path / "m", "BF16", [2, 2], (values.view(np.uint32) >> 16).astype("<u2").tobytes())
    nn.load(layer, tmp_path / "m")
    np.testing.assert_array_equal(layer.weight, values, strict=True)


def test_a_type_that_numpy_lacks(tmp_path):
    layer = nn.Linear(2, 2, bias=False, rng=np.random.default_rng(0))
    write(tmp_path / "m", "F8_E4M3", [2, 2], bytes(4))
    with pytest.raises(ValueError, match=r"m does not fit the model. 'weight' holds F8_E4M3, a type that NumPy lacks"):
        nn.load(layer, tmp_path / "m")


def test_a_kind_of_number_that_does_not_fit(tmp_path):
    layer = nn.Linear(2, 2, bias=False, rng=np.random.default_rng(0))
    write(tmp_path / "m", "I32", [2, 2], bytes(16))
    with pytest.raises(ValueError, match=r"does not fit the model. Linear: 'weight' is float32, the state has int32"):
        nn.load(layer, tmp_path / "m")


def test_an_array_in_a_tuple(tmp_path):
    module = nn.Module()
    module.first, module.pair = np.ones(2), (np.ones(2), np.ones(2))
    nn.save(module, tmp_path / "m")
    first = module.first
    with pytest.raises(TypeError, match=r"'pair.0' sits in a tuple"):
        nn.load(module, tmp_path / "m")
    assert module.first is first


@pytest.mark.parametrize(
    ("dtype", "number", "own", "told"),
    [
        ("f4", np.nan, 0, "'a' of the state holds NaN"),
        ("c8", complex(0, np.nan), 0, "'a' of the state holds NaN"),
        ("f8", 1e39, np.float32(0), "'a' of the state has numbers too large for float32"),
        ("f8", -1e300, np.float32(0), "'a' of the state has numbers too large for float32"),
        ("f4", 1e5, np.float16(0), "'a' of the state has numbers too large for float16"),
        ("i8", 2**40, np.int32(0), "'a' of the state has numbers too large for int32"),
        ("u8", 2**40, np.uint8(0), "'a' of the state has numbers too large for uint8"),
        ("f8", np.inf, np.float32(0), None),  # given as such
        ("f4", np.nan, np.float32(np.nan), None),  # in the place of one
        ("i8", -7, np.int32(0), None),
    ],
)
def test_numbers_that_do_not_fit(tmp_path, dtype, number, own, told):
    other, module = nn.Module(), nn.Module()
    other.a, module.a = np.full(3, number, dtype), np.full(3, own, np.result_type(own) if told is None else None)
    if not isinstance(own, np.generic):
        module.a = np.zeros(3, dtype)
    nn.save(other, tmp_path / "m")
    for load in (lambda: nn.load(module, tmp_path / "m"), lambda: module.load_state_dict(other.state_dict())):
        before = module.a
        if told is None:
            load()
            np.testing.assert_array_equal(module.a, np.full(3, number))
            module.a = before
        else:
            with pytest.raises(ValueError, match=told):
                load()
            assert module.a is before
