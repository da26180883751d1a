"""The losses: closed forms against rmad's derivatives of the value, curvature against dense Hessians."""

import numpy as np
import pytest
import scipy.special

import nn
import rmad

RNG = np.random.default_rng(0)


def _bits(shape):
    return RNG.random(shape)


def _shares(shape):
    return scipy.special.softmax(RNG.standard_normal(shape), axis=-1)


def _labels(shape, k):
    return RNG.integers(0, k, shape)


# loss, z, t
CASES = [
    ("squared", nn.SquaredError(), RNG.standard_normal((4, 3)), RNG.standard_normal((4, 3))),
    ("squared 1-d", nn.SquaredError(), RNG.standard_normal(4), RNG.standard_normal(4)),
    ("squared 3-d", nn.SquaredError(), RNG.standard_normal((2, 3, 2)), RNG.standard_normal((2, 3, 2))),
    ("sigmoid", nn.SigmoidCrossEntropy(), RNG.standard_normal((4, 3)), _bits((4, 3))),
    ("sigmoid 1-d", nn.SigmoidCrossEntropy(), RNG.standard_normal(4), _bits(4)),
    ("sigmoid 3-d", nn.SigmoidCrossEntropy(), RNG.standard_normal((2, 3, 2)), _bits((2, 3, 2))),
    ("sigmoid at 0", nn.SigmoidCrossEntropy(), np.zeros((2, 3)), _bits((2, 3))),
    ("sigmoid of bits", nn.SigmoidCrossEntropy(), RNG.standard_normal((4, 3)), _bits((4, 3)) < 0.5),
    ("softmax", nn.SoftmaxCrossEntropy(), RNG.standard_normal((4, 3)), _labels(4, 3)),
    ("softmax 3-d", nn.SoftmaxCrossEntropy(), RNG.standard_normal((2, 3, 4)), _labels((2, 3), 4)),
    ("softmax shares", nn.SoftmaxCrossEntropy(), RNG.standard_normal((4, 3)), _shares((4, 3))),
    ("softmax one-hot", nn.SoftmaxCrossEntropy(), RNG.standard_normal((3, 3)), np.eye(3, dtype=int)),
    ("softmax shares 3-d", nn.SoftmaxCrossEntropy(), RNG.standard_normal((2, 3, 4)), _shares((2, 3, 4))),
    ("softmax mean", nn.SoftmaxCrossEntropy(per_position=True), RNG.standard_normal((2, 3, 4)), _labels((2, 3), 4)),
    ("softmax mean 2-d", nn.SoftmaxCrossEntropy(per_position=True), RNG.standard_normal((2, 4)), _shares((2, 4))),
]
every = pytest.mark.parametrize(("loss", "z", "t"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])


def dense_hessian(loss, z, t):
    """L″: (z.size, z.size), column by column from the value."""
    H = rmad.linearize(rmad.grad(lambda z: loss.value(z, t)), z)[1]
    return np.stack([H.Jv(e.reshape(z.shape)).ravel() for e in np.eye(z.size)], axis=1)


@every
def test_value_is_differentiated_to_second_order(loss, z, t):
    rmad.check_grads(lambda z: loss.value(z, t), z, order=2)
    rmad.check_grads(lambda z: loss(z, t), z, order=1)


@every
def test_traced_and_plain_values_agree(loss, z, t):
    np.testing.assert_allclose(rmad.linearize(lambda z: loss.value(z, t), z)[0], loss.value(z, t), rtol=1e-14)


@every
def test_gradient(loss, z, t):
    expected = rmad.grad(lambda z: loss.value(z, t))(z)
    np.testing.assert_allclose(loss.gradient(z, t), expected, rtol=1e-12, atol=1e-15)
    value, gradient = loss.value_and_gradient(z, t)
    np.testing.assert_allclose(value, loss.value(z, t), rtol=1e-14)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-15)


@every
def test_curvature(loss, z, t):
    H, v = dense_hessian(loss, z, t), RNG.standard_normal(z.shape)
    expected = (H @ v.ravel()).reshape(z.shape)
    np.testing.assert_allclose(loss.hessian_product(z, t, v), expected, rtol=1e-12, atol=1e-14)
    curvature, kept = loss.curvature(z, t), v.copy()
    np.testing.assert_allclose(curvature(v), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(v, kept)
    out = np.empty_like(v)
    assert curvature.product_into(v, out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-12, atol=1e-14)
    curvature.product_into(v, v)
    np.testing.assert_allclose(v, expected, rtol=1e-12, atol=1e-14)
    if hasattr(curvature, "diagonal"):
        np.testing.assert_allclose(curvature.diagonal * np.ones(z.shape), np.diag(H).reshape(z.shape), rtol=1e-12)
        assert np.count_nonzero(H - np.diag(np.diag(H))) == 0
    else:
        np.testing.assert_allclose(curvature.probabilities, scipy.special.softmax(z, axis=-1), rtol=1e-12)


@every
def test_sqrt_hessian(loss, z, t):
    S = loss.sqrt_hessian(z, t)
    n, outputs = z.shape[0], z.size // z.shape[0]
    assert S.shape == (outputs, *z.shape)
    S = S.reshape(outputs, n, outputs)
    H = dense_hessian(loss, z, t).reshape(n, outputs, n, outputs)
    for i in range(n):
        np.testing.assert_allclose(np.einsum("ca,cb->ab", S[:, i], S[:, i]), H[i, :, i], rtol=1e-12, atol=1e-14)
        assert not H[i][:, np.arange(n) != i].any()  # L″ has no blocks between cases


@every
def test_bound_to_its_target(loss, z, t):
    """GGNOperator takes it, and G = JᵀL″J against the dense product."""
    bound, A = loss.bind(t), RNG.standard_normal((z.size, 5))
    x = np.linalg.lstsq(A, z.ravel(), rcond=None)[0]

    def f(x):
        return np.reshape(A @ x, z.shape)

    G = rmad.GGNOperator(f, bound, x)
    expected = A.T @ dense_hessian(loss, f(x), t) @ A
    np.testing.assert_allclose(G @ np.eye(5), expected, rtol=1e-11, atol=1e-13)
    assert bound(z) == bound.value(z) == loss.value(z, t)
    np.testing.assert_array_equal(bound.gradient(z), loss.gradient(z, t))
    np.testing.assert_array_equal(bound.value_and_gradient(z)[1], loss.value_and_gradient(z, t)[1])
    np.testing.assert_array_equal(bound.hessian_product(z, z), loss.hessian_product(z, t, z))


@every
def test_float32_stays(loss, z, t):
    z32, v = z.astype(np.float32), np.ones(z.shape, np.float32)
    t = t.astype(np.float32) if t.dtype == np.float64 else t
    curvature = loss.curvature(z32, t)
    arrays = [
        loss.gradient(z32, t),
        loss.value_and_gradient(z32, t)[1],
        curvature(v),
        loss.sqrt_hessian(z32, t),
        rmad.grad(lambda z: loss.value(z, t))(z32),
    ]
    assert {a.dtype for a in arrays} == {np.dtype(np.float32)}
    assert loss.value(z32, t).dtype == loss.value_and_gradient(z32, t)[0].dtype == np.float64
    np.testing.assert_allclose(loss.value(z32, t), loss.value(z, t), rtol=1e-5)
    np.testing.assert_allclose(loss.gradient(z32, t), loss.gradient(z, t), rtol=1e-4, atol=1e-6)
    if t.dtype.kind == "f":  # targets of another precision follow z
        assert loss.gradient(z32, t.astype(np.float64)).dtype == np.float32


@every
def test_arguments_are_not_written_into(loss, z, t):
    z, t = z.copy(), t.copy()
    z.flags.writeable = t.flags.writeable = False
    loss.value(z, t), loss.gradient(z, t), loss.value_and_gradient(z, t), loss.curvature(z, t)(z)
    loss.sqrt_hessian(z, t), loss.sample(z, np.random.default_rng(0)), loss.hessian_product(z, t, z)


@every
def test_mean_over_cases(loss, z, t):
    twice = np.concatenate([z, z]), np.concatenate([t, t])
    np.testing.assert_allclose(loss.value(*twice), loss.value(z, t), rtol=1e-14)
    np.testing.assert_allclose(loss.gradient(*twice)[: len(z)], loss.gradient(z, t) / 2, rtol=1e-13)
    assert loss.mean_over_cases


@every
def test_blocks_of_a_large_batch(loss, z, t, monkeypatch):
    expected = loss.value(z, t), *loss.value_and_gradient(z, t)
    monkeypatch.setattr("rmad.tuning.LOSS_CHUNK", 1)  # one case at a time
    for a, b in zip((loss.value(z, t), *loss.value_and_gradient(z, t)), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


@every
def test_samples_have_the_models_mean(loss, z, t):
    rng = np.random.default_rng(1)
    draws = [loss.sample(z, rng) for _ in range(4000)]
    if isinstance(loss, nn.SoftmaxCrossEntropy):
        assert draws[0].dtype == np.int64
        assert draws[0].shape == z.shape[:-1]
        draws = [np.eye(z.shape[-1])[d] for d in draws]
    else:
        assert draws[0].dtype == z.dtype
        assert loss.sample(z.astype(np.float32), rng).dtype == np.float32
    # ∂L/∂z = (mean of the model − t)/n; five standard errors of 4,000 draws
    mean = np.mean(draws, axis=0)
    model_mean = mean + z.shape[0] * loss.gradient(z, mean)
    np.testing.assert_allclose(mean, model_mean, atol=5 / np.sqrt(4000))
    np.testing.assert_array_equal(loss.sample(z, np.random.default_rng(2)), loss.sample(z, np.random.default_rng(2)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_cross_entropy_is_stable(dtype):
    loss, z = nn.SigmoidCrossEntropy(), np.array([-80, -30, -1, 0, 1, 30, 80], dtype)
    for t in (np.zeros_like(z), np.ones_like(z)):
        sign = 1 - 2 * t  # the loss is log(1 + exp(±z))
        for k in range(len(z)):
            value, u = loss.value_and_gradient(z[k : k + 1], t[k : k + 1])
            exact = np.logaddexp(0, np.float64(sign[k] * z[k]))
            np.testing.assert_allclose(value, exact, rtol=4 * np.finfo(dtype).eps)
            p = scipy.special.expit(np.float64(z[k]))
            np.testing.assert_allclose(u, p - t[k], rtol=4 * np.finfo(dtype).eps, atol=np.finfo(dtype).eps)
    d = loss.curvature(z).diagonal * len(z)
    exact = 1 / (2 + 2 * np.cosh(z.astype(np.float64)))
    np.testing.assert_allclose(d, exact, rtol=1e-5 if dtype == np.float32 else 1e-13, atol=np.finfo(dtype).tiny)


@pytest.mark.parametrize("t", [np.array([1]), np.array([[0.0, 1.0, 0.0]])])
def test_softmax_cross_entropy_is_stable(t):
    loss, z = nn.SoftmaxCrossEntropy(), np.array([[-1e4, 0.0, 1e4]])
    assert loss.value(z, t) == 1e4
    np.testing.assert_array_equal(loss.gradient(z, t), [[0, -1, 1]])
    assert rmad.value_and_grad(loss.value)(z, t)[0] == 1e4


def test_nan_passes_through():
    z = np.array([[np.nan, 1.0]])
    for loss, t in ((nn.SquaredError(), z), (nn.SigmoidCrossEntropy(), z), (nn.SoftmaxCrossEntropy(), np.array([0]))):
        assert np.isnan(loss.value(z, t))
        assert np.isnan(loss.value_and_gradient(z, t)[0])
        assert np.isnan(loss.gradient(z, t)).any()


SOFT, BITS, SQUARES = nn.SoftmaxCrossEntropy(), nn.SigmoidCrossEntropy(), nn.SquaredError()
Z = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("loss", "z", "t", "error", "message"),
    [
        (SQUARES, Z, np.zeros((2, 4)), ValueError, r"SquaredError: z has shape \(2, 3\), but t has shape \(2, 4\)"),
        (SQUARES, Z, np.zeros(3), ValueError, r"SquaredError: z has shape \(2, 3\), but t has shape \(3,\)"),
        (
            SQUARES,
            np.zeros((0, 3)),
            np.zeros((0, 3)),
            ValueError,
            r"SquaredError: z has shape \(0, 3\): the mean over no",
        ),
        (SQUARES, np.float64(1), np.float64(1), ValueError, "SquaredError: z is a scalar"),
        (SQUARES, Z.astype(int), Z, TypeError, "SquaredError: z must hold real floats, not int64"),
        (SQUARES, Z, Z + 0j, TypeError, "SquaredError: t must hold real numbers, not complex128"),
        (BITS, Z, np.zeros((2, 1)), ValueError, r"SigmoidCrossEntropy: z has shape \(2, 3\), but t has shape \(2, 1\)"),
        (BITS, Z, Z + 1.5, ValueError, r"SigmoidCrossEntropy: t must lie in \[0, 1\], but reaches from 1.5 to 1.5"),
        (BITS, Z, Z - 1, ValueError, r"SigmoidCrossEntropy: t must lie in \[0, 1\], but reaches from -1 to -1"),
        (BITS, Z, [["a"] * 3] * 2, TypeError, "SigmoidCrossEntropy: t must hold real numbers, not <U1"),
        (SOFT, np.zeros(3), [0], ValueError, r"SoftmaxCrossEntropy: z must be \(n, k\) .* but has shape \(3,\)"),
        (SOFT, np.zeros((0, 3)), [], ValueError, r"SoftmaxCrossEntropy: z has shape \(0, 3\): the mean over no"),
        (
            SOFT,
            Z,
            [0, 1, 2],
            ValueError,
            r"z has shape \(2, 3\), so t must be labels of shape \(2,\) .* has shape \(3,\)",
        ),
        (SOFT, Z, [0, 3], ValueError, r"t has the label 3, but z of shape \(2, 3\) has 3 classes, 0 … 2"),
        (SOFT, Z, [-1, 0], ValueError, "SoftmaxCrossEntropy: t has the label -1"),
        (SOFT, Z, [0.0, 1.0], TypeError, "SoftmaxCrossEntropy: labels t must be integers, not float64"),
        (SOFT, Z, [True, False], TypeError, "SoftmaxCrossEntropy: labels t must be integers, not bool"),
        (SOFT, Z, Z + 0.5, ValueError, r"t must sum to one over the classes \(the last axis\), but is off by 0.5"),
        (SOFT, Z, Z - 1, ValueError, r"SoftmaxCrossEntropy: t must lie in \[0, 1\]"),
    ],
)
def test_errors(loss, z, t, error, message):
    for method in (loss.value, loss.gradient, loss.value_and_gradient, loss):
        with pytest.raises(error, match=message):
            method(z, t)


def test_errors_of_products():
    for loss, t in ((SQUARES, Z), (BITS, Z), (SOFT, np.array([0, 1]))):
        with pytest.raises(ValueError, match=r"z has shape \(2, 3\), but v has shape \(3, 2\)"):
            loss.hessian_product(Z, t, np.zeros((3, 2)))
        with pytest.raises(ValueError, match="the mean over no cases"):
            loss.curvature(Z[:0])


def test_lists_are_taken_as_arrays():
    assert SQUARES.value([[1.0, 2.0]], [[0.0, 0.0]]) == 2.5
    assert repr(SQUARES) == "SquaredError()"


def test_mean_over_positions():
    z, t = RNG.standard_normal((2, 5, 4)), _labels((2, 5), 4)
    mean = nn.SoftmaxCrossEntropy(per_position=True)
    assert mean.value(z, t) == pytest.approx(nn.SoftmaxCrossEntropy().value(z.reshape(10, 4), t.reshape(10)), rel=1e-14)
    assert repr(mean) == "SoftmaxCrossEntropy(per_position=True)"
    assert repr(nn.SoftmaxCrossEntropy()) == "SoftmaxCrossEntropy()"


def sure(dtype):
    """Logits and labels of cases that are classified right or wrong with near certainty, and of one that is not."""
    z = np.array([[40.0, 0, -3], [0, 70, 0], [5, 60, -2], [1, 2, 3]], dtype)
    return z, np.array([0, 1, 2, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("one_hot", [False, True])
def test_softmax_cross_entropy_keeps_the_digits_of_small_gradients(dtype, one_hot):
    """p_t − 1 = −Σ p over the other classes, however near one p_t is."""
    z, labels = sure(dtype)
    e = np.exp((z - z.max(axis=-1, keepdims=True)).astype(np.float64))
    p = e / e.sum(axis=-1, keepdims=True)
    expected = p.copy()
    rows = np.arange(len(z))
    expected[rows, labels] = 0
    expected[rows, labels] = -expected.sum(axis=-1)
    t = np.eye(3)[labels] if one_hot else labels
    loss = nn.SoftmaxCrossEntropy()
    for gradient in (loss.gradient(z, t), loss.value_and_gradient(z, t)[1]):
        np.testing.assert_allclose(gradient, expected / len(z), rtol=1e-5 if dtype is np.float32 else 1e-12)


def test_softmax_cross_entropy_of_sure_cases_and_soft_targets():
    z, labels = sure(np.float64)
    t = np.eye(3)[labels] * 0.999 + 0.0005  # sums to 1.0005
    t[0] = [1, 0.0005, 0]
    p = np.exp(nn.functional.log_softmax(z))
    np.testing.assert_allclose(nn.SoftmaxCrossEntropy().gradient(z, t)[1:], (p - t)[1:] / len(z), rtol=1e-9)
    np.testing.assert_allclose(nn.SoftmaxCrossEntropy().gradient(z, t)[0, 1], -0.0005 / len(z), rtol=1e-9)


@pytest.mark.parametrize(("dtype", "n"), [(np.float32, 4), (np.float64, 4), (np.float32, 1 << 14)])
def test_sigmoid_cross_entropy_keeps_the_digits_of_small_gradients(dtype, n):
    """σ(z) − 1 = −σ(−z); the longest array goes through numba's loop, if there is one."""
    z = np.tile(np.array([40.0, -40, 3, -3], dtype), (n // 4, 1))
    for t, expected in ((z > 0, -np.sign(z) / (1 + np.exp(np.abs(z)))), (z < 0, np.sign(z) / (1 + np.exp(-np.abs(z))))):
        loss = nn.SigmoidCrossEntropy()
        for gradient in (loss.gradient(z, t), loss.value_and_gradient(z, t)[1]):
            np.testing.assert_allclose(gradient, expected / len(z), rtol=2e-6 if dtype is np.float32 else 1e-14)
