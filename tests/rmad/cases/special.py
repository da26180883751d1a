"""Rows of the table: special."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
