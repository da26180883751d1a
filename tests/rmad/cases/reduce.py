"""Rows of the table: reduce."""

from __future__ import annotations

from cases import Case

CASES: list[Case] = []
