"""CURVES, IDX files and MNIST: right bytes, and errors that name the file."""

import builtins
import functools
import gzip
import hashlib
import http.server
import shutil
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import nn
from nn.data.dataset import cache_dir
from nn.data.sources import IDX, SOURCES, File

# -- CURVES ---------------------------------------------------------------------------------------------


def levels(x):
    return np.rint(255 * x).astype(np.uint8)


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


def flip(content, where):
    return content[:where] + bytes([content[where] ^ 0xFF]) + content[where + 1 :]


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


# -- IDX ------------------------------------------------------------------------------------------------


def idx(array, code=0x08):
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


IMAGES = np.arange(5 * 784, dtype=np.uint8).reshape(5, 28, 28)
LABELS = np.arange(5, dtype=np.uint8)


def test_read_idx(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(IMAGES)))
    np.testing.assert_array_equal(nn.data.read_idx(tmp_path / "a.gz"), IMAGES)
    numbers = np.array([[1.5, -2.0]])
    (tmp_path / "b").write_bytes(idx(numbers.astype(">f8"), 0x0E))
    found = nn.data.read_idx(tmp_path / "b")
    np.testing.assert_array_equal(found, numbers)
    assert found.dtype == np.float64
    assert found.dtype.isnative


GOOD = gzip.compress(idx(LABELS), mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing, which is no gzip file"),
        (b"<html>", "starts with 3c 68 74 6d, which is no gzip file"),
        (GOOD[:-9], "the gzip file is cut short, after 24 bytes"),
        (GOOD[:2], "the gzip file is cut short"),
        (flip(GOOD, 14), "the gzip file is damaged"),
        (flip(GOOD, -6 + len(GOOD)), "the gzip file is damaged: CRC check failed"),
        (gzip.compress(b"abc"), "3 bytes are too few"),
        (gzip.compress(b"abcdefgh"), "starts with 61 62 63 64, which is no IDX file"),
        (gzip.compress(idx(IMAGES)), r"magic number 2051, expected 2049 \(bytes along 1 axes\)"),
        (gzip.compress(idx(LABELS.astype(">i4"), 0x0C)), "magic number 3073, expected 2049"),
        (gzip.compress(idx(LABELS)[:6]), "ends within its header, after 6 of 8 bytes"),
        (gzip.compress(idx(LABELS)[:-1]), r"holds 4 bytes of data, but its header \(5,\) says 5"),
        (gzip.compress(idx(LABELS) + b"x"), r"holds 6 bytes of data, but its header \(5,\) says 5"),
    ],
)
def test_damaged_idx_files(tmp_path, content, message):
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"labels.gz: {message}"):
        nn.data.read_idx(path, 1)


# -- MNIST ----------------------------------------------------------------------------------------------


def write_set(folder, **other):
    """A small set of four files; `other` replaces the content of some, by the start of their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in IDX:
        content = idx(IMAGES if "images" in name else LABELS)
        for key, replacement in other.items():
            if name.startswith(key.replace("_", "-")):
                content = idx(replacement)
        (folder / name).write_bytes(gzip.compress(content, mtime=0))


@pytest.mark.parametrize("where", ["mnist", "."])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_mnist_is_found_in_a_folder(tmp_path, monkeypatch, where, by):
    write_set(tmp_path / where)
    monkeypatch.delenv("RMAD_DATA", raising=False)
    if by == "environment":
        monkeypatch.setenv("RMAD_DATA", str(tmp_path))
    data = nn.data.mnist(tmp_path if by == "argument" else None)
    assert [a.shape for a in data] == [(5, 784), (5,), (5, 784), (5,)]
    assert data.x_train.dtype == np.float32
    assert data.t_train.dtype == np.int64
    np.testing.assert_array_equal(levels(data.x_train), IMAGES.reshape(5, 784))
    np.testing.assert_array_equal(data.t_test, LABELS)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"train_images": IMAGES[:, :5]}, r"train-images-idx3-ubyte.gz: holds 5 images of \(5, 28\), expected 28×28"),
        ({"train_images": IMAGES[:0]}, "train-images-idx3-ubyte.gz: holds 0 images"),
        ({"t10k_labels": LABELS[:3]}, "t10k-labels-idx1-ubyte.gz: holds 3 labels, but .*t10k-images.* holds 5 images"),
        ({"train_labels": LABELS + 6}, "train-labels-idx1-ubyte.gz: holds the label 10, expected 0 … 9"),
        ({"train_labels": IMAGES}, "train-labels-idx1-ubyte.gz: magic number 2051, expected 2049"),
    ],
)
def test_files_that_do_not_go_together(tmp_path, other, message):
    write_set(tmp_path, **other)
    with pytest.raises(ValueError, match=message):
        nn.data.mnist(tmp_path)


def test_missing_files(tmp_path):
    write_set(tmp_path)
    (tmp_path / IDX[3]).unlink()
    with pytest.raises(FileNotFoundError, match=r"mnist: no t10k-labels-idx1-ubyte.gz in .*mnist.* or "):
        nn.data.mnist(tmp_path)


def test_the_real_sets(data_dir):
    digits = nn.data.mnist(data_dir)
    assert [a.shape for a in digits] == [(60000, 784), (60000,), (10000, 784), (10000,)]
    np.testing.assert_allclose(digits.x_train.mean(dtype=np.float64), 0.1307, atol=5e-5)
    assert np.bincount(digits.t_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_files_of_the_other_set_are_refused(data_dir, tmp_path):
    for name in IDX[:2]:
        shutil.copy(data_dir / "mnist" / name, tmp_path)
    with pytest.raises(ValueError, match=r"this is train-images-idx3-ubyte.gz of mnist, expected .* of fashion-mnist"):
        nn.data.fashion_mnist(tmp_path)
    shutil.copy(data_dir / "mnist" / IDX[3], tmp_path / IDX[1])
    with pytest.raises(ValueError, match=r"this is t10k-labels.* of mnist, expected train-labels.* of mnist"):
        nn.data.mnist(tmp_path)


# -- downloads, from a server on this machine -----------------------------------------------------------


@pytest.fixture
def server(tmp_path):
    """(folder, address) of what it serves."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder)) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


@pytest.fixture
def mirrored(server, tmp_path, monkeypatch):
    """The served folder with two mirrors in it, `bad` and `good`, and their hashes in place of MNIST's."""
    folder, address = server
    write_set(folder / "good")
    (folder / "bad").mkdir()
    known = {
        name: File(
            hashlib.sha256((folder / "good" / name).read_bytes()).hexdigest(),
            (f"{address}bad/{name}", f"{address}good/{name}"),
        )
        for name in IDX
    }
    monkeypatch.setitem(SOURCES, "mnist", known)
    monkeypatch.setenv("RMAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("RMAD_DATA", raising=False)
    return folder


def test_download_tries_the_mirrors_and_fills_the_cache(mirrored, tmp_path, monkeypatch):
    (mirrored / "bad" / IDX[0]).write_bytes(b"an error page")  # and no other file at all
    assert nn.data.mnist().x_train.shape == (5, 784)
    assert sorted(p.name for p in (tmp_path / "cache" / "mnist").iterdir()) == sorted(IDX)
    for name, file in SOURCES["mnist"].items():  # from the cache now
        monkeypatch.setitem(SOURCES["mnist"], name, file._replace(urls=()))
    np.testing.assert_array_equal(nn.data.mnist().t_test, LABELS)


def test_a_damaged_file_in_the_cache_is_fetched_again(mirrored, tmp_path):
    nn.data.mnist()
    (tmp_path / "cache" / "mnist" / IDX[2]).write_bytes(b"damaged")
    assert nn.data.mnist().x_test.shape == (5, 784)


def test_all_mirrors_fail(mirrored):
    shutil.rmtree(mirrored / "good")
    with pytest.raises(
        ConnectionError, match=r"mnist: could not download train-images.*; pass data_dir .*/bad/.*/good/"
    ):
        nn.data.mnist()


def test_download_without_pooch(mirrored, monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "pooch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"needs pooch: pip install rmad\[examples\]; or pass data_dir"):
        nn.data.mnist()


def test_nn_imports_light():
    import subprocess

    heavy = ["scipy.special", "scipy.io", "pooch", "safetensors", "matplotlib", "cupy"]
    code = f"import sys, nn; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(nn.__file__).parents[1]
    )
    assert out.stdout.strip() == "[]"
