"""Rows of the table: fft."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
