"""Every optimizer on CuPy's arrays, with each of its parts exchanged: five steps are those on NumPy's arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from moving import assert_equal, to_device
from test_resume import OPTIMIZERS, exactly

import nn
import optim
import rmad

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

STEPS = 5
REFUSED = ("bfgs", "lbfgs")
QUICK = ("nesterov", "adam", "lm", "curveball", "sgn", "kfac", "kflr", "kfra", "hf", "bfgs", "lbfgs")
ROUNDING = {"sgn, schedule": (1e-9, 1e-8), "lm, cg": (1e-6, 1e-4)}
"""Relative tolerances for f and θ other than 1e-10: CG amplifies rounding in these two, "lm, cg" also because its
residual stop is decided by it. A change of x by one unit in the last place moves NumPy's own run as far."""


class Problem:
    """A net in double precision, an optimizer for it, and a batch, here or on the device."""

    def __init__(self, make: Any, device: bool) -> None:
        rng = np.random.default_rng(1)
        f64: dict[str, Any] = {"rng": rng, "dtype": np.float64}
        model: Any = nn.Sequential(nn.Linear(4, 6, **f64), nn.Tanh(), nn.Linear(6, 3, **f64))
        data = np.random.default_rng(5)
        batch: Any = (data.normal(size=(32, 4)), data.integers(0, 3, 32))
        if device:
            model, batch = to_device(model), to_device(batch)
        self.x, self.t = batch
        self.opt = make(model, nn.SoftmaxCrossEntropy(), rng)

    def step(self) -> Any:
        x, t = self.x, self.t
        extra = {}
        if isinstance(self.opt, optim.HessianFree):
            extra = {"curvature_batch": (x[:16], t[:16]), "backtracking_batch": (x[16:], t[16:])}
        return self.opt.step(x, t, **extra)

    def state(self) -> dict[str, Any]:
        return {"model": self.opt.model.state_dict(), "optimizer": self.opt.state_dict()}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in QUICK else pytest.mark.slow) for n in OPTIMIZERS])
def test_steps(name):
    if name in REFUSED:
        with pytest.raises(TypeError, match="takes NumPy arrays only"):
            Problem(OPTIMIZERS[name], device=True).step()
        return
    here, there = Problem(OPTIMIZERS[name], device=False), Problem(OPTIMIZERS[name], device=True)
    of_f, of_theta = ROUNDING.get(name, (1e-10, 1e-10))
    for _ in range(STEPS):
        a, b = here.step(), there.step()
        assert float(b.loss) == pytest.approx(float(a.loss), rel=of_f)
        assert a.rejected == b.rejected
    assert_equal(there.opt.model, here.opt.model, rtol=of_theta)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in ("adam", "hf") else pytest.mark.slow) for n in OPTIMIZERS if n not in REFUSED],
)
def test_a_saved_run_goes_on_bit_for_bit(name, tmp_path):
    whole, again = (Problem(OPTIMIZERS[name], device=True) for _ in range(2))
    for _ in range(2):
        whole.step()
    nn.Checkpoints(tmp_path).save(whole.state())
    state = nn.Checkpoints(tmp_path).load()
    again.opt.model.load_state_dict(state["model"])
    again.opt.load_state_dict(state["optimizer"])
    for _ in range(2):
        whole.step(), again.step()
    assert_equal(again.opt.model, rmad.map_leaves(cupy.asnumpy, whole.opt.model), rtol=0)
    found, wanted = again.state(), whole.state()
    exactly(rmad.map_leaves(cupy.asnumpy, found), rmad.map_leaves(cupy.asnumpy, wanted))


@pytest.mark.parametrize("name", ["adam", "hf", "kfac"])
def test_a_step_that_is_rejected(name):
    problem = Problem(OPTIMIZERS[name], device=True)
    problem.step()
    before = rmad.map_leaves(cupy.asnumpy, problem.opt.model)
    with pytest.warns(optim.NumericalWarning):
        assert problem.opt.step(problem.x * np.nan, problem.t).rejected
    assert_equal(problem.opt.model, before, rtol=0)


def test_a_model_that_is_saved_on_the_device_and_loaded_here(tmp_path):
    f64: dict[str, Any] = {"rng": np.random.default_rng(0), "dtype": np.float64}
    model, other = nn.Linear(4, 3, **f64), nn.Linear(4, 3, **f64)
    nn.save(to_device(model), tmp_path / "model.safetensors")
    nn.load(other, tmp_path / "model.safetensors")
    exactly(other.state_dict(), model.state_dict())
    there = to_device(nn.Linear(4, 3, **f64))
    nn.load(there, tmp_path / "model.safetensors")
    assert_equal(there, model, rtol=0)


# -- arrays of the other kind ----------------------------------------------------------------------------------------

ONES = np.ones(3)


@pytest.mark.parametrize("method", [optim.Adam, optim.HessianFree, optim.KFAC, optim.CurveBall, optim.LBFGS])
def test_a_batch_on_the_gpu_and_a_model_that_is_not(refuses, method):
    problem = Problem(lambda m, f, rng: method(m, f), device=False)
    message = r"is an array of CuPy, the model has arrays of NumPy: pass cupy.asnumpy\("
    refuses(lambda: problem.opt.step(cupy.asarray(problem.x), problem.t), TypeError, rf"^x {message}x\)$")
    refuses(lambda: problem.opt.step(problem.x, cupy.asarray(problem.t)), TypeError, rf"^t {message}t\)$")


def test_a_batch_that_is_not_on_the_gpu(refuses):
    model = optim.Function(lambda w, x: x * w, cupy.asarray(ONES))
    message = r"^x is an array of NumPy, the model has arrays of CuPy: pass cupy.asarray\(x\)$"
    refuses(lambda: optim.Objective(model, nn.SquaredError()).value(ONES[None], ONES[None]), TypeError, message)


def test_constants_that_are_not_on_the_gpu(refuses):
    message = r"^multiply of arrays of NumPy and of CuPy; cupy.asarray\(a\) is the array a on the GPU$"
    refuses(lambda: rmad.grad(lambda x: np.sum(x * ONES))(cupy.asarray(ONES)), TypeError, message)


def test_fit_goes_on_bit_for_bit(tmp_path):
    """Batches, validation on a share, the best model and checkpoints, with everything on the device."""
    rng = np.random.default_rng(0)
    x, t = to_device((rng.standard_normal((60, 4)).astype(np.float32), rng.integers(0, 3, 60)))

    def make():
        rng = np.random.default_rng(1)
        layers = [nn.Linear(4, 6, rng=rng), nn.BatchNorm(6), nn.Tanh(), nn.Linear(6, 3, rng=rng)]
        return optim.Adam(to_device(nn.Sequential(*layers)), nn.SoftmaxCrossEntropy(), lr=1e-2)

    options = {"batch": 16, "validation": 0.25, "every": 1}
    whole, rest = make(), make()
    history = whole.fit(x, t, updates=6, **options)
    make().fit(x, t, updates=3, checkpoints=nn.Checkpoints(tmp_path), **options)
    again = rest.fit(x, t, updates=6, checkpoints=nn.Checkpoints(tmp_path), resume=True, **options)
    np.testing.assert_array_equal(history["validation_loss"], again["validation_loss"])
    assert history["validation_loss"][-1] < history["validation_loss"][0]
    for name, array in whole.model.state_dict().items():
        np.testing.assert_array_equal(array.get(), rest.model.state_dict()[name].get())
