"""Rows of the table: products."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
