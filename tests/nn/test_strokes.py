"""CURVES: the same bytes everywhere, and a cache that is made again when it is damaged."""

import hashlib
import sys

import numpy as np
import pytest
from data_files import flip, levels

import nn
from nn.data.dataset import cache_dir


def test_curves_are_the_same_bytes_everywhere():
    data = nn.data.curves(100, 50, seed=3, cache=False)
    images = levels(data.x_train).tobytes() + levels(data.x_test).tobytes()
    assert hashlib.sha256(images).hexdigest() == "c67d460bd098f4f1cdac9a8d570d3d0aa9c1c7dac79d90d9e2a99a6a3c7ed857"


def test_curves_look_like_strokes():
    data = nn.data.curves(500, 20, cache=False)
    assert [a.shape for a in data] == [(500, 784), (500, 6), (20, 784), (20, 6)]
    assert {a.dtype for a in data} == {np.dtype(np.float32)}
    x = data.x_train
    assert x.min() == 0
    assert (x.max(axis=1) > 0.99).all()  # a white stroke in every picture
    assert 0.06 < x.mean() < 0.09
    assert 0.15 < (x > 0).mean() < 0.25
    # each curve runs through its points: the pixel that holds a point is inked
    column, row = np.moveaxis(data.t_train.reshape(500, 3, 2).astype(int), -1, 0)
    assert (x[np.arange(500)[:, None], 28 * row + column][:, 1] > 0.4).all()
    assert (x[np.arange(500)[:, None], 28 * row + column] > 0.15).all()


def test_curves_depend_on_the_seed_and_begin_alike():
    a, b = nn.data.curves(20, 10, seed=1, cache=False), nn.data.curves(30, 20, seed=1, cache=False)
    np.testing.assert_array_equal(a.x_train, b.x_train[:20])
    np.testing.assert_array_equal(a.x_test, b.x_test[:10])
    assert not np.array_equal(a.x_test, a.x_train[:10])
    assert not np.array_equal(a.x_test, nn.data.curves(20, 10, seed=2, cache=False).x_test)


def test_curves_are_cached(tmp_path, monkeypatch):
    first = nn.data.curves(20, 10, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    before = path.stat().st_mtime_ns
    monkeypatch.setattr("nn.data.strokes._write", None)  # a second write would fail
    second = nn.data.curves(20, 10, cache=tmp_path)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert path.stat().st_mtime_ns == before


def test_curves_find_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RMAD_CACHE", str(tmp_path / "deep" / "er"))
    nn.data.curves(2, 1)
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["curves-v1-0-2-1.npz"]
    monkeypatch.delenv("RMAD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert cache_dir() == tmp_path / "rmad"


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b"",
        lambda b: b"foreign",
        lambda b: b[: len(b) // 2],
        lambda b: flip(b, 400 + 784 * 15),  # a pixel that only the checksum tells
        lambda b: flip(b, b.index(b"NUMPY")),
    ],
)
def test_a_damaged_cache_is_made_anew(tmp_path, damage):
    fine = nn.data.curves(20, 10, cache=tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match=r"the cached .*curves-v1-0-20-10.npz is damaged and is made again"):
        again = nn.data.curves(20, 10, cache=tmp_path)
    np.testing.assert_array_equal(again.x_train, fine.x_train)
    np.testing.assert_array_equal(nn.data.curves(20, 10, cache=tmp_path).x_test, fine.x_test)  # and no warning


@pytest.mark.parametrize(
    "arrays",
    [
        {"train": np.zeros((20, 784), np.uint8), "test": np.zeros((10, 784), np.uint8)},
        {"train": np.zeros((20, 783), np.uint8), "test": np.zeros((10, 784), np.uint8)},
        {"train": np.zeros((20, 784), np.uint8)},
    ],
)
def test_a_foreign_cache_is_made_anew(tmp_path, arrays):
    np.savez(tmp_path / "curves-v1-0-20-10.npz", **arrays)
    with pytest.warns(UserWarning, match="is damaged"):
        assert nn.data.curves(20, 10, cache=tmp_path).x_train.any()


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.warns(UserWarning) as record:  # noqa: PT030 (the message depends on the system)
        data = nn.data.curves(2, 1, cache=tmp_path / "file")
    assert any("could not be written" in str(w.message) for w in record)
    assert data.x_train.any()


def test_curves_errors():
    with pytest.raises(ValueError, match="n_train and n_test must be positive, not 0 and 1"):
        nn.data.curves(0, 1)
