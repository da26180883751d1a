"""benchmarks/gpu.py runs end to end over the host's memory: tests, every contender, the table in the page."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("stand_in")]

ROOT = pathlib.Path(__file__).parents[2]
FAST = "tests/rmad/test_gpu.py"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    page = tmp_path_factory.mktemp("docs") / "benchmarks.md"
    shutil.copy(ROOT / "docs" / "benchmarks.md", page)
    return page


@pytest.fixture(scope="module")
def done(page, stand_in):
    command = ["benchmarks/gpu.py", "--tiny", "--stand-in", "--rounds", "1", "--repeats", "1", "--tests", FAST]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    return subprocess.run(
        [sys.executable, *command, "--write", str(page)], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )


def test_it_runs(done):
    assert done.returncode == 0, done.stderr
    assert "passed" in done.stdout.splitlines()[0]
    assert "the host's memory, CuPy" in done.stdout


def test_peers_that_are_missing_are_named(done):
    for peer in ("torch", "jax"):
        assert (f"{peer} is not installed" in done.stderr) == (importlib.util.find_spec(peer) is None)


def test_the_table_has_every_problem_and_optimizer(done, page):
    text = page.read_text()
    section = text[text.index("<!-- gpu -->") : text.index("<!-- end -->", text.index("<!-- gpu -->"))]
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in section.splitlines() if line.startswith("| ")}
    networks = ("CURVES autoencoder, n = 1000", "CURVES autoencoder, n = 10,000", "RNN, T = 100", "CIFAR net")
    for network in networks:
        assert sum(network in name for name in rows) == 2, network  # the product and the gradient
    for name in ["SGD", "Adam", "CurveBall", "SGN", "HessianFree", "KFAC", "KFLR", "KFRA", "LevenbergMarquardt"]:
        assert f"step of {name}" in rows
    assert {"on the GPU", "on the CPU"} <= rows.keys()
    for name, cells in rows.items():
        if name and "products" not in cells[0] and name != "`examples/autoencoder.py`":
            assert float(cells[0]) > 0, name
            assert float(cells[1]) > 0, name
    before = (ROOT / "docs" / "benchmarks.md").read_text()
    assert text.replace(section, "") == before.replace(
        before[before.index("<!-- gpu -->") :].split("<!-- end -->")[0], ""
    )
