"""Tiny Shakespeare: right numbers, and errors that name the file."""

import shutil

import numpy as np
import pytest

import nn

pytestmark = pytest.mark.usefixtures("no_environment")


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
