"""CURVES: generated images of a smooth curve through three random points."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from nn.checks import check_sizes
from nn.data.dataset import Dataset, cache_dir
from nn.files.io import write_whole
from rmad.extend import Array

__all__ = ["curves"]

SIDE = 28
MARGIN = 2.0  # the points keep this far from the edge
SIGMA = 0.75  # width of the pen, in pixels
INK = 1.3  # above one: the middle of the stroke is white
SAMPLES = 64  # along the curve
VERSION = 1  # version of the pictures; another one has cache files of its own
PROBE = 8  # pictures drawn again to check that a cached file holds the pictures of this code


def curves(
    n_train: int = 20000,
    n_test: int = 10000,
    seed: int = 0,
    cache: bool | str | os.PathLike[str] = True,
) -> Dataset:
    """CURVES: n_train + n_test images, 28×28, of the parabola through three random points.

    x: (n, 784) float32 in [0, 1], t: (n, 6), the points (x₁, y₁, x₂, y₂, x₃, y₃) in pixels. Deterministic in the seed;
    a larger set begins with the smaller one. A damaged cached file is made again, with a warning that names it.

    Parameters
    ----------
    n_train : int, default 20000
        Number of images for training.
    n_test : int, default 10000
        Number of images for test.
    seed : int, default 0
        Seed of the points.
    cache : bool, str or Path, default True
        Folder that keeps the images; True is $RMAD_CACHE or the system's cache, False is none.

    Returns
    -------
    Dataset

    References
    ----------
    The supplement of Hinton & Salakhutdinov (2006) describes the set; the pen and the distribution of the points are
    ours.

    Examples
    --------
    >>> import nn
    >>> data = nn.data.curves(3, 2, cache=False)
    >>> data.x_train.shape, data.t_test.shape
    ((3, 784), (2, 6))
    """
    check_sizes("curves", "n_train and n_test", n_train, n_test)
    points = [_points(seed, part, n) for part, n in enumerate((n_train, n_test))]
    images = None
    if cache is not False:
        folder = cache_dir() if cache is True else Path(cache)
        path = folder / f"curves-v{VERSION}-{seed}-{n_train}-{n_test}.npz"
        images = _read(path, points)
    if images is None:
        images = [_draw(p) for p in points]
        if cache is not False:
            _write(path, images)
    x_train, x_test = (_as_floats(image) for image in images)
    t_train, t_test = (p.reshape(len(p), 6).astype(np.float32) for p in points)
    return Dataset(x_train, t_train, x_test, t_test)


def _points(seed: int, part: int, n: int) -> Array:
    """Returns (n, 3, 2): three points per picture, uniform in the square; each part has its own stream."""
    rng = np.random.default_rng([seed, part])
    return MARGIN + (SIDE - 2 * MARGIN) * rng.random((n, 3, 2))


def _draw(points: Array) -> Array:
    """Returns (n, 784) uint8, rounded from float64 to 256 levels, so that the bytes are the same on every machine."""
    images = np.empty((len(points), SIDE * SIDE), np.uint8)
    for k in range(0, len(points), 500):
        images[k : k + 500] = _stroke(points[k : k + 500])
    return images


def _stroke(points: Array) -> Array:
    """Returns the ink of a round pen with a Gaussian tip, drawn along the curve c at constant speed:

        ink(x, y) = ∫ exp(−|c(s) − (x, y)|²/2σ²) ds / (σ√(2π))        1 on a long straight line

    The Gaussian is a product in x and y, so a picture is a sum of outer products: one small GEMM.
    """
    c, ds = _curve(points)  # (n, samples, 2), (n, samples)
    pixels = np.arange(SIDE) + 0.5
    tip = np.exp(-0.5 * ((c[..., None, :] - pixels[:, None]) / SIGMA) ** 2)  # (n, samples, pixel, 2)
    columns, rows = tip[..., 0], tip[..., 1]
    rows = rows * (ds * (INK / (SIGMA * np.sqrt(2 * np.pi))))[..., None]
    ink = np.swapaxes(rows, -1, -2) @ columns  # (n, row, column)
    return np.rint(255 * np.minimum(ink, 1)).reshape(len(points), SIDE * SIDE)


def _curve(points: Array) -> tuple[Array, Array]:
    """Returns samples of the parabola through the points, and the length of curve that belongs to each.

    Lagrange's form at the knots 0, τ, 1 with τ from the square roots of the chords (centripetal):
    equal knots would make the curve swing out along a short chord.
    """
    chords = np.sqrt(np.linalg.norm(np.diff(points, axis=1), axis=-1))  # (n, 2)
    tau = (chords[:, 0] / chords.sum(1))[:, None]
    tau = np.clip(tau, 0.2, 0.8)  # two points that nearly meet would else make a spike between them
    s = (np.arange(SAMPLES) + 0.5) / SAMPLES
    weights = np.stack(
        [(s - tau) * (s - 1) / tau, s * (s - 1) / (tau * (tau - 1)), s * (s - tau) / (1 - tau)], axis=-1
    )  # (n, samples, 3)
    c = weights @ points
    slopes = np.stack([(2 * s - tau - 1) / tau, (2 * s - 1) / (tau * (tau - 1)), (2 * s - tau) / (1 - tau)], axis=-1)
    return c, np.linalg.norm(slopes @ points, axis=-1) / SAMPLES


def _as_floats(images: Array) -> Array:
    x = images.astype(np.float32)
    x /= 255
    return x


def _read(path: Path, points: list[Array]) -> list[Array] | None:
    """Returns the cached images; None if there are none, with a warning for a file that holds something else."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:  # a zip file keeps checksums
            images = [file["train"], file["test"]]
        for x, p in zip(images, points, strict=True):
            if x.shape != (len(p), SIDE * SIDE) or x.dtype != np.uint8:
                raise ValueError(f"holds {x.dtype}{list(x.shape)}, expected uint8{[len(p), SIDE * SIDE]}")
            if not np.array_equal(x[:PROBE], _draw(p[:PROBE])):
                raise ValueError("holds other pictures")
        return images
    except FileNotFoundError:
        return None
    except Exception as error:  # whatever the bytes happen to be
        warnings.warn(f"curves: the cached {path} is damaged and is made again ({error})", stacklevel=3)
        return None


def _write(path: Path, images: list[Array]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: np.savez(file, train=images[0], test=images[1]))
    except OSError as error:
        warnings.warn(f"curves: {path} could not be written, so the next call draws again ({error})", stacklevel=3)
