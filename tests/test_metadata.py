"""The metadata of the project agree: version, license and authors stand the same in every file."""

from __future__ import annotations

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_citation_license_and_pyproject_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = dict(re.findall(r"^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M))
    assert cited["version"] == project["version"]
    assert cited["license"] == project["license"] == "MIT"
    (author,) = project["authors"]
    assert f"  - name: {author['name']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    license_text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert license_text.startswith("MIT License\n")
    assert re.search(rf"^Copyright \(c\) \d{{4}} {author['name']}$", license_text, re.M)
