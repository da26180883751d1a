"""Markdown reads well in an editor and in a diff: prose in 100 columns, code in 80; tables are as wide as they are."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "rmad", "nn", "optim", "examples", "benchmarks", "tests")
PAGES = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))]
PAGES = sorted(page for page in PAGES if "_build" not in page.parts)
PROSE, CODE = 100, 80
WHOLE = "python3 -m venv .venv && .venv/bin/pip install "  # a command that is copied in one piece


def too_wide(text: str) -> Iterator[str]:
    """The lines over their width, each with its number."""
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif code and line.startswith(WHOLE):
            continue
        elif len(line) > (CODE if code else PROSE) and not line.startswith("|"):
            yield f"{number}: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_keeps_to_its_widths(page: pathlib.Path) -> None:
    assert not list(too_wide(page.read_text(encoding="utf-8")))


def test_wide_lines_are_found() -> None:
    text = "a" * 100 + "\n" + "b" * 101 + "\n```python\n" + "c" * 80 + "\n" + "d" * 81 + "\n```\n| " + "e" * 200
    assert [line[:4] for line in too_wide(text)] == ["2: b", "5: d"]
