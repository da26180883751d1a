"""The code on the pages of docs/ is run, as written; the names that docs/papers.md points to exist.

Pages that are notebooks (`{code-cell}`) are run where they are built, by Sphinx, and not here again.
"""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import nn

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
FRAGMENTS = {"hessian_free.md", "kronecker.md", "experiments.md"}  # of programs on the reader's own model and data
HEAD = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"
NEEDS = {"from_pytorch.md": "torch", "from_jax.md": "jax"}


def code_of(page: pathlib.Path, language: str = "python") -> list[str]:
    return re.findall(rf"^```{re.escape(language)}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


EVERY = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
PAGES = [page for page in EVERY if code_of(page)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_code_of_a_page_runs(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    if page.name in FRAGMENTS:
        compile("\n".join(code_of(page)), page.name, "exec")
        return
    if (package := NEEDS.get(page.name)) and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    code = "\n".join(code_of(page))
    strict = [] if package else ["-W", "error"]
    done = subprocess.run(
        [sys.executable, *strict, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", EVERY, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_is_a_notebook_or_it_is_not(page: pathlib.Path) -> None:
    """With cells it says so at its beginning, else Sphinx would not run them, and what it shows is run in its cells."""
    cells = code_of(page, "{code-cell}")
    assert page.read_text(encoding="utf-8").startswith(HEAD) == bool(cells)
    assert not (cells and code_of(page))
    compile("\n".join(cells), page.name, "exec")


def test_the_tutorial_engine_has_some_sixty_lines() -> None:
    """Up to the rules of single functions, without blank lines."""
    blocks = code_of(DOCS / "tutorials" / "engine.md", "{code-cell}")
    rules = next(k for k, block in enumerate(blocks) if "np.tanh" in block)
    lines = [line for block in blocks[:rules] for line in block.splitlines() if line.strip()]
    assert 55 <= len(lines) <= 80


def test_the_diffs_of_a_layer_and_an_optimizer_are_short_and_whole() -> None:
    """At most 15 lines each; the file that a diff makes is complete, and what it defines is used."""
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(50, 3)).astype(np.float32), rng.integers(0, 2, 50)
    made: dict[str, Any] = {}
    for diff in code_of(DOCS / "your_own.md", "diff"):
        added = [line[1:] for line in diff.splitlines() if line.startswith("+") and not line.startswith("+++ ")]
        assert len(added) <= 15
        assert diff.startswith("--- /dev/null")
        new = diff.split("--- a/")[0].splitlines()[2:]
        exec(compile("\n".join(line[1:] for line in new), "a new file", "exec"), made)
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), made["Swish"](4), nn.Linear(4, 2, rng=rng))
    opt = made["Cauchy"](model, nn.SoftmaxCrossEntropy())
    losses = [opt.step(x, t).loss for _ in range(20)]
    assert losses[-1] < losses[0]
    assert all(len(diff.splitlines()) <= 15 for diff in code_of(DOCS / "primitives.md", "diff"))


def test_links_between_pages_lead_somewhere() -> None:
    for page in EVERY:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"


# -- the map from the papers to the code -----------------------------------------------------------------------------

NAMED = re.compile(r"`((?:rmad|nn|optim|examples|benchmarks|tests)/[\w/]+\.py)(?:::([\w.]+))?`")


def names_in(path: pathlib.Path) -> set[str]:
    """What a file defines: functions, classes, methods as Class.method, names assigned at the top or in a class."""
    found: set[str] = set()

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")
            targets = (
                node.targets
                if isinstance(node, ast.Assign)
                else [node.target]
                if isinstance(node, ast.AnnAssign)
                else []
            )
            found.update(prefix + t.id for t in targets if isinstance(t, ast.Name))

    visit(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.name)
def test_the_files_and_names_that_a_page_points_to_exist(page: pathlib.Path) -> None:
    for path, name in NAMED.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), f"{page.name}: there is no {path}"
        assert not name or name in names_in(ROOT / path), f"{page.name}: {path} has no {name}"
