"""Matrices as pictures in a notebook: PNGs that the page itself holds, written with zlib alone."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from rmad.extend import to_numpy

__all__ = ["correlations", "image", "table"]

CELLS = 64  # rows and columns of a picture at most
SIDE = 160  # pixels
NEGATIVE, POSITIVE = np.array([33, 102, 172]), np.array([178, 24, 43])  # blue and red; white is zero


def correlations(M: Any) -> np.ndarray[Any, Any]:
    """M_ij / √(M_ii M_jj), in [−1, 1]; 0 where an entry of the diagonal is."""
    M = np.asarray(to_numpy(M), np.float64)
    scale = np.sqrt(np.maximum(np.diagonal(M), 0.0))
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    return np.clip(M * inverse[:, None] * inverse, -1.0, 1.0)


def coarse(M: np.ndarray[Any, Any], cells: int = CELLS) -> np.ndarray[Any, Any]:
    """A square matrix with at most so many rows: of every patch the entry that is largest in size."""
    n = len(M)
    if n <= cells:
        return M
    bounds = [n * k // cells for k in range(cells)]
    high = np.maximum.reduceat(np.maximum.reduceat(M, bounds, axis=0), bounds, axis=1)
    low = np.minimum.reduceat(np.minimum.reduceat(M, bounds, axis=0), bounds, axis=1)
    return np.where(high >= -low, high, low)


def png(rgb: np.ndarray[Any, Any]) -> bytes:
    """A PNG of (h, w, 3) bytes."""
    h, w, _ = rgb.shape
    rows = b"".join(b"\0" + row.tobytes() for row in rgb.astype(np.uint8))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def image(M: Any, alt: str) -> str:
    """The correlations in M as an HTML image: red for positive ones, blue for negative ones."""
    c = coarse(correlations(M))[..., None]
    colours = np.where(c >= 0, 255 + c * (POSITIVE - 255), 255 - c * (NEGATIVE - 255))
    data = base64.b64encode(png(np.round(colours))).decode()
    style = f"width: {SIDE}px; height: {SIDE}px; image-rendering: pixelated; border: 1px solid #888"
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}" style="{style}">'


def table(title: str, rows: Iterable[Iterable[str]]) -> str:
    """An HTML table of cells that are HTML, under a title that is text."""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<p>{html.escape(title)}</p><table>{body}</table>"
