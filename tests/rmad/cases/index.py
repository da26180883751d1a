"""Rows of the table: index."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
