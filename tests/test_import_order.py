"""Each package is read in one order, and imports follow it: no circle, no import upward, one door to inner parts.

The order is data, `ORDER`. The functions that check it take a folder, so that the tests can plant faults in a small
tree of files and see them found.
"""

from __future__ import annotations

import ast
import doctest
import functools
import importlib
import pathlib
import re
from collections.abc import Iterable, Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("rmad", "nn", "optim")
DOOR = "rmad.extend"

# Per folder, the modules and folders in it: each imports only those before it. * stands for all that are not named,
# which import each other in any order without a circle. A folder that is not listed here is one *.
ORDER = {
    "rmad": (
        "types tuning batch keys machine trees tapes errors tracing rules singular stacked written as_written record "
        "kernels primitives linalg array_api stats joint plan transforms sweeps sparse operators solvers splines check "
        "testing pictures self_check __main__ extend"
    ),
    "rmad.trees": "leaf containers tree flat",
    "rmad.tapes": "frozen captured specs fours scaling tape residuals blocks",
    "rmad.errors": "source plain_calls scipy_names instead refusals other_names",
    "rmad.tracing": "handlers objects loops methods traced weak valued dispatch quick",
    "rmad.singular": "limits selected ties",
    "rmad.transforms": "argnums linearization transforms points unit_vectors dense",
    "rmad.operators": "linear_operator linear_maps operators",
    "rmad.pictures": "drawing view",
    "rmad.as_written": "callers names lists constructors own_code callbacks iteration mathematics swap",
    "rmad.machine": "turns backend special fused products arrays config memory",
    "rmad.array_api": "names differences special",
    "rmad.kernels": (
        "compiled loader windows gpu_elementwise elementwise gpu_rows slopes gpu_windows patches gpu_patches winograd "
        "depthwise gpu_cells cells"
    ),
    "rmad.kernels.compiled": "convolution depthwise maths cells",
    "rmad.primitives": "arguments layers *",
    "rmad.primitives.layers": "symmetric selection images *",
    "rmad.written": "pieces memory arrays viewers views assignment calls",
    "rmad.stats": "base continuous discrete multivariate",
    "rmad.joint": "checkpointing layout recurrence",
    "rmad.solvers": "closures corrections systems implicit runs replay substitution columns lanes steps ivp quadrature",
    "rmad.splines": "curves polynomials cubic bsplines",
    "rmad.plan": "rewrite buffers forms program calls push pull fusion plan timing",
    "rmad.sweeps": "inline rows per_case squares uses reduced factors rotated case_maps averaged",
    "rmad.sparse": "slots reach colouring derivatives",
    "rmad.testing": "compare strategies losses derivatives functions loss_checks layers optimizers check",
    "nn": "other_names once init module functional checks activations containers losses * files models data",
    "nn.losses": "base *",
    "nn.files": "io *",
    "nn.data": "dataset sources store *",
    "optim": (
        "types tuning other_names hyper schedules problem undo step_info training base parts presets first_order "
        "factored spectrum curvature *"
    ),
    "optim.curvature": "data estimates solvers inverse layers operator curvature laplace influence",
    "optim.problem": (
        "blas threads vectors stored batch pairing losses means function pairs mpi ranks parameters nonconvex shard "
        "shards quadratic division objective"
    ),
    "optim.training": "checks history passes stop limits bar loop",
    "optim.parts": (
        "trust_region passes device_run cg linesearch selection pictures factors fallback kronecker columns estimate "
        "running preconditioner damping structural local_model rescaling directions krylov roles automatic"
    ),
}

# Modules that documents and examples may import from, next to the three packages.
PUBLIC = {
    *("nn.data", "nn.data.tasks", "nn.functional", "nn.init", "nn.models", "optim.schedules", "optim.training.checks"),
    *("rmad.array_api", "rmad.linalg", "rmad.stats", "rmad.testing", DOOR),
}
MEASURES_INNER_PARTS = {
    "benchmarks/solve_ivp.py",
    "benchmarks/hf_overhead.py",
}  # times CG in a step by replacing the function


# -- reading ---------------------------------------------------------------------------------------------------------


def modules(root: pathlib.Path) -> dict[str, pathlib.Path]:
    """The file of every module of the packages, by dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def named(tree: ast.AST, package: str = "") -> Iterator[str]:
    """Dotted names that code imports, wherever in it: at the top, in functions, under `if TYPE_CHECKING`.

    `from a.b import c` gives a.b.c, whether c is a module or a name in one. package: of the file, for relative imports.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def reached(tree: ast.AST) -> Iterator[str]:
    """Dotted names that code reaches as attributes: rmad.trees.tree.leaves after `import rmad`."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    shorter = {id(node.value) for node in attributes}
    for whole in attributes:
        names: list[str] = []
        node: ast.expr = whole
        while isinstance(node, ast.Attribute):
            names.append(node.attr)
            node = node.value
        if id(whole) not in shorter and isinstance(node, ast.Name):
            yield ".".join([node.id, *reversed(names)])


def module_of(name: str, known: Iterable[str]) -> str | None:
    """The innermost module of the packages that a dotted name leads into."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name or None


def package_of(module: str, path: pathlib.Path) -> str:
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def imports(root: pathlib.Path) -> dict[str, set[str]]:
    """For every module those that it imports.

    Importing rmad.plan.push from outside rmad/plan/ runs rmad/plan/__init__.py too: the folder is imported as well. The
    packages themselves, which everything in them runs first, count only where they are imported by name.
    """
    known = modules(root)
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        package = package_of(module, path)
        targets = {module_of(name, known) for name in named(ast.parse(path.read_text("utf-8")), package)}
        found[module] = {target for target in targets if target} - {module}
        for target in list(found[module]):
            parts = target.split(".")
            folders = {".".join(parts[:k]) for k in range(2, len(parts))}
            found[module] |= {folder for folder in folders if not f"{module}.".startswith(f"{folder}.")}
    return found


# -- checks ----------------------------------------------------------------------------------------------------------


def circles(graph: dict[str, set[str]]) -> list[str]:
    """Circles of imports, "a → b → a", one for each import that closes one.

    A package's own __init__ stands above what it contains: that rmad imports rmad.plan is no half of a circle.
    """
    found: list[str] = []
    path: list[str] = []
    done: set[str] = set()

    def visit(module: str) -> None:
        if module in path:
            found.append(" → ".join([*path[path.index(module) :], module]))
        elif module not in done:
            path.append(module)
            for target in sorted(graph.get(module, ())):
                visit(target)
            path.pop()
            done.add(module)

    for module in sorted(graph):
        visit(module)
    return found


def rank(folder: str, name: str) -> int:
    order = ORDER.get(folder, "*").split()
    return order.index(name) if name in order else order.index("*")


def upward(graph: dict[str, set[str]]) -> list[str]:
    """Imports within a package that the order forbids, "a imports b"."""
    found = []
    for module, targets in graph.items():
        for target in sorted(targets):
            ours, theirs = module.split("."), target.split(".")
            if ours[0] != theirs[0] or theirs[: len(ours)] == ours:  # another package; an __init__ and its own modules
                continue
            same = next(k for k, (a, b) in enumerate(zip([*ours, ""], [*theirs, ""], strict=False)) if a != b)
            folder = ".".join(ours[:same])
            contains_us = same == len(theirs)
            if contains_us or rank(folder, theirs[same]) > rank(folder, ours[same]):
                found.append(f"{module} imports {target}")
    return found


def not_listed(root: pathlib.Path) -> list[str]:
    """Modules without a place in the order of their folder, and places without a module."""
    known, found = set(modules(root)), []
    for folder, order in ORDER.items():
        inside = {m.rpartition(".")[2] for m in known if m.rpartition(".")[0] == folder}
        missing = set() if "*" in order.split() else inside - set(order.split())
        found += [f"{folder}.{name}" for name in sorted(missing | (set(order.split()) - {"*"} - inside))]
    return found


def inner(code: ast.AST, known: Iterable[str], public: Iterable[str], own: Iterable[str] = ()) -> list[str]:
    """Inner modules of the packages that code imports or reaches.

    public: modules that may be imported from, and names of packages, as "rmad.grad"; own: packages whose inner modules
    the code may use, because it is part of them.
    """
    found = []
    for name in [*named(code), *reached(code)]:
        module = module_of(name, known)
        if module and "." in module and module.split(".")[0] not in own and not {module, name} & set(public):
            found.append(name)
    return sorted(set(found))


def second_doors(root: pathlib.Path) -> list[str]:
    """Uses of inner parts of rmad in nn and optim that do not pass through the door."""
    known = [module for module in modules(root) if module.startswith("rmad")]
    return [
        f"{module}: {name}"
        for module, path in modules(root).items()
        if not module.startswith("rmad")
        for name in inner(ast.parse(path.read_text("utf-8")), known, {DOOR})
    ]


# -- the packages ----------------------------------------------------------------------------------------------------


@functools.cache
def of_the_packages() -> dict[str, set[str]]:
    return imports(ROOT)


def test_no_circles() -> None:
    assert circles(of_the_packages()) == []


def test_no_upward_imports() -> None:
    assert not_listed(ROOT) == []
    assert upward(of_the_packages()) == []


def test_one_door() -> None:
    assert second_doors(ROOT) == []


def test_the_door_leads_to_what_it_lists() -> None:
    """nn, optim, the examples or the benchmarks use all of it, but for a type that signatures elsewhere need."""
    door = importlib.import_module(DOOR)
    used = {
        name.removeprefix(f"{DOOR}.").split(".")[0]
        for path in [*modules(ROOT).values(), *(ROOT / "examples").rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")]
        for name in named(ast.parse(path.read_text("utf-8")))
        if name.startswith(f"{DOOR}.")
    }
    assert all(hasattr(door, name) for name in door.__all__)
    assert used <= set(door.__all__) <= used | {"Tree"}


def test_a_folder_says_what_it_is() -> None:
    """In the docstring of its __init__, which names every module if all of them have a place in its order."""
    for module, path in modules(ROOT).items():
        if path.name == "__init__.py":
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            assert text, path
            order = ORDER.get(module, "*").split()
            if "." in module and "*" not in order:
                assert [name for name in order if not re.search(rf"\b{name}\b", text)] == [], path


# -- documents, examples, benchmarks ---------------------------------------------------------------------------------


def public_names() -> set[str]:
    return PUBLIC | {
        f"{package}.{name}"
        for package in (*PACKAGES, "rmad.testing")
        for name in importlib.import_module(package).__all__
    }


def pieces(path: pathlib.Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The code in a file, and the packages that it is part of: a diff of nn/swish.py is part of nn."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        yield text, ()
        return
    for language, block in re.findall(r"^```(python|\{code-cell\}|diff)\n(.*?)^```$", text, re.M | re.S):
        if language != "diff":
            yield "\n".join(line for line in block.splitlines() if not line.startswith(":")), ()
            continue
        for package, lines in re.findall(r"^\+\+\+ b/(\w+)/.*\n((?:[+ -].*\n)*?)(?=---|\Z)", block, re.M):
            added = (line[1:] for line in lines.splitlines() if re.match(r"\+\s*(from|import)\b", line))
            yield "\n".join(line.strip() for line in added), (package,)


FILES = [
    path
    for folder in ("docs", "examples", "benchmarks", ".")
    for path in sorted((ROOT / folder).glob("*.md" if folder == "." else "**/*"))
    if path.suffix in (".md", ".py") and "_build" not in path.parts
]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_and_examples_use_public_names(path: pathlib.Path) -> None:
    if str(path.relative_to(ROOT)) in MEASURES_INNER_PARTS:
        return
    known, public = modules(ROOT), public_names()
    for code, own in pieces(path):
        assert inner(ast.parse(code), known, public, own) == []


def test_examples_in_docstrings_use_public_names() -> None:
    known, public, parser = modules(ROOT), public_names(), doctest.DocTestParser()
    for path in known.values():
        code = "".join(example.source for example in parser.get_examples(path.read_text("utf-8")))
        assert inner(ast.parse(code), known, public) == [], path


# -- the tests, tested -----------------------------------------------------------------------------------------------

HOUSE = {
    "rmad/__init__.py": "from rmad.transforms.transforms import grad\n",
    "rmad/tapes/tape.py": "import math\n",
    "rmad/trees/tree.py": "",
    "rmad/rules.py": "from rmad.tapes.tape import Tape\n",
    "rmad/plan/__init__.py": "from rmad.plan.plan import Plan\n",
    "rmad/plan/buffers.py": "from rmad.tapes.tape import Tape\n",
    "rmad/plan/plan.py": "from rmad.plan.buffers import Pool\n",
    "rmad/transforms/transforms.py": "from rmad.plan.plan import Plan\nfrom rmad.trees import tree\n",
    "rmad/extend.py": "from rmad.trees import tree\nfrom rmad.plan import Plan\n",
    "nn/__init__.py": "import rmad\nfrom nn.linear import Linear\n",
    "nn/module.py": "from rmad.extend import tree\n",
    "nn/linear.py": "import rmad\nfrom nn.module import Module\nrmad.grad\n",
    "optim/__init__.py": "",
}
GUARD = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "


def build(root: pathlib.Path, **more: str) -> pathlib.Path:
    for name, text in HOUSE.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + more.get(name.removesuffix(".py").replace("/", "_"), ""), "utf-8")
    return root


def faults(root: pathlib.Path) -> tuple[int, int, int]:
    graph = imports(root)
    return len(circles(graph)), len(upward(graph)), len(second_doors(root))


def test_a_house_in_order_has_no_faults(tmp_path: pathlib.Path) -> None:
    assert faults(build(tmp_path)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("rmad_tapes_tape", "from rmad.rules import linear"),
        ("rmad_tapes_tape", "from ..rules import linear"),
        ("rmad_tapes_tape", "from rmad import rules"),
        ("rmad_tapes_tape", "import rmad.rules"),
        ("rmad_tapes_tape", "def late():\n    from rmad.rules import linear"),
        ("rmad_tapes_tape", GUARD + "from rmad.rules import linear"),
        ("rmad_tapes_tape", "from importlib import import_module\nimport_module('rmad.rules')"),
        ("rmad_plan_buffers", "from rmad.plan.plan import Plan"),
        ("rmad_plan_buffers", "from rmad.plan import Plan"),
        ("rmad_plan_buffers", "from . import Plan"),
        ("rmad_tapes_tape", "from rmad.plan.buffers import Pool"),
        ("rmad_tapes_tape", "from rmad import grad"),
        ("nn_module", "from nn.linear import Linear"),
    ],
)
def test_a_circle_is_found_and_so_is_its_upward_half(tmp_path: pathlib.Path, module: str, line: str) -> None:
    found = faults(build(tmp_path, **{module: line + "\n"}))
    assert min(found[:2]) > 0
    assert found[2] == 0


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("rmad_trees_tree", "from rmad.rules import linear"),
        ("rmad_trees_tree", GUARD + "from rmad.rules import linear"),
        ("rmad_trees_tree", "def late():\n    from rmad import rules"),
        ("rmad_rules", "from rmad.plan.buffers import Pool"),
    ],
)
def test_an_upward_import_is_found_without_a_circle(tmp_path: pathlib.Path, module: str, line: str) -> None:
    assert faults(build(tmp_path, **{module: line + "\n"})) == (0, 1 + line.count("plan.buffers"), 0)


@pytest.mark.parametrize(
    "line",
    [
        "from rmad.tapes.tape import Tape",
        "from rmad.trees import tree",
        "import rmad.trees.tree",
        "import rmad\nrmad.trees.tree.leaves",
        "from rmad.plan.buffers import Pool",
        GUARD + "from rmad.tapes.tape import Tape",
        "def late():\n    from rmad.tapes.tape import Tape",
    ],
)
def test_a_second_door_is_found(tmp_path: pathlib.Path, line: str) -> None:
    assert faults(build(tmp_path, nn_module=line + "\n")) == (0, 0, 1)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from optim.parts.cg import pcg", 1),
        ("from optim import parts", 1),
        ("import optim\noptim.parts.cg.pcg", 1),
        ("from rmad.trees.tree import leaves", 1),
        ("from rmad.extend import tree", 0),
        ("from optim.schedules import Step", 0),
        ("from optim import pcg, schedules", 0),
        ("import nn, rmad\nnn.summary\nnn.data.batches\nnn.init.normal\nrmad.grad", 0),
    ],
)
def test_inner_parts_in_documents_are_found(code: str, found: int) -> None:
    assert len(inner(ast.parse(code), modules(ROOT), public_names())) == found
