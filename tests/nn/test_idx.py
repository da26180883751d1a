"""IDX files and MNIST: right bytes, and errors that name the file."""

import gzip
import shutil
import tracemalloc

import numpy as np
import pytest
from data_files import IMAGES, LABELS, flip, idx, levels, write_set

import nn
from nn.data.sources import IDX


def test_read_idx(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(IMAGES), mtime=0))
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
        (gzip.compress(b"abc", mtime=0), "3 bytes are too few"),
        (gzip.compress(b"abcdefgh", mtime=0), "starts with 61 62 63 64, which is no IDX file"),
        (gzip.compress(idx(IMAGES), mtime=0), r"magic number 2051, expected 2049 \(bytes along 1 axes\)"),
        (gzip.compress(idx(LABELS.astype(">i4"), 0x0C), mtime=0), "magic number 3073, expected 2049"),
        (gzip.compress(idx(LABELS)[:6], mtime=0), "ends within its header, after 6 of 8 bytes"),
        (gzip.compress(idx(LABELS)[:-1], mtime=0), r"holds 4 bytes of data, but its header \(5,\) says 5"),
        (gzip.compress(idx(LABELS) + b"x", mtime=0), r"holds 6 bytes of data, but its header \(5,\) says 5"),
    ],
)
def test_damaged_idx_files(tmp_path, content, message):
    path = tmp_path / "labels.gz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"labels.gz: {message}"):
        nn.data.read_idx(path, 1)


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


def bomb(header: bytes, unpacked: int) -> bytes:
    """A file of IDX that unpacks to so many zeros after its header."""
    return gzip.compress(header + bytes(unpacked), 9, mtime=0)


@pytest.mark.parametrize("shape", [(5,), (1 << 31, 1 << 31), (3, 1 << 31)])
def test_memory_is_bounded_by_header_and_content(tmp_path, shape):
    """If the header says five numbers, no more of 200 MB are read; if it says 2⁶², at most the numbers in the file."""
    header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    (tmp_path / "x.gz").write_bytes(bomb(header, 200 << 20 if shape == (5,) else 1 << 20))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"x\.gz: holds \d+ bytes of data, but its header"):
        nn.data.read_idx(tmp_path / "x.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20


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
