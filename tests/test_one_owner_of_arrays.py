"""New arrays are made in rmad/machine/arrays.py, so that they are of the kind, NumPy's or CuPy's, of those they meet.

The source of rmad, nn and optim is read for calls that only work for NumPy's arrays, and for NumPy's constructors. The
latter stand where arrays are NumPy's in any case: `ON_THE_CPU` names these places.
"""

from __future__ import annotations

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
OWNER = "rmad/machine/arrays.py"

CONSTRUCTORS = {"zeros", "ones", "empty", "full", "eye", "identity", "arange", "tri", "linspace", "indices"}
FAIL_ON_THE_GPU = {"ascontiguousarray", "asfortranarray", "require", "fromiter", "frombuffer"}
REDUCTIONS = {"max", "min", "amax", "amin", "sum", "prod", "mean", "any", "all", "std", "var"}

# Per reason, the places, "file or folder: names of functions", that make arrays for the CPU; no names: all of it.
ON_THE_CPU = {
    "for arrays that were found to be NumPy's": """
        rmad/tapes/scaling.py: unbroadcast
        rmad/kernels/depthwise.py: tap
        rmad/primitives/index.py: _scatter_add_numpy
        rmad/primitives/layers/normal.py: _cdf
        rmad/primitives/layers/normalize.py: Means.__call__
        rmad/primitives/matmul.py: _times _only_columns
        rmad/primitives/shape.py: full_like
        rmad/tapes/captured.py: _stretches
        rmad/joint/checkpointing.py: _some
        rmad/tracing/objects.py: mean objects numbers
        optim/lbfgs.py: BFGS
        """,
    "object of one look: a type, a dtype, a shape": """
        rmad/trees/leaf.py: real_dtype
        rmad/operators/linear_operator.py: _MATRICES
        rmad/primitives/eigen.py: _EighResult _EigResult
        rmad/primitives/svd.py: _SVDResult
        rmad/sweeps/averaged.py: _factor
        nn/models/convnets.py: pixels
        nn/summary.py: summary
        """,
    "NumPy's own functions, and what holds an object for SciPy": """
        rmad/as_written/constructors.py: _no_array
        rmad/as_written/iteration.py: __init__ _places
        rmad/as_written/names.py
        rmad/primitives/shape.py: arange
        rmad/primitives/index.py: add_reduceat
        """,
    "of a tree without arrays": "rmad/trees/leaf.py: joined",
    "results that are copied to the CPU": "rmad/check.py: moved close",
    "a tester of code on the CPU": "rmad/testing",
    "a check of the installation, which moves to the GPU what it tries there": "rmad/self_check.py",
    "a measurement of the CPU": "rmad/machine/config.py: _gemm_rate",
    "indices and matrices by functions that CuPy lacks; moved to the device afterwards": """
        rmad/kernels/windows.py: _pixels
        rmad/primitives/index.py: insert
        rmad/primitives/pad.py: _along
        rmad/primitives/shape.py: repeat
        rmad/primitives/sorting.py: _places
        """,
    "parameters of a new model, and random bits": """
        nn/batch_norm.py: __init__
        nn/checks.py: bias_of
        nn/dropout.py: __init__ _bits
        nn/init.py: sparse
        nn/layer_norm.py: __init__
        nn/recurrent.py: __init__
        """,
    "data and files": """
        nn/data
        nn/files
        optim/problem/stored.py: rows
        """,
    "numbers and texts in messages between processes": """
        optim/problem/mpi.py: _look leave
        optim/problem/ranks.py
        """,
    "a few numbers for SciPy": """
        optim/curveball.py: minimizer
        optim/parts/krylov.py: __call__ _basis
        optim/spectrum.py: spectral_density
        """,
    "for SciPy's sparse matrices, which are NumPy's": "rmad/sparse",
    "SciPy's solvers, which work on the CPU": "rmad/solvers",
    "SciPy's splines, likewise": "rmad/splines",
    "the places of elements, which index arrays of any kind": """
        rmad/written/calls.py: at _turns
        rmad/written/memory.py
        rmad/written/pieces.py
        """,
    "the order of cases or columns, which indexes arrays of any kind": """
        optim/check.py: check_ggn
        optim/parts/roles.py: __call__
        """,
}


def calls(tree: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.Call]]:
    """Every call, with the dotted name of the class and function that it stands in."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call):
            yield inside, node
        name = ""
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            name = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and not inside:
            name = node.targets[0].id
        yield from calls(node, f"{inside}.{name}".strip("."))


def of_numpy(f: ast.expr) -> str:
    """ "zeros" for np.zeros, "add.at" for np.add.at, "" for anything else."""
    if isinstance(f, ast.Attribute):
        if isinstance(f.value, ast.Name):
            return f.attr if f.value.id == "np" else ""
        return f"{name}.{f.attr}" if (name := of_numpy(f.value)) else ""
    return ""


def fault(call: ast.Call) -> str:
    """What an array of CuPy would not take about this call, "" if nothing."""
    name, keywords = of_numpy(call.func), {keyword.arg for keyword in call.keywords}
    if not name:
        return ""
    if found := keywords & {"like", "subok"}:
        return f"np.{name}({found.pop()}=)"
    if name.endswith("_like") and "shape" in keywords:
        return f"np.{name}(shape=)"
    if name in FAIL_ON_THE_GPU or name.endswith(".at"):
        return f"np.{name}"
    if name == "array" and "copy" in keywords:
        return "np.array(copy=)"
    if name in REDUCTIONS and (found := keywords & {"initial", "where"}):
        return f"np.{name}({found.pop()}=)"
    return f"np.{name}" if name in CONSTRUCTORS else ""


def places() -> list[tuple[str, list[str]]]:
    """(file or folder, names of functions) of all of `ON_THE_CPU`."""
    lines = [line.strip() for text in ON_THE_CPU.values() for line in text.replace(",", "\n").splitlines()]
    pairs = [line.partition(":") for line in lines if line]
    return [(path, names.split()) for path, _, names in pairs]


def is_at(place: tuple[str, list[str]], path: str, inside: str) -> bool:
    """True if a function of a file is one of this place."""
    where, names = place
    if path != where and not path.startswith(f"{where}/"):
        return False
    return not names or any(f".{name}." in f".{inside}." for name in names)


def faults(root: pathlib.Path, used: set[str] | None = None) -> list[str]:
    """The calls outside of the allowed places; used: collects those places that a call needs."""
    found, known = [], places()
    for package in ("rmad", "nn", "optim"):
        for file in sorted((root / package).rglob("*.py")):
            path = file.relative_to(root).as_posix()
            if path == OWNER:
                continue
            for inside, call in calls(ast.parse(file.read_text(encoding="utf-8"))):
                if not (what := fault(call)):
                    continue
                at = [place for place in known if is_at(place, path, inside)]
                if not at:
                    found.append(f"{path}:{call.lineno}: {what} in {inside or 'the module'}")
                if used is not None:
                    used |= {
                        f"{where}: {name}"
                        for where, names in at
                        for name in names or [""]
                        if not name or f".{name}." in f".{inside}."
                    }
    return found


def test_no_file_makes_arrays_of_its_own():
    used: set[str] = set()
    assert faults(ROOT, used) == []
    listed = {f"{where}: {name}" for where, names in places() for name in names or [""]}
    assert listed == used, "places that make no arrays any more"


@pytest.mark.parametrize(
    "line",
    [
        "np.zeros_like(x, shape=(3,))",
        "np.empty_like(x, subok=False)",
        "np.full_like(x, 0.0, order='C', shape=x.shape)",
        "np.eye(3, dtype=bool, like=x)",
        "np.asarray(2.0, like=x)",
        "np.array(x, copy=True)",
        "np.ascontiguousarray(x)",
        "np.add.at(x, 0, 1)",
        "np.maximum.at(x, 0, 1)",
        "np.max(x, axis=0, initial=0)",
        "np.sum(x, where=x > 0)",
        "x + np.zeros(3)",
        "x[np.arange(3)]",
        "np.tri(3) * x",
    ],
)
def test_a_call_that_fails_on_the_gpu_is_found(tmp_path, line):
    for package in ("rmad", "nn", "optim"):
        (tmp_path / package).mkdir()
    file = tmp_path / "rmad" / "planted.py"
    file.write_text(f"import numpy as np\n\n\ndef f(x):\n    return {line}\n")
    (fault,) = faults(tmp_path)
    assert fault.startswith("rmad/planted.py:5: np.")
    assert fault.endswith("in f")


@pytest.mark.parametrize("line", ["np.zeros_like(x)", "np.max(x, axis=0)", "np.array([1, 2])", "arrays.zeros(x, 3)"])
def test_a_call_that_both_kinds_take_is_none(tmp_path, line):
    for package in ("rmad", "nn", "optim"):
        (tmp_path / package).mkdir()
    (tmp_path / "nn" / "fine.py").write_text(f"def f(x):\n    return {line}\n")
    assert faults(tmp_path) == []
