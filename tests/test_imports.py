"""Importing rmad, nn or optim defines names and does nothing else but what docs/installation.md says."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

STATE = """
import atexit, decimal, gc, locale, logging, os, random, signal, sys, threading, warnings

def state():
    found = {
        "environment": dict(os.environ),
        "warnings": list(warnings.filters),
        "signals": {s: signal.getsignal(s) for s in signal.valid_signals()},
        "threads": [t.name for t in threading.enumerate()],
        "logging": (logging.root.level, list(logging.root.handlers), logging.lastResort, logging.raiseExceptions),
        "loggers": [n for n, log in logging.root.manager.loggerDict.items() if getattr(log, "handlers", ())],
        "random": random.getstate(),
        "path": (list(sys.path), list(sys.meta_path), list(sys.path_hooks)),
        "hooks": (sys.excepthook, sys.displayhook, sys.unraisablehook, threading.excepthook, sys.gettrace()),
        "standard streams": (sys.stdin, sys.stdout, sys.stderr),
        "limits": (sys.getrecursionlimit(), sys.getswitchinterval(), gc.get_threshold(), gc.isenabled()),
        "locale": locale.setlocale(locale.LC_ALL),
        "decimal": repr(decimal.getcontext()),
        "at the end": atexit._ncallbacks(),
        "folder": (os.getcwd(), sorted(os.listdir())),
    }
    if "numpy" in sys.modules:
        import numpy as np
        import threadpoolctl
        found |= {
            "floating-point errors": (np.geterr(), np.geterrcall(), np.getbufsize()),
            "printing": np.get_printoptions(),
            "NumPy's random numbers": repr(np.random.get_state(legacy=False)),
            "BLAS threads": [(x["filepath"], x["num_threads"]) for x in threadpoolctl.threadpool_info()],
        }
    return found
"""
COMPARE = """
before = state()
import {package}
after = state()
print(*sorted(name for name in before if before[name] != after[name]), sep=", ")
"""
ENVIRONMENT = """
import rmad.machine.config
print(dict(after["environment"].items() ^ before["environment"].items()))
print(rmad.machine.config.DONE)
"""
DEPENDENCIES = "import numpy, scipy.fft, scipy.linalg, scipy.sparse.linalg, scipy.special, threadpoolctl\n"


def python(code: str, folder: pathlib.Path, **environ: str) -> list[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("OPENBLAS_CORETYPE", "RMAD_BLAS_KERNEL")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=kept | environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_with_its_dependencies_loaded_an_import_changes_nothing(tmp_path: pathlib.Path) -> None:
    """All three, one after the other, and what waits for its first use."""
    code = STATE + DEPENDENCIES + "import scipy.optimize\n" + COMPARE.format(package="rmad")
    for package in (
        "nn",
        "optim",
        "rmad.pictures.view, rmad.kernels.elementwise, nn.data.tasks, nn.files.torch_weights, optim.presets",
    ):
        code += COMPARE.format(package=package)
    assert python(code, tmp_path) == [""] * 4


@pytest.fixture(scope="module")
def numpys_own(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The changes that importing the dependencies alone makes."""
    folder = tmp_path_factory.mktemp("numpy")
    (changed,) = python(STATE + COMPARE.format(package="numpy, scipy.fft, scipy.sparse.linalg, scipy.special"), folder)
    return set(changed.split(", "))


@pytest.mark.parametrize(("package", "choice"), [("rmad", ""), ("rmad", "off"), ("nn", ""), ("optim", "")])
def test_the_one_thing_that_an_import_may_set(
    tmp_path: pathlib.Path, numpys_own: set[str], package: str, choice: str
) -> None:
    """The kernel of BLAS, and only where rmad says so."""
    changed, environment, done = python(
        STATE + COMPARE.format(package=package) + ENVIRONMENT, tmp_path, RMAD_BLAS_KERNEL=choice
    )
    chosen = "was set by rmad" in done
    assert not (chosen and choice == "off")
    assert environment == str({"OPENBLAS_CORETYPE": "SkylakeX"} if chosen else {})
    assert set(changed.split(", ")) <= numpys_own | ({"environment"} if chosen else set())
