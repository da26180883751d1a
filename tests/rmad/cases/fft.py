"""Rows of the table: numpy.fft, odd and even lengths, n longer and shorter than the input, every normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cases import Case, real

NORMS = ("backward", "ortho", "forward")


def one_axis(f: Callable[..., Any], takes_complex: bool) -> list[Case]:
    """f along one axis: lengths 1, 4 and 5 as they are, cut, padded, and along the first axis."""
    name = f.__name__
    rows = [
        Case(name, f, args=[real(2, 5)], complex=takes_complex, covers=[f]),
        Case(f"{name} even", f, args=[real(4)], complex=takes_complex),
        Case(f"{name} two", f, args=[real(2)], complex=takes_complex),
        Case(f"{name} axis", lambda x: f(x, axis=0), args=[real(4, 2)], complex=takes_complex),
        Case(f"{name} negative axis", lambda x: f(x, None, -2), args=[real(3, 2)], complex=takes_complex),
    ]
    for k, n in enumerate((1, 2, 3, 6, 7)):
        norm = NORMS[k % 3]
        rows.append(
            Case(f"{name} n={n}", lambda x, n=n, norm=norm: f(x, n, norm=norm), [real(4)], complex=takes_complex)
        )
    for norm in NORMS:
        rows.append(Case(f"{name} {norm}", lambda x, norm=norm: f(x, norm=norm), [real(5)], complex=takes_complex))
    return rows


def several_axes(f: Callable[..., Any], takes_complex: bool, axes: bool) -> list[Case]:
    """f over two or more axes: sizes as they are, given by s, kept by −1, axes in any order, one axis twice."""
    name = f.__name__
    rows = [
        Case(name, f, args=[real(3, 4)], complex=takes_complex, covers=[f]),
        Case(f"{name} stack", f, args=[real(2, 3, 5)], complex=takes_complex),
        Case(f"{name} s", lambda x: f(x, (2, 6), (0, 1), "ortho"), args=[real(3, 4)], complex=takes_complex),
        Case(f"{name} s kept", lambda x: f(x, s=(-1, 5), axes=(1, 0)), args=[real(3, 4)], complex=takes_complex),
        Case(f"{name} norm", lambda x: f(x, norm="forward"), args=[real(2, 3)], complex=takes_complex),
    ]
    if axes:
        rows.append(Case(f"{name} one axis", lambda x: f(x, axes=(0,)), args=[real(4, 2)], complex=takes_complex))
    if takes_complex:
        rows.append(Case(f"{name} axis twice", lambda x: f(x, axes=(1, 1)), args=[real(2, 3)], complex=True))
    return rows


CASES: list[Case] = [
    *(row for f in (np.fft.fft, np.fft.ifft, np.fft.irfft, np.fft.hfft) for row in one_axis(f, True)),
    *(row for f in (np.fft.rfft, np.fft.ihfft) for row in one_axis(f, False)),
    *(row for f in (np.fft.fft2, np.fft.ifft2) for row in several_axes(f, True, False)),
    *(row for f in (np.fft.fftn, np.fft.ifftn) for row in several_axes(f, True, True)),
    *(row for row in several_axes(np.fft.rfft2, False, False)),
    *(row for row in several_axes(np.fft.rfftn, False, True)),
    *(row for f in (np.fft.irfft2, np.fft.irfftn) for row in several_axes(f, True, f is np.fft.irfftn)),
    Case("fftshift", np.fft.fftshift, args=[real(3, 4)], complex=True, covers=[np.fft.fftshift]),
    Case("fftshift axes", lambda x: np.fft.fftshift(x, axes=(0,)), args=[real(5, 2)], complex=True),
    Case("ifftshift", np.fft.ifftshift, args=[real(3, 4)], complex=True, covers=[np.fft.ifftshift]),
    Case("ifftshift axes", lambda x: np.fft.ifftshift(x, 1), args=[real(2, 5)], complex=True),
    Case(
        "derivative of a periodic function",
        lambda x: np.fft.ifft(2j * np.pi * np.fft.fftfreq(5) * np.fft.fft(x)).real,
        args=[real(5)],
    ),
]
