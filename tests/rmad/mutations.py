"""Changes operators and constants of a module, one at a time, and reports the share that its tests catch.

    python tests/rmad/mutations.py rmad/sweeps/case_maps.py tests/rmad/test_averaged.py --changes 20

Every change is made on a temporary copy of the tree, so that the checkout stays as it is. The changes are drawn with a
seed: another operator of the same kind, a constant ± 1, a comparison of the other sense, `and` for `or`.
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
from collections.abc import Iterator, Sequence

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPIED = ("rmad", "nn", "optim", "tests", "pyproject.toml")

OTHER = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult, ast.USub: ast.UAdd, ast.Not: None},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.And: ast.Or, ast.Or: ast.And, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.BitAnd: ast.BitOr},
    **{ast.BitOr: ast.BitAnd},
}

EQUIVALENT = {
    ("rmad/sweeps/case_maps.py", "8 * float"): "a tolerance of rounding: twice of it decides no case",
}
"""Changes that no test can see, by the module and a part of the line, each with its reason."""


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
    """Every change of a module, but those of annotations, defaults of slices and messages."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if part is not None
        for inner in ast.walk(part)
    }
    skipped |= {id(i) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr | ast.Raise) for i in ast.walk(n)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
            yield Change(node, "constant")
        elif isinstance(node, ast.BinOp | ast.UnaryOp | ast.BoolOp | ast.AugAssign) and OTHER.get(type(node.op)):
            yield Change(node, "operator")
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
            yield Change(node, "comparison")


def is_equivalent(module: str, line: str) -> bool:
    return any(module == known and part in line for known, part in EQUIVALENT)


def survivors(module: str, tests: Sequence[str], number: int, seed: int, seconds: float) -> tuple[int, list[str]]:
    """The number of changes tried, and those that the tests passed with; no more are begun after so many seconds."""
    text = (ROOT / module).read_text("utf-8")
    lines, begun = text.splitlines(), time.monotonic()
    order = list(range(len(list(changes(ast.parse(text))))))
    random.Random(seed).shuffle(order)
    with tempfile.TemporaryDirectory() as folder:
        copy = pathlib.Path(folder)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
        if not passes(copy, tests):
            raise RuntimeError(f"{' '.join(tests)} fail without a change")
        tried, found = 0, []
        for k in order:
            if tried == number or time.monotonic() - begun > seconds:
                break
            tree = ast.parse(text)
            change = list(changes(tree))[k]
            line = lines[change.node.lineno - 1]  # type: ignore[attr-defined]
            if is_equivalent(module, line):
                continue
            what = change.applied()
            (copy / module).write_text(ast.unparse(tree), "utf-8")
            tried += 1
            if passes(copy, tests):
                found.append(f"{module}, {what}")
        return tried, found


def passes(copy: pathlib.Path, tests: Sequence[str]) -> bool:
    """True if the tests pass on the copy; one that hangs is a change caught."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy), "OPENBLAS_NUM_THREADS": "1"}
    try:
        run = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module")
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=600)
    given = parser.parse_args()
    tried, found = survivors(given.module, given.tests, given.changes, given.seed, given.seconds)
    print("\n".join(found))
    print(f"{tried - len(found)} of {tried} changes caught")


if __name__ == "__main__":
    main()
