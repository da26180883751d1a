"""implicit and linear_map on CuPy's arrays: values and derivatives are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

import rmad

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu


def fixed_point(a):
    z = np.zeros_like(a)
    for _ in range(100):
        z = np.tanh(z / 2 + a)
    return z


def test_implicit():
    f = rmad.implicit(lambda z, a: z - np.tanh(z / 2 + a), fixed_point)
    g = lambda a: np.sum(f(a) ** 3)  # noqa: E731
    a = np.array([0.3, -0.2, 1.0])
    for derivative in (rmad.jacobian(f), rmad.grad(g), rmad.hessian(g)):
        J = derivative(cupy.asarray(a))
        assert isinstance(J, cupy.ndarray)
        np.testing.assert_allclose(J.get(), derivative(a), rtol=1e-10)


def test_a_singular_matrix_is_an_error():
    f = rmad.implicit(lambda z, a: z**2 - a, lambda a: a)
    with pytest.raises(np.linalg.LinAlgError, match="∂g/∂z is singular"):
        rmad.grad(lambda a: np.sum(f(a)))(cupy.zeros(2))


def test_linear_map():
    M = np.arange(6.0).reshape(2, 3)
    fourier = rmad.linear_map(np.fft.fft, lambda u: 3 * np.fft.ifft(u))
    for f in (lambda x: fourier @ x, lambda x: fourier.T @ x):
        g = lambda x, f=f: np.sum(np.abs(f(x)) ** 2)  # noqa: E731
        np.testing.assert_allclose(rmad.hessian(g)(cupy.ones(3)).get(), rmad.hessian(g)(np.ones(3)), atol=1e-12)
    np.testing.assert_allclose(rmad.jacobian(lambda x: rmad.linear_map(cupy.asarray(M)) @ x)(cupy.ones(3)).get(), M)
