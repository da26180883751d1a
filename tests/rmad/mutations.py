"""Changes operators and constants of modules, one at a time, and reports the share that their tests catch.

    python tests/rmad/mutations.py rmad/sweeps/case_maps.py tests/rmad/test_averaged.py --changes 20
    python tests/rmad/mutations.py sweeps --changes 20

Every change is made on a temporary copy of the tree, so that the checkout stays as it is. The changes are drawn with a
seed: another operator of the same kind, a constant ± 1, a comparison of the other sense, `and` for `or`. A group of
modules and the tests that cover them stand in `mutation_groups.py`.
"""

from __future__ import annotations

import argparse
import ast
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

from mutation_groups import EQUIVALENT, GROUPS

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPIED = ("rmad", "nn", "optim", "tests", "pyproject.toml")

OTHER = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.USub: ast.UAdd, ast.Not: None},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.BitAnd: ast.BitOr},
    **{ast.BitOr: ast.BitAnd},
}


class Change:
    """One place of a module, what stands there and what is to stand there."""

    def __init__(self, node: ast.AST, kind: str) -> None:
        self.node, self.kind = node, kind

    def applied(self) -> str:
        """Makes the change in the tree that the node belongs to; returns what it is."""
        node, before = self.node, ast.unparse(self.node)
        if self.kind == "constant":
            assert isinstance(node, ast.Constant)
            node.value = (not node.value) if isinstance(node.value, bool) else node.value + 1
        elif isinstance(node, ast.Compare):
            node.ops[0] = OTHER[type(node.ops[0])]()
        else:
            node.op = OTHER[type(node.op)]()  # type: ignore[attr-defined]
        return f"line {node.lineno}: {before} → {ast.unparse(node)}"  # type: ignore[attr-defined]


def changes(tree: ast.AST) -> Iterator[Change]:
    """Every change of a module, but those that no test can see.

    They are those of annotations, of messages, of zip's `strict`, which no right call needs, and of the missing length
    −1 of a shape, for which NumPy takes any negative number.
    """
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
        for inner in ast.walk(part)
    }
    skipped |= {id(i) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr | ast.Raise) for i in ast.walk(n)}
    skipped |= {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg == "strict"}
    skipped |= {id(n) for call in ast.walk(tree) if _reshapes(call) for n in _missing_lengths(call)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield Change(node, "constant")
        elif isinstance(node, ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.AugAssign) and OTHER.get(type(node.op)):
            yield Change(node, "operator")
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
            yield Change(node, "comparison")


def _reshapes(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape"


def _missing_lengths(call: ast.AST) -> Iterator[ast.AST]:
    """The 1 of each −1."""
    for node in ast.walk(call):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node.operand


def places(module: str) -> list[tuple[str, int]]:
    """The changes of a module that tests can see: the module, and the number of the change."""
    text = (ROOT / module).read_text("utf-8")
    lines, found = text.splitlines(), []
    for k, change in enumerate(changes(ast.parse(text))):
        line = lines[change.node.lineno - 1]  # type: ignore[attr-defined]
        unseen = [made for at, part, made in EQUIVALENT if at == module and part in line]
        if not unseen or list(changes(ast.parse(text)))[k].applied().split(": ", 1)[1] not in unseen:
            found.append((module, k))
    return found


def survivors(
    tests: Mapping[str, Sequence[str]], number: int, seed: int, seconds: float, report: bool = False
) -> tuple[int, list[str]]:
    """The number of changes tried, and those that the tests passed with; no more are begun after so many seconds.

    tests: module → the tests that cover it. report: True prints each change once it is tried.
    """
    drawn = [place for module in tests for place in places(module)]
    random.Random(seed).shuffle(drawn)
    begun, tried, found = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        for module, k in drawn[:number]:
            if time.monotonic() - begun > seconds:
                break
            what = f"{module}, {change_copy(copy, module, k)}"
            tried += 1
            survives = passes(copy, tests[module])
            shutil.copy(ROOT / module, copy / module)
            if survives:
                found.append(what)
            if report:
                print("survives" if survives else "  caught", what, flush=True)
    return tried, found


def change_copy(copy: pathlib.Path, module: str, k: int) -> str:
    """Makes the k-th change of a module in the copy; returns what it is."""
    tree = ast.parse((ROOT / module).read_text("utf-8"))
    what = list(changes(tree))[k].applied()
    (copy / module).write_text(ast.unparse(tree), "utf-8")
    return what


def passes(copy: pathlib.Path, tests: Sequence[str]) -> bool:
    """True if the tests pass on the copy; one that hangs is a change caught.

    tests: arguments of pytest, and NAME=VALUE for its environment.
    """
    settings = dict(argument.split("=") for argument in tests if argument.startswith("RMAD_"))
    command = [sys.executable, "-m", "pytest", "-q", "-x", *(a for a in tests if not a.startswith("RMAD_"))]
    environment = {**os.environ, **settings, "PYTHONPATH": str(copy), "OPENBLAS_NUM_THREADS": "1"}
    try:
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=900, check=False)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", help=f"a module, or a group of them: {', '.join(GROUPS)}")
    parser.add_argument("tests", nargs="*", help="the tests of the module; by default those of its group")
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600)
    given = parser.parse_args()
    every = {module: tests for group in GROUPS.values() for module, tests in group.items()}
    tests = GROUPS.get(given.module) or {given.module: given.tests or every[given.module]}
    tried, found = survivors(tests, given.changes, given.seed, given.seconds, report=True)
    print(f"{tried - len(found)} of {tried} changes caught")


if __name__ == "__main__":
    main()
