"""Text as numbers, one per character."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nn.checks import check_rng, check_sizes
from nn.data.store import Folder, find, read_up_to, refuse_other_content
from rmad.extend import Array

__all__ = ["Text", "tiny_shakespeare"]

LENGTH = 1_115_394
SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"  # with \n at the ends of lines


class Text:
    """A text as tokens, one per character, split into a first part for training and the rest for validation.

    Parameters
    ----------
    text : str
        The text.
    validation : float, default 0.1
        Share of the text for validation, in [0, 1).

    Attributes
    ----------
    vocabulary : str
        The distinct characters in order.
    train : (t,) int64 array
        The tokens for training, each the place of its character in the vocabulary.
    validation : (t,) int64 array
        The tokens for validation.

    Raises
    ------
    ValueError
        If the text is empty or the share is out of range.
    TypeError
        Unless the text is a str.

    Examples
    --------
    >>> import nn
    >>> text = nn.data.Text("to be or not to be", validation=0.0)
    >>> text.vocabulary, text.decode(text.train[:5])
    (' benort', 'to be')
    """

    def __init__(self, text: str, *, validation: float = 0.1) -> None:
        if not isinstance(text, str):
            hint = "; text.decode() makes one of bytes" if isinstance(text, bytes) else ""
            raise TypeError(f"Text: the text must be a str, not {type(text).__name__}{hint}")
        if not text:
            raise ValueError("Text: the text is empty")
        if not 0 <= validation < 1:
            raise ValueError(f"Text: validation must be in [0, 1), not {validation}")
        self.vocabulary = "".join(sorted(set(text)))
        self._token = {c: k for k, c in enumerate(self.vocabulary)}
        tokens = self.encode(text)
        end = len(tokens) - round(validation * len(tokens))
        self.train, self.validation = tokens[:end], tokens[end:]

    def encode(self, text: str) -> Array:
        """Returns the tokens of a text: (t,) int64. ValueError for a character that is not in the vocabulary."""
        try:
            return np.fromiter((self._token[c] for c in text), np.int64, len(text))
        except KeyError as error:
            c = error.args[0]
            raise ValueError(
                f"Text: {c!r} at {text.index(c)} is not in the vocabulary of {len(self.vocabulary)}"
            ) from None

    def decode(self, tokens: Array | Sequence[int]) -> str:
        """Returns the characters of a sequence of tokens."""
        tokens = np.asarray(tokens)
        if tokens.size and (tokens.dtype.kind not in "iu" or tokens.min() < 0 or tokens.max() >= len(self.vocabulary)):
            raise ValueError(f"Text: tokens are integers from 0 to {len(self.vocabulary) - 1}")
        return "".join(self.vocabulary[k] for k in tokens.ravel())

    def sample(self, n: int, length: int, rng: np.random.Generator, *, part: str = "train") -> tuple[Array, Array]:
        """Draws pieces from random places of the text; t is one character ahead of x.

        Parameters
        ----------
        n : int
            Number of pieces.
        length : int
            Number of characters in each.
        rng : np.random.Generator
            Draws the places.
        part : {"train", "validation"}, default "train"
            Part of the text.

        Returns
        -------
        x, t : (n, length) int64 arrays
        """
        check_rng("Text.sample", rng)
        check_sizes("Text.sample", "n and length", n, length)
        tokens = self._part(part, length)
        starts = rng.integers(len(tokens) - length, size=n)
        return _pieces(tokens, starts, length)

    def sequences(self, length: int, *, part: str = "validation") -> tuple[Array, Array]:
        """Cuts a part into consecutive pieces, without a shorter rest; t is one character ahead of x.

        Parameters
        ----------
        length : int
            Number of characters in each piece.
        part : {"train", "validation"}, default "validation"
            Part of the text.

        Returns
        -------
        x, t : (n, length) int64 arrays
        """
        tokens = self._part(part, length)
        return _pieces(tokens, np.arange(0, len(tokens) - length, length), length)

    def _part(self, part: str, length: int) -> Array:
        """Returns the tokens of a part; ValueError unless it has a piece of this length."""
        if part not in ("train", "validation"):
            raise ValueError(f"Text: part must be 'train' or 'validation', not {part!r}")
        tokens = self.train if part == "train" else self.validation
        if not 1 <= length < len(tokens):
            raise ValueError(f"Text: length must be from 1 to {len(tokens) - 1} in the part {part!r}, not {length}")
        return tokens

    def __repr__(self) -> str:
        sizes = f"{len(self.train):,} + {len(self.validation):,} tokens"
        return f"Text({sizes}, {len(self.vocabulary)} characters)"


def tiny_shakespeare(data_dir: Folder = None, *, validation: float = 0.1) -> Text:
    """Tiny Shakespeare: 1,115,394 characters of his plays, 65 distinct ones, as tokens.

    The file input.txt is found like those of `mnist`.

    Parameters
    ----------
    data_dir : str or Path, optional
        Folder with the files, or with a folder `tinyshakespeare` that holds them; they must be there.
    validation : float, default 0.1
        Share of the text for validation, at its end.

    Returns
    -------
    Text

    Raises
    ------
    ValueError
        Names a damaged or foreign file and its fault.
    FileNotFoundError
        Names the places that were searched.

    References
    ----------
    A. Karpathy, char-rnn (2015).
    """
    path = find("tinyshakespeare", "input.txt", data_dir=data_dir)
    with path.open("rb") as file:
        content = read_up_to(file, 2 * LENGTH).replace(b"\r\n", b"\n")
    if len(content) != LENGTH:
        raise ValueError(f"{path}: holds {len(content):,} characters, expected {LENGTH:,}")
    refuse_other_content(path, content, SHA256, "Tiny Shakespeare")
    return Text(content.decode("ascii"), validation=validation)


def _pieces(tokens: Array, starts: Array, length: int) -> tuple[Array, Array]:
    pieces = tokens[starts[:, None] + np.arange(length + 1)]
    return pieces[:, :-1].copy(), pieces[:, 1:].copy()
