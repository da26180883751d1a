"""check_ggn finds what is wrong, and only that. Section 7.2."""

import numpy as np
import pytest

import nn
import optim
import rmad


def test_right_products_pass(problem):
    optim.check_ggn(problem.model, problem.loss, problem.x[:5], problem.t[:5])
    optim.check_ggn(problem.model, nn.SquaredError(), problem.x[:5], problem.t[:5], l2=0.3)
    optim.check_ggn(problem.model, lambda z, t: np.sum(np.cosh(z - t)) / len(z), problem.x[:5], problem.t[:5])
    optim.check_ggn(problem.model, problem.loss, problem.x[:5], problem.t[:5], columns=6, rng=np.random.default_rng(1))


def test_a_model_of_nn_with_states():
    rng = np.random.default_rng(0)

    class Net(nn.Module):
        def __init__(self):
            self.hidden = nn.RNN(2, 4, rng=rng, dtype=np.float64)
            self.out = nn.Linear(4, 3, rng=rng, dtype=np.float64)

        def forward(self, x):
            h = self.hidden(x)
            return self.out(h[:, -1]), h

    loss = optim.parts.structural.StructuralLoss(nn.SoftmaxCrossEntropy(), "squared", 0.0)
    optim.check_ggn(Net(), loss, rng.standard_normal((3, 4, 2)), np.array([0, 2, 1]))


def broken(push, pull):
    """tanh with derivatives that are wrong by these factors."""

    def tanh(x):
        return np.tanh(x)

    return rmad.primitive(tanh, lambda y, x: [(lambda v: push * (1 - y * y) * v, lambda u: pull * (1 - y * y) * u)])


@pytest.mark.parametrize(
    ("push", "pull", "message"),
    [(1.001, 1.0, "J w is off"), (1.0, 1.001, "Jᵀ w is off"), (1.0, 0.5, "Jᵀ w is off")],
)
def test_a_wrong_rule_is_named(problem, push, pull, message):
    tanh = broken(push, pull)
    model = optim.Function(lambda p, x: tanh(x @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"], problem.params)
    with pytest.raises(AssertionError, match=message):
        optim.check_ggn(model, problem.loss, problem.x[:5], problem.t[:5])


def test_a_wrong_loss_is_named(problem):
    class Wrong(type(problem.loss)):
        def hessian_product(self, z, t, v):
            return 1.001 * v / len(z)

    with pytest.raises(AssertionError, match=r"w is off by 0\.001"):
        optim.check_ggn(problem.model, Wrong(), problem.x[:5], problem.t[:5])


def test_a_wrong_product_is_named(problem, monkeypatch):
    right = optim.Quadratic.ggn_product
    monkeypatch.setattr(optim.Quadratic, "ggn_product", lambda q, v, out: (right(q, v, out), out.__imul__(1.001))[0])
    with pytest.raises(AssertionError, match="G e_0 is off"):
        optim.check_ggn(problem.model, problem.loss, problem.x[:5], problem.t[:5])


def test_single_precision_is_refused(make_problem):
    problem = make_problem(np.float32)
    with pytest.raises(ValueError, match="the parameters are float32; differences need float64"):
        optim.check_ggn(problem.model, problem.loss, problem.x[:5], problem.t[:5])
