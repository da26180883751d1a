"""What is published beside the code: the pages of several versions, the citation, the targets of make."""

from __future__ import annotations

import importlib.util
import pathlib
import re
import tomllib
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site() -> Any:
    spec = importlib.util.spec_from_file_location("site_of_docs", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_versions_are_listed_the_newest_first(site: Any, tmp_path: pathlib.Path) -> None:
    names = ["0.1.0", "0.10.0", "0.9.2", "1.0.0rc1", "1.0.0", "1.0.0rc2"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").touch()
    (tmp_path / "half").mkdir()  # a build that failed
    assert site.versions(tmp_path) == ["1.0.0", "1.0.0rc2", "1.0.0rc1", "0.10.0", "0.9.2", "0.1.0"]
    links = re.findall(r'href="([^"]+)"', site.index(tmp_path))
    assert [tmp_path / link for link in links] == [tmp_path / n / "index.html" for n in site.versions(tmp_path)]


@pytest.mark.parametrize("code", [0, 1])
def test_a_build_that_fails_is_not_listed(
    site: Any, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    class Done:
        returncode = code

    def run(command: list[Any], env: dict[str, str], check: bool) -> Any:
        assert env["RMAD_DOCS_SITE"] == "1"
        command[-1].mkdir()
        (command[-1] / "index.html").touch()
        return Done

    monkeypatch.setattr(site.subprocess, "run", run)
    monkeypatch.setattr(site.importlib.metadata, "version", lambda name: "3.2.1")
    assert site.main(str(tmp_path)) == code
    assert (tmp_path / "index.html").exists() == (code == 0)


def test_the_citation_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = dict(re.findall(r"^([\w-]+): (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M))
    page = (ROOT / "docs" / "citing.md").read_text(encoding="utf-8")
    entry = dict(re.findall(r"^  (\w+) += \{(.+?)\},?$", page, re.M | re.S))
    assert " ".join(entry["title"].split()) == cited["title"].strip('"')
    assert entry["version"] == cited["version"] == project["version"]
    assert entry["author"].strip("{}") == project["authors"][0]["name"]


def test_methods_that_are_cited_are_there() -> None:
    import optim
    import rmad

    page = (ROOT / "docs" / "citing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", page, re.M)
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert {"HessianFree", "KFAC", "SGN", "hvp"} <= set(names)
    assert all(hasattr(optim, name) or hasattr(rmad, name) for name in names)


def test_the_targets_of_make() -> None:
    """Every target that a page names is in the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert targets == {"docs", "site", "dist"}
    for name in ("CONTRIBUTING.md", ".ci/run"):
        named = set(re.findall(r"^make (\w+)", (ROOT / name).read_text(encoding="utf-8"), re.M))
        assert named
        assert named <= targets
