"""The code on the pages of docs/ is run, as written; the names that docs/papers.md points to exist.

Pages that are notebooks (`{code-cell}`) are run where they are built, by Sphinx, and not here again.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
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
NEEDS = {"from_pytorch.md": "torch", "from_jax.md": "jax", "ranks.md": "mpi4py"}
FEW_EXAMPLES = """from hypothesis import settings
settings.register_profile("pages", derandomize=True, deadline=None, max_examples=10)
settings.load_profile("pages")
"""
BEFORE = {"testing.md": FEW_EXAMPLES}  # else a reader's profile: 100 examples, other ones in every run


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
    code = BEFORE.get(page.name, "") + "\n".join(code_of(page))
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
    model = nn.Sequential(nn.Linear(3, 4, rng=rng), made["Mish"](), nn.Linear(4, 2, rng=rng))
    opt = made["Cauchy"](model, nn.SoftmaxCrossEntropy())
    losses = [opt.step(x, t).loss for _ in range(20)]
    assert losses[-1] < losses[0]
    assert all(len(diff.splitlines()) <= 15 for diff in code_of(DOCS / "primitives.md", "diff"))


def test_links_between_pages_lead_somewhere() -> None:
    for page in EVERY:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
            assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"


def one_line_each(text: str) -> str:
    """Commands on one line: those continued by a backslash, and code spans that the wrapping of a page divides."""
    text = re.sub(r"\\\n\s*", "", text)
    return re.sub(r"(?<!`)`[^`]+`(?!`)", lambda span: span[0].replace("\n", " "), text)


@pytest.mark.parametrize("page", [*EVERY, ROOT / "README.md"], ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page: pathlib.Path) -> None:
    """The script, and that it or the examples' runner knows every option."""
    shared = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "examples" / "runner").glob("*.py"))
    text = one_line_each(page.read_text(encoding="utf-8"))
    for path, options in re.findall(r"\b((?:examples|benchmarks)/\w+\.py)([^`\n]*)", text):
        assert (ROOT / path).is_file(), f"{page.name}: there is no {path}"
        known = (ROOT / path).read_text(encoding="utf-8") + shared * path.startswith("examples/")
        for option in set(re.findall(r"(?<=\s)--([a-z][\w-]*)", options)) - {"help"}:
            name = option.replace("-", "_")  # of a field of the runner's configuration
            assert f'"--{option}"' in known or f'"{name}"' in known or f"{name}:" in known, f"{path} has no --{option}"


# -- the reference ---------------------------------------------------------------------------------------------------

LIBRARY = ("nn.models", "nn.init", "nn.functional", "nn.data", "nn.data.tasks")
REFERENCE = ("rmad", "rmad.linalg", "rmad.testing", "nn", *LIBRARY, "optim", "optim.schedules")
ON_A_PAGE = {"rmad.stats": "densities.md"}  # modules with a page of their own, which lists their names


def shown_in_the_reference() -> set[int]:
    """The ids of all objects in docs/api.md, shown by name or as members of a module shown with its members."""
    found, module = set[int](), ""
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    for directive, name, options in re.findall(r"^\.\. (?:py:)?(\w+):: ([\w.]+).*\n((?:   +:.*\n)*)", text, re.M):
        if directive == "currentmodule":
            module = name
        elif directive not in {"automodule", "names"}:
            found.add(id(named(name if "." in name else f"{module}.{name}")))
        elif ":members:" in options:
            members = (getattr(named(name), member) for member in named(name).__all__)
            found |= {id(member) for member in members if inspect.isclass(member) or inspect.isroutine(member)}
    return found


def test_every_public_name_is_in_the_reference() -> None:
    shown = shown_in_the_reference()
    for module in REFERENCE:
        for name in importlib.import_module(module).__all__:
            thing = named(f"{module}.{name}")
            if inspect.ismodule(thing):
                assert f"{module}.{name}" in (*REFERENCE, *ON_A_PAGE)
            else:
                assert id(thing) in shown, name


@pytest.mark.parametrize("module", ON_A_PAGE)
def test_every_public_name_is_on_the_page_of_its_module(module: str) -> None:
    text = (DOCS / ON_A_PAGE[module]).read_text(encoding="utf-8")
    assert [name for name in importlib.import_module(module).__all__ if f"`{name}`" not in text] == []


def test_every_public_name_says_what_it_is() -> None:
    """Functions and classes: by a docstring of their own."""
    for module in REFERENCE:
        for name in importlib.import_module(module).__all__:
            thing = named(f"{module}.{name}")
            if inspect.isclass(thing) or inspect.isroutine(thing):
                assert (thing.__doc__ or "").strip(), f"{module}.{name}"


def named(path: str) -> Any:
    """A module, or what it calls by that name: nn.summary is a function, though there is a file nn/summary.py."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name) if module else importlib.import_module(name)


# -- the map from the papers to the code -----------------------------------------------------------------------------

NAMED = re.compile(r"`((?:rmad|nn|optim|examples|benchmarks|tests)/[\w/]+\.py)(?:::([\w.]+))?`")


def names_in(path: pathlib.Path) -> set[str]:
    """The names defined in a file: functions, classes, Class.method, names assigned at the top or in a class."""
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


# What the papers have, without the numbers that the copy of the last one has lost: sections, equations, algorithms.
PAPERS = {
    "Hessian-free": (
        "1 2 3 4 5 6 6.1 6.2 6.3 7 7.1 7.2 8 8.1 8.2 8.3 8.4 8.5 8.6 8.7 8.8 9 10 "
        "11 11.1 11.2 11.3 11.4 12 12.1 12.2 13 14",
        14,
        7,
    ),
    "CurveBall": ("1 2 2.1 2.2 2.3 3 4 4.1 4.2 4.3 4.4 4.5 4.6 5 6", 20, 0),
    "SGN": ("1 1.1 2 2.1 2.2 2.3 2.4 3 3.1 4 4.1 4.2 4.3 4.4 4.5 4.6 A B", 17, 2),
    "KFRA": ("1 2 2.1 2.2 3 3.1 3.2 3.3 3.4 3.5 4 5 5.1 5.2 5.3 6", 0, 0),
}


@pytest.mark.parametrize("paper", PAPERS)
def test_no_part_of_a_paper_is_left_out(paper: str) -> None:
    """The first column of the paper's table: "sections 6, 6.1, alg. 5", "eqs. (3) to (6)"."""
    text = (DOCS / "papers.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \|", text.split(f"\n## {paper}:")[1].split("\n## ")[0], re.M)
    found: dict[str, set[str]] = {"section": set(), "eq": set(), "alg": set()}
    listed = r"\b(section|eq|alg)s?\.? ((?:(?:, | and | to )?\(?[\dAB][\d.]*\)?)+)"
    for kind, numbers in re.findall(listed, "\n".join(rows)):
        for first, last in re.findall(r"\(?([\dAB][\d.]*)\)?(?: to \(?(\d+))?", numbers):
            found[kind] |= {str(k) for k in range(int(first), int(last) + 1)} if last else {first}
    sections, equations, algorithms = PAPERS[paper]
    assert not set(sections.split()) - found["section"]
    assert not {str(k) for k in range(1, equations + 1)} - found["eq"]
    assert not {str(k) for k in range(1, algorithms + 1)} - found["alg"]


@pytest.mark.parametrize("page", EVERY, ids=lambda page: page.name)
def test_the_files_and_names_that_a_page_points_to_exist(page: pathlib.Path) -> None:
    for path, name in NAMED.findall(page.read_text(encoding="utf-8")):
        assert (ROOT / path).is_file(), f"{page.name}: there is no {path}"
        assert not name or name in names_in(ROOT / path), f"{page.name}: {path} has no {name}"
