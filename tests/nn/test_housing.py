"""Boston: right numbers, and errors that name the file."""

import numpy as np
import pytest

import nn

pytestmark = pytest.mark.usefixtures("no_environment")


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
