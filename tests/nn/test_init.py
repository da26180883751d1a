"""Initial weights of affine, convolutional and recurrent layers."""

import numpy as np
import pytest

import nn
from nn import init


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("make", "std"),
    [
        (init.glorot_uniform, np.sqrt(2 / (9 * 30 + 9 * 50))),
        (init.glorot_normal, np.sqrt(2 / (9 * 30 + 9 * 50))),
        (init.he_uniform, np.sqrt(2 / (9 * 30))),
        (init.he_normal, np.sqrt(2 / (9 * 30))),
        (init.sparse, np.sqrt(15 / (9 * 30))),
        (init.orthogonal, np.sqrt(1 / (9 * 30))),
    ],
)
def test_fans_of_a_convolution(rng, make, std):
    weight = make(rng, (3, 3, 30, 50), np.float32)
    assert weight.shape == (3, 3, 30, 50)
    assert weight.dtype == np.float32
    np.testing.assert_allclose(weight.std(), std, rtol=0.06)  # 750 numbers or more: three sigma are 8 % / √2
    same = [make(np.random.default_rng(1), (2, 2, 3, 4), np.float64) for _ in range(2)]
    np.testing.assert_array_equal(*same)
    assert same[0].dtype == np.float64


@pytest.mark.parametrize(
    "make", [init.glorot_uniform, init.glorot_normal, init.he_uniform, init.he_normal, init.sparse, init.orthogonal]
)
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), ()])
def test_shapes_without_meaning(rng, make, shape):
    with pytest.raises(ValueError, match=r"the shape must be \(i, o\) or \(kh, kw, i, o\), not"):
        make(rng, shape)


def test_uniform_stays_in_its_interval(rng):
    assert abs(init.he_uniform(rng, (6, 100))).max() <= 1
    assert abs(init.he_uniform(rng, (1, 2, 3, 100))).max() <= 1


@pytest.mark.parametrize("shape", [(5, 5), (7, 4), (4, 7), (3, 2, 4, 6), (1, 1, 2, 9)])
def test_orthogonal(rng, shape):
    weight = init.orthogonal(rng, shape, np.float64, gain=0.5).reshape(-1, shape[-1])
    gram = weight.T @ weight if weight.shape[0] >= weight.shape[1] else weight @ weight.T
    np.testing.assert_allclose(gram, 0.25 * np.eye(len(gram)), atol=1e-14)


def test_orthogonal_has_no_preferred_sign(rng):
    """Uniform over rotations and reflections: the mean of an entry over many draws is 0."""
    entries = [init.orthogonal(rng, (3, 3), np.float64)[0, 0] for _ in range(2000)]
    assert abs(np.mean(entries)) < 4 * np.sqrt(1 / 3 / 2000)


def test_sparse_connections_of_a_patch(rng):
    weight = init.sparse(rng, (3, 3, 8, 20))
    assert (np.count_nonzero(weight.reshape(-1, 20), axis=0) == 15).all()
    assert np.count_nonzero(init.sparse(rng, (2, 2, 3, 5))) == 12 * 5


def test_spectral_radius(rng):
    weight = init.spectral_radius(rng, (100, 100), np.float64)
    np.testing.assert_allclose(abs(np.linalg.eigvals(weight)).max(), 1.1, rtol=1e-10)
    assert (np.count_nonzero(weight, axis=0) == 15).all()
    small = init.spectral_radius(rng, (4, 4), radius=0.9, connections=2)
    assert small.dtype == np.float32
    np.testing.assert_allclose(abs(np.linalg.eigvals(small)).max(), 0.9, rtol=1e-5)
    np.testing.assert_allclose(abs(init.spectral_radius(rng, (1, 1))), [[1.1]], rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 4), (3,), (2, 2, 3, 3)])
def test_spectral_radius_of_what_is_not_square(rng, shape):
    with pytest.raises(ValueError, match="must be square"):
        init.spectral_radius(rng, shape)


def test_layers_take_them(rng):
    assert nn.Linear(20, 20, rng=rng, init=init.spectral_radius).weight.shape == (20, 20)
    assert nn.Linear(6, 3, rng=rng, init=init.orthogonal).weight.shape == (6, 3)
