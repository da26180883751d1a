"""Constants set by measurement stand in rmad/tuning.py, each with its unit and with the measurement that set it."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from rmad import tuning

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINES = (ROOT / "rmad/tuning.py").read_text("utf-8").splitlines()
PLACES = {name: k for k, line in enumerate(LINES) for name in re.findall(r"^([A-Z][A-Z0-9_]*) = ", line)}
UNITS = (
    "elements",
    "numbers",
    "multiply-adds",
    "channels",
    "bytes",
    "rows",
    "terms",
    "one over a fraction",
    "products",
    "nodes",
)
MEASURED = r"WORTH|PATIENCE|LONG|BLOCK|CHUNK|STRIPE|AT_A_TIME|NARROW|SHARE|FEWEST|(^|_)FROM$|_MOST$"


def comment_above(name: str) -> str:
    lines: list[str] = []
    for line in reversed(LINES[: PLACES[name]]):
        if not line.startswith("# "):
            break
        lines.insert(0, line.removeprefix("# "))
    return " ".join(lines)


@pytest.mark.parametrize("name", PLACES)
def test_a_constant_has_a_unit_and_a_source(name: str) -> None:
    assert isinstance(getattr(tuning, name), int)
    comment = comment_above(name)
    assert comment.startswith(UNITS), comment
    sources = re.findall(r"[a-z_/]+\.(?:py|md)\b", comment)
    assert sources, f"{name}: no benchmark, document or test is named"
    for source in sources:
        assert (ROOT / source).exists() or (ROOT / "docs" / source).exists(), source


@pytest.mark.parametrize("name", PLACES)
def test_a_section_that_a_comment_names_exists(name: str) -> None:
    for page, section in re.findall(r'([a-z_]+\.md), "([^"]+)"', comment_above(name)):
        assert f"# {section}\n" in (ROOT / "docs" / page).read_text("utf-8"), section


@pytest.mark.parametrize("name", PLACES)
def test_a_constant_is_read_as_an_attribute(name: str) -> None:
    """`tuning.NAME` somewhere; compiled code, which cannot follow an assignment, may import the name."""
    read = rf"tuning\.{name}\b"
    sources = [path for package in ("rmad", "nn", "optim") for path in (ROOT / package).rglob("*.py")]
    found = [path for path in sources if re.search(read, path.read_text("utf-8"))]
    imported = [
        path for path in sources if re.search(rf"from rmad\.tuning import .*\b{name}\b", path.read_text("utf-8"))
    ]
    assert all(path.parent.name == "compiled" for path in imported)
    assert found or imported


def test_no_measured_constant_stands_elsewhere() -> None:
    """Module-level numbers with the name of a threshold, a piece or a limit; nn/data only reads files."""
    found = []
    for package in ("rmad", "nn"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                targets = node.targets if isinstance(node, ast.Assign) else ()
                names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
                found += [f"{path}: {name}" for name in names if name.isupper() and re.search(MEASURED, name)]
    found = [place for place in found if not place.startswith((str(ROOT / "rmad/tuning.py"), str(ROOT / "nn/data")))]
    assert found == []
