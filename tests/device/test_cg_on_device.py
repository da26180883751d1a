"""CG on CuPy's vectors, whose α and β stay on the device, ends where NumPy's ends and for the same reason."""

from __future__ import annotations

import numpy as np
import pytest

from optim.parts.cg import SmallResidual, pcg

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
N = 9
Q = RNG.standard_normal((N, N))
SPD, INDEFINITE = Q @ Q.T / N + np.eye(N), np.diag([3.0, 1.0, -1.0, 2.0, 4.0, 1.5, 0.5, 2.5, 3.5])
B, X0, DIAGONAL = RNG.standard_normal(N), RNG.standard_normal(N), RNG.uniform(0.5, 2, N)

RUNS = {
    "as many iterations as numbers": (SPD, {"iterations": N}),
    "a few iterations": (SPD, {"iterations": 4}),
    "warm, preconditioned, damped": (SPD, {"x0": X0, "inverse_P": DIAGONAL, "damping": 0.3, "iterations": 5}),
    "a diagonal of damping": (SPD, {"damping": DIAGONAL, "iterations": 5}),
    "small residual": (SPD, {"stop": SmallResidual(0.05)}),
    "any rule": (SPD, {"stop": lambda i, phi, r: "by a rule" if i == 3 else None}),
    "trust region": (SPD, {"radius": 0.2}),
    "negative curvature": (INDEFINITE, {}),
    "negative curvature at once": (-SPD, {}),
    "negative curvature at once, preconditioned": (-SPD, {"inverse_P": DIAGONAL}),
    "not finite": (SPD * np.nan, {}),
    "zero": (SPD * 0, {}),
}


def found(A, b, options):
    def product(v, out):
        out[...] = A @ v

    return pcg(product, b, **options)


@pytest.mark.parametrize("name", RUNS)
def test_run(name):
    A, options = RUNS[name]
    there = {key: cupy.asarray(v) if isinstance(v, np.ndarray) else v for key, v in options.items()}
    y, z = found(cupy.asarray(A), cupy.asarray(B), there), found(A, B, options)
    assert (y.iterations, y.products, y.reason, y.finite) == (z.iterations, z.products, z.reason, z.finite)
    assert [iterate.i for iterate in y.iterates] == [iterate.i for iterate in z.iterates]
    for a, b in zip(y.iterates, z.iterates, strict=True):
        np.testing.assert_allclose(a.x.get(), b.x, rtol=1e-9, atol=1e-12)
        assert a.phi == pytest.approx(b.phi, rel=1e-9, nan_ok=True)


def test_an_iteration_waits_once(stand_in):
    A, b = cupy.asarray(SPD), cupy.asarray(B)
    for options in ({}, {"stop": SmallResidual(1e-30)}, {"inverse_P": cupy.asarray(DIAGONAL), "damping": 0.1}):
        copies = []
        for k in (2, 6):
            with stand_in.recorded() as counts:
                found(A, b, options | {"iterations": k, "keep": False})
            copies.append(counts.copies_to_host)
            assert counts.waits == counts.copies_to_host
        assert copies[1] - copies[0] == 4
