"""Olivetti and FACES: right numbers, and errors that name the file."""

import io
import shutil

import numpy as np
import pytest
import scipy.io

import nn

pytestmark = pytest.mark.usefixtures("no_environment")


def test_olivetti_from_both_files(data_dir, tmp_path):
    shutil.copy(data_dir / "olivetti" / "olivettifaces.mat", tmp_path)
    a, b = nn.data.olivetti(data_dir), nn.data.olivetti(tmp_path)
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
    assert [part.shape for part in a] == [(300, 4096), (300,), (100, 4096), (100,)]
    assert a.x_train.dtype == np.float32
    assert a.t_train.dtype == np.int64
    np.testing.assert_allclose(255 * np.concatenate([a.x_train, a.x_test]).mean(dtype=float), 132.3843, atol=1e-3)
    assert set(a.t_train) == set(range(30))
    by_picture = nn.data.olivetti(data_dir, split="pictures")
    assert np.bincount(by_picture.t_train).tolist() == [8] * 40
    assert np.bincount(by_picture.t_test).tolist() == [2] * 40
    with pytest.raises(ValueError, match="split must be 'people' or 'pictures', not 'persons'"):
        nn.data.olivetti(data_dir, split="persons")


def npy(array, **kw):
    file = io.BytesIO()
    np.save(file, array, **kw)
    return file.getvalue()


def mat(**variables):
    file = io.BytesIO()
    scipy.io.savemat(file, variables, do_compression=True)
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("olivetti_faces.npy", b"", "is no .npy file of numbers, or a damaged one"),
        ("olivetti_faces.npy", npy(np.zeros((400, 64, 64), np.uint8))[:-9], "is no .npy file of numbers"),
        (
            "olivetti_faces.npy",
            npy(np.zeros((400, 4096), np.uint8)),
            r"holds uint8\[400, 4096\], expected uint8\[400, 64, 64\]",
        ),
        (
            "olivetti_faces.npy",
            npy(np.array([{}, []], object), allow_pickle=True),
            "is no .npy file of numbers.*allow_pickle",
        ),
        (
            "olivetti_faces.npy",
            npy(np.zeros((400, 64, 64), np.uint8)),
            "has the form of the Olivetti faces but not its content",
        ),
        ("olivetti_faces.npy", npy(np.zeros(3)).replace(b"}", b"("), "is no .npy file of numbers, or a damaged one"),
        ("olivettifaces.mat", b"", "is no MATLAB 5 file, or a damaged one"),
        ("olivettifaces.mat", b"x" * 3000, "is no MATLAB 5 file, or a damaged one"),
        ("olivettifaces.mat", mat(faces=np.arange(999.0))[:-9], "is no MATLAB 5 file, or a damaged one"),
        ("olivettifaces.mat", mat(face=np.zeros(3)), "has no variable `faces`"),
        ("olivettifaces.mat", mat(faces=np.zeros((4096, 4))), r"holds float64\[4096, 4\], expected uint8\[4096, 400\]"),
    ],
)
def test_damaged_olivetti(tmp_path, file, content, message):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{file}: {message}"):
        nn.data.olivetti(tmp_path)


def test_a_pickle_is_not_opened(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    (tmp_path / "olivetti_faces.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"is no .npy file of numbers"):
        nn.data.olivetti(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_faces(data_dir):
    data = nn.data.faces(data_dir, pairs=3)
    assert [a.shape for a in data] == [(750, 625), (750,), (300, 625), (300,)]
    assert [a.dtype for a in data] == [np.float32, np.int64, np.float32, np.int64]
    assert set(data.t_train) == set(range(25))
    assert set(data.t_test) == set(range(30, 40))
    assert 0 < data.x_train.min() < data.x_train.max() < 1
    # deterministic, and with more pairs each picture begins with the same ones
    more = nn.data.faces(data_dir, pairs=5)
    np.testing.assert_array_equal(more.x_train.reshape(250, 5, 625)[:, :3], data.x_train.reshape(250, 3, 625))
    assert not np.array_equal(nn.data.faces(data_dir, pairs=3, seed=1).x_train, data.x_train)
    with pytest.raises(ValueError, match="pairs must be positive, not 0"):
        nn.data.faces(data_dir, pairs=0)


def test_faces_are_turned_and_scaled():
    from nn.data.portraits import _cut

    row, column = np.mgrid[:64, :64]
    half, turned, wide = np.array([0.5]), np.array([1.0]), np.array([1.0])
    # upright at 1.6 pixels a pixel: a slope of 1.6 from column to column, none from row to row
    upright = _cut(2 * column, half, half).reshape(25, 25)
    np.testing.assert_allclose(upright[0], np.rint(2 * (31.5 + 1.6 * (np.arange(25) - 12))))
    assert (upright == upright[0]).all()
    # at 90° the columns run along what were rows, at 1.8
    quarter = _cut(2 * row, turned, wide).reshape(25, 25)
    np.testing.assert_allclose(np.diff(quarter[0]) * np.sign(quarter[0, 1] - quarter[0, 0]), 3.6, atol=1)
    assert abs(quarter[0, 24] - quarter[0, 0]) == round(24 * 3.6)
    assert (quarter == quarter[0]).all()
    # a corner at 45° and 1.8 still lies within the picture
    assert _cut(np.ones((64, 64)), np.array([0.25, 0.75]), np.array([1.0, 1.0])).min() == 1
