"""Rows of the table: linalg."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
