"""A check of the installation, `python -m rmad`: derivatives and products of each kind, and the optional packages.

Each check compares a result with another way to it: finite differences, a closed form, NumPy's own loop.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rmad.check import check_grads
from rmad.kernels import elementwise, loader
from rmad.machine import backend
from rmad.machine.config import show_config
from rmad.transforms.dense import hessian, jacobian
from rmad.transforms.transforms import grad, jvp, linearize

__all__ = ["CHECKS", "main", "run"]

SECONDS = 30.0  # that another process may take


class Missing(Exception):
    """A package that is not installed; the message says how to install it."""


def _close(found: Any, expected: Any, tolerance: float) -> None:
    """Raises AssertionError with the largest difference, relative to the largest entry."""
    scale = float(np.max(np.abs(expected)))
    off = float(np.max(np.abs(np.asarray(found) - expected))) / scale
    if not off <= tolerance:
        raise AssertionError(f"off by {off:.1e} of {scale:.3g}, {tolerance:.0e} is allowed")


def numpy_functions() -> str:
    """Finite differences of NumPy's functions, to second order."""
    A = np.random.default_rng(0).standard_normal((4, 4)) + 4 * np.eye(4)

    def f(x: Any) -> Any:
        y = np.tanh(A @ x) + np.linalg.solve(A, np.roll(x, 1))
        spectrum = np.fft.rfft(x)
        return np.sum(np.where(y > 0, y**2, np.sin(y))) + np.sum((spectrum * np.conj(spectrum)).real) + y[1:3] @ x[:2]

    check_grads(f, np.linspace(0.3, 1.2, 4), order=2)
    return "both directions, to second order"


def special_functions() -> str:
    """Finite differences of functions of scipy.special."""
    import scipy.special as sc

    check_grads(lambda x: np.sum(sc.expit(x) * sc.gammaln(x) + sc.erf(x) * sc.jv(1, x)), np.linspace(0.5, 2, 3))
    return "both directions"


PROGRAM = """
import math
import numpy as np

def f(x):
    y = np.zeros(3)
    y[1:] = x[:2] * x[1]
    return np.sum(np.array([x[0], 2 * x[1], math.sin(x[2])]) * y)
"""


def programs() -> str:
    """Lists of traced numbers, arrays that are written into, Python's math; in a program, since no user wrote this."""
    names: dict[str, Any] = {"__name__": "program"}
    exec(PROGRAM, names)
    check_grads(names["f"], np.array([0.3, 0.7, 1.1]))
    return "lists, written arrays, math"


def network() -> str:
    """Products of a network in float32, planned, against those in float64 without a plan; the adjoint identity."""
    rng = np.random.default_rng(1)
    sizes = (200, 100, 30, 100, 200)
    weights = [rng.standard_normal(s) / np.sqrt(s[0]) for s in itertools.pairwise(sizes)]
    x = rng.standard_normal((100, sizes[0]))

    def model(weights: Any, x: Any) -> Any:
        for W in weights:
            x = np.tanh(x @ W)
        return x

    narrow = [W.astype(np.float32) for W in weights]
    directions = [rng.standard_normal(W.shape) for W in weights]
    y, lin = linearize(model, narrow, x.astype(np.float32))
    v = [d.astype(np.float32) for d in directions]
    u = rng.standard_normal(y.shape).astype(np.float32)
    for _ in range(3):  # a plan is made on the way
        Jv, JTu = lin.Jv(v), lin.JTu(u)
    _close(Jv, jvp(model, weights, directions, x)[1], 1e-5)
    left = float(np.sum(u * Jv, dtype=float))
    right = sum(float(np.sum(a * b, dtype=float)) for a, b in zip(JTu, v, strict=True))
    _close(right, left, 1e-5)
    return "planned, float32 against float64"


def curvature() -> str:
    """A Hessian product against the dense Hessian; CG of SciPy with it."""
    from scipy.sparse.linalg import cg

    from rmad.operators.operators import HessianOperator

    X = np.random.default_rng(2).standard_normal((60, 12))

    def f(w: Any) -> Any:
        return np.sum(np.logaddexp(0, X @ w)) + 0.5 * np.sum(w * w)

    w = np.linspace(-1, 1, 12)
    H, g = HessianOperator(f, w), grad(f)(w)
    dense = hessian(f)(w)
    _close(H @ g, dense @ g, 1e-12)
    step, code = cg(H, -g, rtol=1e-12)
    _close(step, np.linalg.solve(dense, -g), 1e-8)
    return f"HessianOperator in SciPy's cg, code {code}"


def solvers() -> str:
    """Closed forms: a sparse Jacobian, a root, an ordinary differential equation."""
    from rmad.solvers.implicit import implicit
    from rmad.solvers.ivp import solve_ivp
    from rmad.sparse.derivatives import sparse_jacobian

    x = np.linspace(0.1, 1, 30)
    J = sparse_jacobian(lambda x: x[1:] * x[:-1])(x)
    if J.nnz != 58:
        raise AssertionError(f"a sparse Jacobian of 58 entries has {J.nnz}")
    _close(J.toarray(), jacobian(lambda x: x[1:] * x[:-1])(x), 0.0)
    root = implicit(lambda z, a: z * z - a, np.sqrt)
    _close(grad(root)(4.0), 0.25, 1e-12)

    def at_the_end(k: Any) -> Any:
        return solve_ivp(lambda t, y: -k * y, (0.0, 1.0), np.ones(1), rtol=1e-8, atol=1e-10).y[0, -1]

    _close(grad(at_the_end)(0.7), -np.exp(-0.7), 1e-6)
    return "sparse_jacobian, implicit, solve_ivp"


def _version(package: str, extra: str) -> str:
    """The version of an optional package."""
    if importlib.util.find_spec(package) is None:
        raise Missing(f"pip install 'rmad[{extra}]'")
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of an unknown version"


def numba() -> str:
    """A compiled loop against NumPy's exp."""
    version = _version("numba", "fast")
    x = np.linspace(-5, 5, 100_000, dtype=np.float32)
    found = elementwise.same("exp", x)
    if found is None:
        raise AssertionError(f"numba {version} is installed, but its loops cannot be loaded: {loader.loops('maths')!r}")
    _close(found, np.exp(x.astype(float)), 1e-6)
    return f"numba {version}"


def cupy() -> str:
    """A product on the GPU against NumPy's."""
    if importlib.util.find_spec("cupy") is None:
        raise Missing("pip install 'rmad[gpu]', where there is a GPU of NVIDIA")
    library = backend.import_cupy()
    A, v = np.random.default_rng(3).standard_normal((2, 50, 50))
    on_gpu = jvp(lambda x: np.tanh(x @ x), library.asarray(A), library.asarray(v))[1]
    _close(backend.to_numpy(on_gpu), jvp(lambda x: np.tanh(x @ x), A, v)[1], 1e-10)
    return f"CuPy {library.__version__}, {', '.join(backend.devices())}"


def mpi() -> str:
    """A sum over the processes, in a process of its own, because an MPI that does not work may end it."""
    if importlib.util.find_spec("mpi4py") is None:
        raise Missing("pip install 'rmad[mpi]'")
    code = "from mpi4py import MPI; c = MPI.COMM_WORLD; print(c.allreduce(1), MPI.Get_library_version().split(',')[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode or not done.stdout.startswith("1 "):
        raise AssertionError((done.stderr or done.stdout or f"exit code {done.returncode}").strip().splitlines()[-1])
    return f"mpi4py {_version('mpi4py', 'mpi')}, {' '.join(done.stdout[2:].split())}"


CHECKS: dict[str, Callable[[], str]] = {
    "NumPy's functions": numpy_functions,
    "scipy.special": special_functions,
    "programs": programs,
    "a network": network,
    "curvature": curvature,
    "solvers": solvers,
    "numba (fast)": numba,
    "CuPy (gpu)": cupy,
    "MPI (mpi)": mpi,
}


def run(check: Callable[[], str]) -> tuple[str, str]:
    """The outcome of a check, "ok", "absent" or "FAILS", and its words."""
    try:
        return "ok", check()
    except Missing as missing:
        return "absent", str(missing)
    except Exception as error:  # whatever an installation may have broken
        text = " ".join(str(error).split())
        return "FAILS", f"{type(error).__name__}: {text}" if not isinstance(error, AssertionError) else text


def main() -> int:
    """Prints the configuration and the outcome of every check; returns 1 if one fails, else 0."""
    show_config()
    print()
    failed = 0
    for name, check in CHECKS.items():
        started = time.perf_counter()
        outcome, words = run(check)
        failed += outcome == "FAILS"
        print(f"{name:<18} {outcome:<7} {words} ({time.perf_counter() - started:.1f} s)", flush=True)
    print("\nrmad works" if not failed else f"\n{failed} of {len(CHECKS)} checks fail")
    return int(failed > 0)
