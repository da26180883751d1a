"""Three floors: rmad below, nn and optim upon it and never upon each other; and importing rmad is cheap."""

from __future__ import annotations

import ast
import os
import pathlib
import statistics
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
FLOORS = ("rmad", "nn", "optim")
FORBIDDEN = {"rmad": {"nn", "optim"}, "nn": {"optim"}, "optim": {"nn"}}
ABOVE = {"examples", "benchmarks", "docs", "tests"}
REQUIRED = {"numpy", "scipy", "threadpoolctl"}  # the dependencies of the distribution


def files(floor):
    return sorted((ROOT / floor).rglob("*.py"))


def imported(path):
    """Top-level names that a file imports, wherever in it, relative imports resolved."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(path.relative_to(ROOT).parts[0] if node.level else (node.module or "").split(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                names.add(node.args[0].value.split(".")[0])
    return names


@pytest.mark.parametrize("floor", FLOORS)
def test_no_floor_imports_another_or_anything_above(floor):
    assert files(floor)
    for path in files(floor):
        assert not imported(path) & (FORBIDDEN[floor] | ABOVE), path


@pytest.mark.parametrize("floor", FLOORS)
def test_third_parties(floor):
    """Only what the floor is built of, and the optional packages that one file each may import."""
    optional = {"cupy", "cupy_backends", "cupyx", "numba", "mpi4py", "matplotlib", "pooch", "safetensors", "hypothesis"}
    for path in files(floor):
        foreign = imported(path) - set(sys.stdlib_module_names) - REQUIRED - {floor, "rmad"}
        assert foreign <= optional, path
    if floor == "rmad":
        assert not {"matplotlib", "pooch"} & set().union(*map(imported, files(floor)))


def test_the_tester_alone_imports_hypothesis():
    found = [path for floor in FLOORS for path in files(floor) if "hypothesis" in imported(path)]
    assert found
    assert {path.parent for path in found} == {ROOT / "rmad" / "testing"}


def test_one_file_imports_cupy():
    found = [
        str(path.relative_to(ROOT))
        for floor in FLOORS
        for path in files(floor)
        if {"cupy", "cupyx", "cupy_backends"} & imported(path)
    ]
    assert found == ["rmad/machine/backend.py"]


def test_the_packages_lie_on_top():
    assert all((ROOT / floor / "__init__.py").is_file() for floor in FLOORS)


# -- the import ----------------------------------------------------------------------------------------------


def python(code, env=None):
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60, env=env
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_importing_rmad_imports_no_extras():
    """Neither with the package, nor with the first gradient."""
    code = """
import sys, rmad, numpy as np
rmad.grad(lambda x: np.sum(np.tanh(x)))(np.ones(3))
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
    extras = {
        "hypothesis",
        "matplotlib",
        "cupy",
        "cupyx",
        "pooch",
        "safetensors",
        "torch",
        "jax",
        "numba",
        "nn",
        "optim",
    }
    assert not set(python(code).split()) & extras


def test_importing_rmad_is_quick(tmp_path):
    """At most 0.15 s on top of NumPy's own import: the best of five, after one run that compiles the files.

    Seconds of the CPU, since other tests run at the same time.
    """
    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    code = """
import time
start = time.process_time()
import numpy
middle = time.process_time()
import rmad
print(middle - start, time.process_time() - middle)
"""
    python(code, env)
    runs = [[float(t) for t in python(code, env).split()] for _ in range(5)]
    assert min(extra for _, extra in runs) <= 0.15, f"median {statistics.median(extra for _, extra in runs):.3f} s"
