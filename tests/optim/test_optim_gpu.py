"""The optimizers on CuPy arrays do what they do on NumPy's."""

import numpy as np
import pytest

import nn
import optim
import rmad


@pytest.mark.gpu
@pytest.mark.parametrize(
    "make",
    [
        lambda m, f: optim.SGD(m, f, lr=0.05, momentum=0.9, nesterov=True),
        lambda m, f: optim.Adam(m, f, lr=0.01),
        lambda m, f: optim.HessianFree(m, f, cg_iterations=8, l2=1e-3),
    ],
)
def test_steps_on_the_gpu(make_problem, make):
    cupy = pytest.importorskip("cupy")
    cpu, gpu = make_problem(), make_problem()
    gpu.model = optim.Function(gpu.model.forward, rmad.trees.tree.map_leaves(cupy.asarray, gpu.params))
    here, there = make(cpu.model, cpu.loss), make(gpu.model, gpu.loss)
    x, t = cupy.asarray(gpu.x), cupy.asarray(gpu.t)
    for _ in range(3):
        a, b = here.step(cpu.x, cpu.t), there.step(x, t)
        assert b.loss == pytest.approx(a.loss, rel=1e-9)
    np.testing.assert_allclose(cupy.asnumpy(rmad.ravel(gpu.model)[0]), cpu.theta, rtol=1e-7, atol=1e-10)
    with pytest.warns(optim.NumericalWarning):
        assert there.step(x * np.nan, t).rejected


@pytest.mark.gpu
def test_a_diagonal_that_is_one_number():
    """L″ of a squared error is a multiple of the identity, and has no array to tell the device from."""
    cupy = pytest.importorskip("cupy")
    rng = np.random.default_rng(0)
    model = nn.Sequential(
        nn.Linear(4, 5, rng=rng, dtype=np.float64), nn.Tanh(), nn.Linear(5, 2, rng=rng, dtype=np.float64)
    )
    there = rmad.map_leaves(cupy.asarray, model)
    x, t = rng.standard_normal((8, 4)), rng.standard_normal((8, 2))
    here, gpu = (optim.KFRA(m, nn.SquaredError(), rng=np.random.default_rng(1)) for m in (model, there))
    for _ in range(3):
        a, b = here.step(x, t), gpu.step(cupy.asarray(x), cupy.asarray(t))
        assert b.loss == pytest.approx(a.loss, rel=1e-10)
