"""Kronecker factors as pictures: what the PNGs hold are the correlations of the factors."""

from __future__ import annotations

import base64
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest

import nn
import optim
from optim.parts import pictures


def pixels(png: bytes) -> Any:
    """The bytes (h, w, 3) of a PNG as `png` writes it, every chunk checked."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        chunks[kind], at = data, at + 12 + size
    w, h, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colour, chunks[b"IEND"]) == (8, 2, b"")
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(h, 1 + 3 * w)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(h, w, 3)


def test_a_factor_is_its_correlations() -> None:
    M = np.array([[4.0, -2.0, 0.0], [-2.0, 1.0, 0.5], [0.0, 0.5, 1.0]])
    np.testing.assert_allclose(pictures.correlations(M), [[1, -1, 0], [-1, 1, 0.5], [0, 0.5, 1]])
    assert not pictures.correlations(np.zeros((2, 2))).any()
    (data,) = re.findall('base64,([^"]+)', pictures.image(M, "A"))
    found = pixels(base64.b64decode(data))
    assert found[0, 0].tolist() == pictures.POSITIVE.tolist()
    assert found[0, 1].tolist() == pictures.NEGATIVE.tolist()
    assert found[0, 2].tolist() == [255, 255, 255]
    assert found[1, 2].tolist() == [216, 140, 149]  # half of the way to red


def test_a_large_factor_keeps_its_largest_entries() -> None:
    M = np.zeros((300, 300))
    M[7, 250], M[120, 3] = -0.9, 0.4
    small = pictures.coarse(M)
    assert small.shape == (64, 64)
    assert (small.min(), small.max()) == (-0.9, 0.4)
    assert np.count_nonzero(small) == 2


@pytest.mark.parametrize("kind", ["kfac", "kflr"])
def test_factors_in_a_notebook(kind: str) -> None:
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.Tanh(), nn.Linear(4, 2, rng=rng))
    x = rng.standard_normal((20, 3)).astype(np.float32)
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, np.zeros((20, 2), np.float32))
    factors = optim.kronecker_factors(q, kind)
    shown = factors._repr_html_()
    assert "Kronecker factors of 26 parameters: 2 blocks A ⊗ G;" in shown
    found = [pixels(base64.b64decode(data)) for data in re.findall('base64,([^"]+)', shown)]
    assert [len(image) for image in found] == [n for block in factors.blocks for n in block.shape]
    assert "A: 4 × 4, trace" in shown
    assert "parameters 16 to 25" in shown
