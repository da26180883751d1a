"""CIFAR-10, Boston, Olivetti, FACES, Tiny Shakespeare: right numbers, and errors that name the file."""

import gzip
import hashlib
import io
import shutil
import tarfile

import numpy as np
import pytest
import scipy.io

import nn
from nn.data import cifar
from nn.data.sources import CIFAR, SOURCES, File


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("RMAD_DATA", raising=False)
    monkeypatch.setenv("RMAD_CACHE", str(tmp_path / "cache"))
    for name, files in SOURCES.items():  # whatever happens, no test asks the net
        monkeypatch.setitem(SOURCES, name, {file: known._replace(urls=()) for file, known in files.items()})


# -- CIFAR-10 -------------------------------------------------------------------------------------------


def records(n, seed=0):
    r = np.random.default_rng(seed).integers(0, 256, (n, 3073), np.uint8)
    r[:, 0] %= 10
    return r


def write_batches(folder, *names, n=3):
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        content = records(n, k).tobytes()
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)


@pytest.mark.parametrize("where", [".", "cifar10", "cifar-10-batches-bin", "cifar10/cifar-10-batches-bin"])
def test_cifar10_from_single_files(tmp_path, where):
    write_batches(tmp_path / where, "data_batch_1.bin", "data_batch_3.bin.gz", "test_batch.bin.gz")
    data = nn.data.cifar10(tmp_path)
    assert [a.shape for a in data] == [(6, 32, 32, 3), (6,), (3, 32, 32, 3), (3,)]
    assert [a.dtype for a in data] == [np.float32, np.int64, np.float32, np.int64]
    assert data.x_train.flags.c_contiguous
    r = np.concatenate([records(3, 0), records(3, 1)])
    np.testing.assert_array_equal(data.t_train, r[:, 0])
    for c in range(3):  # one plane after the other, each row by row
        plane = r[:, 1 + 1024 * c : 1 + 1024 * (c + 1)].reshape(6, 32, 32)
        np.testing.assert_array_equal(np.rint(255 * data.x_train[..., c]), plane)
    np.testing.assert_array_equal(data.t_test, records(3, 2)[:, 0])


def test_cifar10_is_found_by_the_environment(tmp_path, monkeypatch):
    write_batches(tmp_path / "d" / "cifar10", "data_batch_2.bin", "test_batch.bin")
    monkeypatch.setenv("RMAD_DATA", str(tmp_path / "d"))
    assert len(nn.data.cifar10().x_train) == 3


def archive(path, names, n, kind="gz"):
    with tarfile.open(path, f"w:{kind}") as file:
        for k, name in enumerate(names):
            content = records(n, k).tobytes() if name.endswith(".bin") else b"text"
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))


MEMBERS = ("batches.meta.txt", "test_batch.bin", *(f"data_batch_{k}.bin" for k in (5, 1, 2, 3, 4)))


def test_cifar10_from_the_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "FULL", 2)
    monkeypatch.setattr(cifar, "SHA256", {})
    archive(tmp_path / CIFAR, MEMBERS, 2)
    data = nn.data.cifar10(tmp_path)
    assert [a.shape for a in data] == [(10, 32, 32, 3), (10,), (2, 32, 32, 3), (2,)]
    expected = [records(2, MEMBERS.index(f"data_batch_{k}.bin"))[:, 0] for k in range(1, 6)]
    np.testing.assert_array_equal(data.t_train, np.concatenate(expected))
    # the same out of the cache
    shutil.copytree(tmp_path, tmp_path / "cache" / "cifar10", ignore=shutil.ignore_patterns("cache"))
    sha = hashlib.sha256((tmp_path / CIFAR).read_bytes()).hexdigest()
    monkeypatch.setitem(SOURCES, "cifar10", {CIFAR: File(sha)})
    np.testing.assert_array_equal(nn.data.cifar10().x_train, data.x_train)


def test_damaged_archives(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "FULL", 2)
    monkeypatch.setattr(cifar, "SHA256", {})
    path = tmp_path / CIFAR
    archive(path, MEMBERS[:-1], 2)
    with pytest.raises(ValueError, match=f"{CIFAR}: has no data_batch_4.bin in it"):
        nn.data.cifar10(tmp_path)
    archive(path, MEMBERS, 3)
    with pytest.raises(ValueError, match=rf"{CIFAR}: test_batch.bin in it has 9219 bytes, expected 6146"):
        nn.data.cifar10(tmp_path)
    archive(path, MEMBERS, 2)
    whole = path.read_bytes()
    for damaged in (b"", b"<html>", whole[:-5000], whole[:300], gzip.compress(b"abc"), flip(whole, 9000)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"{CIFAR}: (the archive is cut short, damaged or none at all|has no)"):
            nn.data.cifar10(tmp_path)


def flip(content, where):
    return content[:where] + bytes([content[where] ^ 0xFF]) + content[where + 1 :]


BATCH = gzip.compress(records(2).tobytes(), mtime=0)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("data_batch_1.bin", b"", "holds 0 bytes, expected a multiple of 3073"),
        ("data_batch_1.bin", records(2).tobytes()[:-1], "holds 6145 bytes, expected a multiple of 3073"),
        (
            "data_batch_1.bin",
            records(2).tobytes()[:3073] + b"\x0b" + bytes(3072),
            "record 1 has the label 11, expected 0",
        ),
        ("test_batch.bin.gz", BATCH[:-9], "the gzip file is cut short"),
        ("test_batch.bin.gz", flip(BATCH, 3000), "the gzip file is damaged"),
        ("test_batch.bin.gz", records(2).tobytes(), "which is no gzip file"),
    ],
)
def test_damaged_batches(tmp_path, file, content, message):
    write_batches(tmp_path, *{"data_batch_1.bin", "test_batch.bin.gz"} - {file})
    (tmp_path / file).write_bytes(content)
    with pytest.raises(ValueError, match=f"{file}: .*{message}"):
        nn.data.cifar10(tmp_path)


def test_missing_batches(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"cifar10: no cifar-10-binary.tar.gz, data_batch_1.bin or .* in .*cifar10 or "
    ):
        nn.data.cifar10(tmp_path)
    write_batches(tmp_path, "data_batch_1.bin")
    with pytest.raises(FileNotFoundError, match=r"has data_batch_1.bin but no test batch"):
        nn.data.cifar10(tmp_path)
    with pytest.raises(ConnectionError, match=r"cifar10: could not download cifar-10-binary.tar.gz; pass data_dir"):
        nn.data.cifar10()


def test_the_real_cifar10(data_dir, tmp_path):
    data = nn.data.cifar10(data_dir)
    assert data.x_train.shape[1:] == (32, 32, 3)
    means = data.x_train[:10_000].mean(axis=(0, 1, 2), dtype=np.float64)
    np.testing.assert_allclose(means, [0.4935, 0.4834, 0.4472], atol=5e-5)
    assert np.bincount(data.t_train[:10_000]).tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    content = gzip.decompress((data_dir / "cifar10" / "data_batch_1.bin.gz").read_bytes())
    (tmp_path / "data_batch_1.bin").write_bytes(flip(content, 5000))  # one pixel that only the checksum tells
    write_batches(tmp_path, "test_batch.bin")
    with pytest.raises(ValueError, match=r"data_batch_1.bin: has the form of CIFAR-10's data_batch_1.bin but not its"):
        nn.data.cifar10(tmp_path)


# -- Boston ---------------------------------------------------------------------------------------------


def test_boston(data_dir):
    data = nn.data.boston(data_dir)
    assert [a.shape for a in data] == [(404, 13), (404, 1), (102, 13), (102, 1)]
    assert {a.dtype for a in data} == {np.dtype(np.float32)}
    assert max(data.x_train.max(), data.x_test.max()) == 1
    assert max(data.t_train.max(), data.t_test.max()) == 1
    plain = nn.data.boston(data_dir, scaled=False)
    # the first case of Keras's training set
    first = [1.23247, 0, 8.14, 0, 0.538, 6.142, 91.7, 3.9769, 4, 307, 21, 396.9, 18.72]
    np.testing.assert_allclose(plain.x_train[0], first, rtol=1e-6)
    np.testing.assert_allclose(plain.t_train[0], 15.2, rtol=1e-6)
    np.testing.assert_allclose(data.x_train, plain.x_train / 711, rtol=1e-6)
    np.testing.assert_allclose(data.t_test, plain.t_test / 50, rtol=1e-6)
    everything = np.concatenate([plain.t_train, plain.t_test])
    np.testing.assert_allclose(everything.mean(), 22.5328, rtol=1e-5)
    other = nn.data.boston(data_dir, seed=0, scaled=False)
    assert not np.array_equal(other.t_train, plain.t_train)
    np.testing.assert_array_equal(np.sort(np.concatenate([other.t_train, other.t_test]), 0), np.sort(everything, 0))


def test_boston_with_other_quotes_and_line_ends(data_dir, tmp_path):
    text = (data_dir / "boston" / "housing.csv").read_text()
    (tmp_path / "housing.csv").write_bytes(text.replace('"', "").replace("\n", "\r\n").encode())
    for a, b in zip(nn.data.boston(tmp_path), nn.data.boston(data_dir), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: "", "is empty"),
        (lambda s: "<html>\n", "its columns are <html>; expected crim, zn"),
        (lambda s: s[: len(s) // 2], "row 253 has 4 fields, expected 14|holds|row .* has .* fields, expected 14"),
        (lambda s: "\n".join(s.splitlines()[:400]) + "\n", "holds 399 rows, expected 506"),
        (lambda s: s.replace("0.538", "0.5x8", 1), "row 1 has nox '0.5x8', expected a number"),
        (lambda s: s.replace("0.538", "", 1), "row 1 has nox '', expected a number"),
        (lambda s: s.replace("0.538", "0.539", 1), "has the form of Boston housing but not its content"),
        (lambda s: s + "\xff", r"is no text file \(byte 35735 is 0xff\)"),
        (lambda s: s.replace("\n", '\n"', 1), "is no CSV file, or a damaged one|row 1 has"),
    ],
)
def test_damaged_boston(data_dir, tmp_path, damage, message):
    text = (data_dir / "boston" / "housing.csv").read_text()
    (tmp_path / "housing.csv").write_bytes(damage(text).encode("latin-1"))
    with pytest.raises(ValueError, match=f"housing.csv: ({message})"):
        nn.data.boston(tmp_path)


# -- Olivetti and FACES ---------------------------------------------------------------------------------


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


# -- Tiny Shakespeare -----------------------------------------------------------------------------------


def test_tiny_shakespeare(data_dir):
    text = nn.data.tiny_shakespeare(data_dir)
    assert len(text.vocabulary) == 65
    assert (len(text.train), len(text.validation)) == (1_003_855, 111_539)
    assert text.train.dtype == np.int64
    assert text.decode(text.train[:14]) == "First Citizen:"
    np.testing.assert_array_equal(text.encode("First"), text.train[:5])
    assert repr(text) == "Text(1,003,855 + 111,539 tokens, 65 characters)"
    rng = np.random.default_rng(0)
    x, t = text.sample(4, 30, rng)
    assert x.shape == t.shape == (4, 30)
    np.testing.assert_array_equal(x[:, 1:], t[:, :-1])
    assert text.decode(x[0]) in text.decode(text.train)
    x, t = text.sequences(1000)
    assert x.shape == (111, 1000)
    np.testing.assert_array_equal(x.ravel(), text.validation[:111_000])
    np.testing.assert_array_equal(t.ravel(), text.validation[1:111_001])


def test_text():
    text = nn.data.Text("abcabca", validation=0.3)
    assert text.decode(text.train) + text.decode(text.validation) == "abcabca"
    assert len(text.validation) == 2
    x, t = text.sequences(2, part="train")  # ab|c b.. : the fifth character is only a target
    assert (x.tolist(), t.tolist()) == ([[0, 1], [2, 0]], [[1, 2], [0, 1]])
    x, t = text.sample(50, 4, np.random.default_rng(0))  # one place only
    assert (x == [0, 1, 2, 0]).all()
    assert text.decode([]) == ""
    with pytest.raises(ValueError, match="'d' at 1 is not in the vocabulary of 3"):
        text.encode("ad")
    with pytest.raises(ValueError, match="tokens are integers from 0 to 2"):
        text.decode([3])
    with pytest.raises(ValueError, match="length must be from 1 to 4 in the part 'train', not 5"):
        text.sample(1, 5, np.random.default_rng(0))
    with pytest.raises(ValueError, match="part must be 'train' or 'validation', not 'test'"):
        text.sequences(2, part="test")
    with pytest.raises(ValueError, match=r"validation must be in \[0, 1\), not 1"):
        nn.data.Text("abc", validation=1)
    with pytest.raises(ValueError, match="the text is empty"):
        nn.data.Text("")


def test_damaged_tiny_shakespeare(data_dir, tmp_path):
    content = (data_dir / "tinyshakespeare" / "input.txt").read_bytes()
    path = tmp_path / "input.txt"
    path.write_bytes(content.replace(b"\n", b"\r\n"))
    np.testing.assert_array_equal(nn.data.tiny_shakespeare(tmp_path).train, nn.data.tiny_shakespeare(data_dir).train)
    path.write_bytes(content[:-10])
    with pytest.raises(ValueError, match=r"input.txt: holds 1,115,384 characters, expected 1,115,394"):
        nn.data.tiny_shakespeare(tmp_path)
    path.write_bytes(b"\xff" + content[1:])
    with pytest.raises(ValueError, match=r"input.txt: has the form of Tiny Shakespeare but not its content"):
        nn.data.tiny_shakespeare(tmp_path)
    shutil.copy(data_dir / "boston" / "housing.csv", path)
    with pytest.raises(
        ValueError, match=r"input.txt: this is housing.csv of boston, expected input.txt of tinyshakesp"
    ):
        nn.data.tiny_shakespeare(tmp_path)
