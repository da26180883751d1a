"""The optimizers on CuPy arrays do what they do on NumPy's."""

import numpy as np
import pytest

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
    gpu.model = optim.Function(gpu.model.forward, rmad.tree.map_leaves(cupy.asarray, gpu.params))
    here, there = make(cpu.model, cpu.loss), make(gpu.model, gpu.loss)
    x, t = cupy.asarray(gpu.x), cupy.asarray(gpu.t)
    for _ in range(3):
        a, b = here.step(cpu.x, cpu.t), there.step(x, t)
        assert b.loss == pytest.approx(a.loss, rel=1e-9)
    np.testing.assert_allclose(cupy.asnumpy(rmad.ravel(gpu.model)[0]), cpu.theta, rtol=1e-7, atol=1e-10)
    with pytest.warns(optim.NumericalWarning):
        assert there.step(x * np.nan, t).rejected
