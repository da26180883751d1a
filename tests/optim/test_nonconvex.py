"""Losses that are not convex in the outputs: the boundary moved, or L″ clipped. Section 6.3."""

import numpy as np
import pytest

import nn
import optim
import rmad


def tanh_squares(z, t):
    """½‖tanh z − t‖², a mean over cases: not convex in z."""
    return 0.5 * np.sum((np.tanh(z) - t) ** 2) / len(z)


@pytest.fixture
def bounded(problem):
    problem.t = np.tanh(3 * problem.t)  # where tanh saturates, L″ is negative for a wrong sign
    return problem


def ggn(model, loss, problem):
    objective = optim.Objective(model, loss)
    q = objective.quadratic(problem.x, problem.t)
    return q, q.ggn @ np.eye(objective.size)


def test_the_plain_ggn_is_indefinite_and_both_ways_mend_it(bounded):
    model = bounded.model
    plain, G = ggn(model, tanh_squares, bounded)
    assert np.linalg.eigvalsh(G).min() < -1e-3
    for q, G in (
        ggn(model, optim.ClippedCurvature(tanh_squares), bounded),
        ggn(optim.Through(model, np.tanh), nn.SquaredError(), bounded),
    ):
        assert np.linalg.eigvalsh(G).min() > -1e-12
        assert q.value == pytest.approx(plain.value)  # f and its gradient stay
        np.testing.assert_allclose(q.gradient, plain.gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("shift", "clip"), [(0.0, True), (0.3, True), (0.3, False), (9.0, False)])
def test_eigenvalues_are_clipped_case_by_case(bounded, shift, clip):
    """clip=False: a multiple of I is added to L″ as it is, and where that is enough nothing is dropped."""
    z, t = bounded.model(bounded.x), bounded.t
    mixing = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, -0.7], [0.3, 0.0, 1.0]])

    def loss(z, t):
        return tanh_squares(z @ mixing, t)

    n, m = z.shape
    _, lin = rmad.linearize(rmad.grad(loss), z, t)
    H = np.stack([lin.Jv(e.reshape(z.shape)).ravel() for e in np.eye(z.size)], axis=1)
    clipped = optim.ClippedCurvature(loss, shift, clip=clip)
    v = np.random.default_rng(0).standard_normal(z.shape)
    found, S = clipped.curvature(z, t)(v), clipped.sqrt_hessian(z, t)
    for k in range(n):
        block = H[k * m : (k + 1) * m, k * m : (k + 1) * m]
        d, U = np.linalg.eigh(block)
        d = np.maximum(d, 0) + shift / n if clip else np.maximum(d + shift / n, 0)
        expected = U @ np.diag(d) @ U.T
        if shift == 9:
            np.testing.assert_allclose(expected, block + 9 / n * np.eye(m), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(found[k], expected @ v[k], rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(S[:, k].T @ S[:, k], expected, rtol=1e-9, atol=1e-13)


def test_a_convex_loss_is_left_as_it_is(problem):
    rng = np.random.default_rng(0)
    z, v = rng.standard_normal((9, 4)), rng.standard_normal((9, 4))
    t = rng.integers(0, 4, 9)
    loss = nn.SoftmaxCrossEntropy()
    clipped = optim.ClippedCurvature(loss)
    np.testing.assert_allclose(clipped.hessian_product(z, t, v), loss.hessian_product(z, t, v), rtol=1e-10, atol=1e-15)
    assert clipped.value(z, t) == loss.value(z, t)


@pytest.mark.parametrize("way", ["clipped", "through"])
def test_training(bounded, way):
    if way == "clipped":
        opt = optim.HessianFree(
            bounded.model, optim.ClippedCurvature(tanh_squares), preconditioner=optim.ExactDiagonal()
        )
    else:
        opt = optim.HessianFree(optim.Through(bounded.model, np.tanh), nn.SquaredError())
    before = bounded.theta
    losses = [opt.step(bounded.x, bounded.t).loss for _ in range(30)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.02 * losses[0]
    assert np.abs(bounded.theta - before).max() > 0.1  # the parameters are the model's own


def test_through_is_a_tree_and_passes_steps_on(problem):
    calls = []
    model = problem.model
    model.begin_step, model.end_step = lambda: calls.append("begin"), lambda: calls.append("end")
    wrapped = optim.Through(model, np.tanh)
    optim.HessianFree(wrapped, nn.SquaredError()).step(problem.x, problem.t)
    assert calls == ["begin", "end"]
    assert not wrapped.couples_cases
    model.couples_cases = True
    assert wrapped.couples_cases


def test_out_of_range():
    with pytest.raises(ValueError, match="shift must be ≥ 0, got -1"):
        optim.ClippedCurvature(tanh_squares, -1)
    with pytest.raises(TypeError, match="clip must be True or False, got 'no'"):
        optim.ClippedCurvature(tanh_squares, clip="no")
