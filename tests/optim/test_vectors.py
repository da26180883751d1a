"""dot, blocks and is_finite on long float32 vectors."""

import numpy as np
import pytest

from optim.problem import vectors
from optim.problem.vectors import blocks, dot, is_finite

SIZES = [0, 1, 511, 512, 513, 5000, vectors.BLOCK, vectors.BLOCK + 7]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dot_is_the_float64_product(size, dtype):
    rng = np.random.default_rng(size)
    a, b = rng.standard_normal((2, size)).astype(dtype)
    exact = np.dot(a.astype(np.longdouble), b.astype(np.longdouble))
    got = dot(a, b)
    assert type(got) is float
    # every chunk is summed in the vector's own dtype: its rounding is relative to Σ|aᵢbᵢ|
    assert abs(got - exact) <= 4 * np.finfo(dtype).eps * np.dot(np.abs(a), np.abs(b)).astype(float)


def test_dot_of_a_long_vector_keeps_what_float32_loses():
    a = np.full(1_000_000, 0.1, np.float32)
    exact = 1e6 * float(a[0]) ** 2
    assert abs(dot(a, a) / exact - 1) < 1e-7


@pytest.mark.parametrize("size", SIZES)
def test_blocks_cover_every_entry_once(size):
    a = np.zeros(size)
    for (a_k,) in blocks(a):
        a_k += 1
    assert np.all(a == 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 1234, -1])
def test_is_finite_finds_one_entry(bad, at):
    a = np.ones(5000, np.float32)
    assert is_finite(a)
    with np.errstate(all="ignore"):
        a[at] = 3e38  # its square overflows, the entry is finite
        assert is_finite(a)
        a[at] = bad
        assert not is_finite(a)
