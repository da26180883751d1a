"""Rows of the table: shape."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
