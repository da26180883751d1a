"""examples/curvature.py on tiny data: what it prints is what it says."""

import argparse
import importlib
import pathlib
import sys
from typing import Any

import numpy as np
import pytest

import nn
import optim
import rmad

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def curvature(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module("curvature")
    rng = np.random.default_rng(0)
    images, labels = rng.random((40, 28, 28)).astype(np.float32), rng.integers(0, 10, 40)
    monkeypatch.setattr(module, "digits", lambda cases: (images[:cases], labels[:cases]))
    return module


def run(module: Any, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["curvature.py", *arguments])
    return module.main()


def test_mixture(
    curvature: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    arguments = ["--cases", "40", "--batch", "20", "--hidden", "6", "--updates", "4", "--every", "2", "--out", "p"]
    assert run(curvature, monkeypatch, "mixture", *arguments) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split("|")[1].strip() for row in rows[2::2]] == [
        f"{m}, 0 updates" for m in ("KFAC", "KFLR", "KFRA", "Adam")
    ]
    assert (tmp_path / "p" / "kronecker-mixture.png").stat().st_size > 1000


def test_rank(curvature: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One case of a model with rank 1, 9 and 10 at its outputs."""
    assert run(curvature, monkeypatch, "rank", "--cases", "1") == 0
    rows = [row.split("|")[2:5] for row in capsys.readouterr().out.splitlines()[2:]]
    assert [[int(number) for number in row] for row in rows] == [[1, 1, 1], [1, 9, 9], [1, 10, 10]]


def test_the_likelihood(curvature: Any) -> None:
    """Its derivatives by the engine; and draws have the Fisher matrix, which the curvature at the targets is not."""
    loss, rng = curvature.Likelihood(), np.random.default_rng(0)
    z, t = rng.uniform(0.1, 0.9, (5, 1)), rng.integers(0, 2, (5, 1))
    np.testing.assert_allclose(loss.gradient(z, t), rmad.grad(loss.value)(z, t), rtol=1e-12)
    for v in np.eye(5):
        product = rmad.hvp(lambda z: loss.value(z, t), z, v[:, None])
        np.testing.assert_allclose(loss.curvature(z, t)(v[:, None]), product, rtol=1e-12)
    drawn = np.mean([(5 * loss.gradient(z, loss.sample(z, rng))) ** 2 for _ in range(4000)], axis=0)
    np.testing.assert_allclose(drawn, 1 / (z * (1 - z)), rtol=0.2)
    model = curvature.Mixture(curvature.network([4, 3], rng, np.float64))
    x = rng.standard_normal((5, 4))
    F, G = curvature.both_curvatures(model, x, t)
    q = optim.Objective(model, loss).quadratic(x, t)
    [block] = optim.kronecker_factors(q, "kflr").blocks
    np.testing.assert_allclose(G, block.G, rtol=1e-10)
    assert np.abs(F - G).max() > 1e-3


def test_cosine(curvature: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--cases", "40", "--batch", "20", "--hidden", "5", "--updates", "4", "--every", "2", "--seeds", "2"]
    assert run(curvature, monkeypatch, "cosine", *arguments, "--pool", "7", "--damping", "0.1") == 0
    rows = [row.split("|")[1:-1] for row in capsys.readouterr().out.splitlines()]
    points = [[float(cell) for cell in row] for row in rows[2:6]]
    assert [row[:2] for row in points] == [[0, 2], [0, 4], [1, 2], [1, 4]]
    for row in points:
        assert row[4] <= 1e-4  # of the residual
        assert all(-1 <= number <= 1 for number in row[5:])
        assert row[-1] > 0  # of the gradient: bᵀx > 0 all along CG
    assert [row[0].strip() for row in rows[-4:]] == [
        f"{reference}, {damping}" for reference in ("converged", "20 steps") for damping in ("factored", "exact")
    ]
    own = np.array([row[5:] for row in points]).reshape(2, 2, -1).mean(axis=(0, 1))
    printed = [float(cell.partition("±")[0]) for cell in rows[-4][1:7]]
    np.testing.assert_allclose(printed, own, atol=2e-3)


def test_the_direction_of_kflr_is_that_of_gauss_newton_for_one_layer_and_case(
    curvature: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With exact damping, and CG converged."""
    rng = np.random.default_rng(0)
    model = optim.Function(lambda W, x: x @ W, rng.standard_normal((4, 3)))
    objective = optim.Objective(model, nn.SigmoidCrossEntropy())
    quadratic, x = objective.quadratic, rng.random((1, 4))
    monkeypatch.setattr(objective, "quadratic", lambda x, t: quadratic(x, np.full((1, 3), 0.3)))
    args = argparse.Namespace(tolerance=1e-10, cg_iterations=100)
    found, residual = curvature.alignment(objective, x, 0.01, 0, args)
    assert residual < 1e-9
    np.testing.assert_allclose(found[0, 1, 1:3], 1)  # kfra and kflr
    assert (found[0, 0, :5] < 1).all()
