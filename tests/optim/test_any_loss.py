"""Any loss on any division of the batch: the results of the whole batch, or one error."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import nn
import optim
import rmad
from optim.parts.estimate import kronecker_factors

K = 3


def softmax_terms(z, t):
    return rmad.log_softmax(z, axis=-1)[np.arange(len(t)), t]


def masked(z, t):
    """A mean over the cases with a label ≥ 0."""
    k = t >= 0
    return -np.sum(rmad.log_softmax(z, axis=-1)[np.nonzero(k)[0], t[k]]) / np.sum(k)


def weighted(z, t):
    w = np.array([0.2, 1.0, 3.0])[t]
    return -np.sum(w * softmax_terms(z, t)) / np.sum(w)


def contrastive(z, t):
    """Every case against the other cases of the batch."""
    scores = z @ np.swapaxes(np.tanh(z), 0, 1)
    return np.mean(rmad.logsumexp(scores, axis=1)) - np.trace(scores) / len(z)


def correlation(z, t):
    a, b = z - np.mean(z, axis=0), np.eye(K)[t] - np.mean(np.eye(K)[t], axis=0)
    return -np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b) + 1e-3)


def log_of_a_mean(z, t):
    return np.log(np.mean(np.exp(-softmax_terms(z, t))))


def square_of_a_mean(z, t):
    """Divides as far as value and gradient at z = 0 tell, but not in its curvature."""
    return (np.mean(z) - 1) ** 2 + np.mean(z**2)


def ranking(z, t):
    """Pairs of cases with labels in the wrong order."""
    pairs = np.sign(t[:, None] - t)
    return np.mean(np.logaddexp(0, (z[:, 0] - z[:, :1]) * pairs))


def in_place(z, t):
    """A mean over labelled cases in an array that is written into; nothing if there are none."""
    terms = np.zeros(len(z))
    terms[t >= 1] = np.sum(z[t >= 1] ** 2, axis=1)
    terms /= max(1, np.sum(t >= 1))
    return np.sum(terms)


class Total:
    """A loss object that says nothing of means, with closed forms."""

    def value(self, z, t):
        return 0.5 * np.sum((z - np.eye(K)[t]) ** 2)

    def gradient(self, z, t):
        return z - np.eye(K)[t]

    def hessian_product(self, z, t, v):
        return v


LOSSES = {
    "mean": lambda z, t: -np.mean(softmax_terms(z, t)),
    "sum": lambda z, t: -np.sum(softmax_terms(z, t)),
    "masked": masked,
    "weighted": weighted,
    "contrastive": contrastive,
    "correlation": correlation,
    "largest": lambda z, t: np.max(np.sum(z**2, axis=1)) + np.mean(z**2),
    "root of a mean": lambda z, t: np.sqrt(np.mean((z - np.eye(K)[t]) ** 2)),
    "ranking": ranking,
    "in place": in_place,
    "log of a mean": log_of_a_mean,
    "square of a mean": square_of_a_mean,
    "object": nn.SoftmaxCrossEntropy(),
    "object, a sum": Total(),
}


def model(scale=1.0):
    rng = np.random.default_rng(0)
    layers = nn.Linear(4, 5, rng=rng, dtype=np.float64), nn.Tanh(), nn.Linear(5, K, rng=rng, dtype=np.float64)
    layers[2].weight = layers[2].weight * scale
    return nn.Sequential(*layers)


def data(n, name, seed=0):
    rng = np.random.default_rng(seed)
    t = rng.integers(0, K, n)
    if name == "masked":
        t[rng.random(n) < 0.4] = -1
        t[0] = 1
    return rng.standard_normal((n, 4)), t


def results(objective, x, t):
    """Value, gradient and products, each from a fresh start."""
    v = np.random.default_rng(1).standard_normal(objective.size)
    f, gradient = objective.value_and_gradient(x, t)
    q = objective.quadratic(x, t)
    flat = objective.flat() + 0.1
    return [
        objective.value(x, t),
        f,
        gradient,
        q.value,
        q.gradient,
        q.ggn @ v,
        q.hessian @ v,
        objective.value_at(flat, x, t),
    ]


@given(
    name=st.sampled_from(sorted(LOSSES)),
    n=st.integers(1, 40),
    shards=st.sampled_from([1, 2, 3, 5, 16]),
    threads=st.sampled_from([1, 2, 4]),
    scale=st.sampled_from([1.0, 0.0]),
)
def test_shards_and_threads_change_nothing(name, n, shards, threads, scale):
    x, t = data(n, name)
    whole = results(optim.Objective(model(scale), LOSSES[name], 0.1, shards=1, threads=1), x, t)
    found = results(optim.Objective(model(scale), LOSSES[name], 0.1, shards=shards, threads=threads), x, t)
    for a, b in zip(whole, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@given(name=st.sampled_from(sorted(LOSSES)), n=st.integers(2, 40), memory=st.integers(1, 40))
def test_chunks_change_nothing_or_are_refused(name, n, memory):
    x, t = data(n, name)
    assume(memory < n)
    objective = optim.Objective(model(), LOSSES[name], 0.1, cases_in_memory=memory, threads=1)
    try:
        found = results(objective, x, t)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert name not in ("mean", "object")
        assert f"cases_in_memory = {memory}: the {n} cases of this batch do not come apart" in refusal
        assert "is no mean over cases" in refusal
        return
    whole = results(optim.Objective(model(), LOSSES[name], 0.1, shards=1, threads=1), x, t)
    for a, b in zip(whole, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_a_mean_is_divided_and_a_sum_is_not():
    x, t = data(30, "mean")
    for name in LOSSES:
        objective = optim.Objective(model(), LOSSES[name], shards=3)
        q = objective.quadratic(*data(30, name))
        assert len(q.shards) == (3 if name in ("mean", "object") else 1), name
    declared = lambda z, t: -np.mean(softmax_terms(z, t))  # noqa: E731
    declared.mean_over_cases = True
    calls = []
    counted = lambda z, t: (calls.append(len(z)), declared(z, t))[1]  # noqa: E731
    counted.mean_over_cases = True
    optim.Objective(model(), counted, shards=3).value(x, t)
    assert calls == [10, 10, 10]  # it is taken at its word


def test_the_mean_over_labelled_cases():
    """Values of a run on one core, whatever the number of cores."""
    r = np.random.default_rng
    m = nn.Sequential(nn.Linear(400, 300, rng=r(0)), nn.Tanh(), nn.Linear(300, 10, rng=r(1)))
    x, t = r(2).normal(size=(2000, 400)).astype("f4"), r(3).integers(0, 10, 2000)
    t[:900] = -1
    objective = optim.Objective(m, masked, threads=2)
    assert len(objective.divide(x, t)) == 2
    assert objective.value(x, t) == pytest.approx(2.6145, abs=1e-4)
    right = rmad.ravel(rmad.grad(lambda m: masked(m(x), t))(m))[0]
    np.testing.assert_allclose(objective.value_and_gradient(x, t)[1], right, atol=1e-7)
    t[:] = 3
    t[1000:] = -1
    assert optim.Objective(m, masked, threads=2).value(x, t) == pytest.approx(2.7530, abs=1e-4)


def test_a_later_batch_may_be_no_mean():
    """Labels for all cases first, where the loss is a mean; then for some."""
    x, t = data(24, "mean")
    objective = optim.Objective(model(0.0), masked, shards=4)
    assert len(objective.quadratic(x, t).shards) == 4
    t[::3] = -1
    t[:5] = -1
    whole = results(optim.Objective(model(0.0), masked, shards=1), x, t)
    for a, b in zip(whole, results(objective, x, t), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["sum", "masked", "weighted", "object, a sum"])
@pytest.mark.parametrize("method", ["kflr", "kfra"])
def test_factors_and_squares(name, method):
    x, t = data(12, name)
    qs = [optim.Objective(model(), LOSSES[name], shards=k, threads=2).quadratic(x, t) for k in (1, 3, 12)]
    for q in qs[1:]:
        np.testing.assert_allclose(q.squared_gradients(), qs[0].squared_gradients(), rtol=1e-10)
        for a, b in zip(*(kronecker_factors(p, method).blocks for p in (qs[0], q)), strict=True):
            np.testing.assert_allclose(a.A, b.A, rtol=1e-10)
            np.testing.assert_allclose(a.G, b.G, rtol=1e-10, atol=1e-14)


def test_a_loss_that_is_not_defined_on_some_cases_alone():
    """It raises there, and is taken whole; an error of its own on the batch stays the user's."""

    def fixed(z, t):
        return np.sum((z - TARGETS) ** 2) / 20

    TARGETS = np.ones((20, K))
    x, t = data(20, "mean")
    expected = fixed(model()(x), t)
    objective = optim.Objective(model(), fixed, shards=3)
    assert objective.value(x, t) == objective.quadratic(x, t).value == pytest.approx(expected)
    with pytest.raises(ValueError, match="do not come apart: the loss fixed is no mean over cases"):
        optim.Objective(model(), fixed, cases_in_memory=7).value(x, t)
    with pytest.raises(ValueError, match="could not be broadcast"):
        objective.value(x[:5], t[:5])


EVALUATIONS = {
    "value": lambda objective, x, t: objective.value(x, t),
    "value elsewhere": lambda objective, x, t: objective.value_at(objective.flat() * 2, x, t),
    "gradient": lambda objective, x, t: objective.value_and_gradient(x, t)[1],
    "quadratic": lambda objective, x, t: objective.quadratic(x, t).ggn @ np.ones(objective.size),
}


@pytest.mark.parametrize("division", [{"shards": 4}, {"cases_in_memory": 5, "threads": 1}], ids=["shards", "chunks"])
@pytest.mark.parametrize("what", EVALUATIONS)
def test_an_error_that_comes_once_does_not_make_a_mean_of_a_loss_suspect(what, division):
    """Whichever evaluation of the loss raises, the caller sees the error, and the next batch is divided."""

    class Failing:
        count, at = 0, 0

        def __call__(self, z, t):
            self.count += 1
            if self.count == self.at:
                raise OSError("the table of weights is not there")
            return np.mean((z - t[:, None]) ** 2)

    x, t = data(20, "mean")
    evaluate, loss = EVALUATIONS[what], Failing()
    whole = evaluate(optim.Objective(model(), loss, shards=1), x, t)
    objective = optim.Objective(model(), loss, **division)
    evaluate(objective, x, t)  # the first run of a loss on new shapes checks how z meets t
    loss.count = 0
    evaluate(objective, x, t)
    assert loss.count > 4
    for at in range(1, loss.count + 1):
        loss.count, loss.at = 0, at
        with pytest.raises(OSError, match="the table of weights"):
            evaluate(objective, x, t)
        assert len(objective.divide(x, t)) == 4
        np.testing.assert_allclose(evaluate(objective, x, t), whole, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("division", [{"shards": 4}, {"cases_in_memory": 5, "threads": 1}], ids=["shards", "chunks"])
@pytest.mark.parametrize("what", EVALUATIONS)
def test_an_error_of_every_evaluation_is_the_users(what, division):
    def unfinished(z, t):
        raise NotImplementedError("the loss of unlabelled cases")

    x, t = data(20, "mean")
    objective = optim.Objective(model(), unfinished, **division)
    with pytest.raises(NotImplementedError, match="the loss of unlabelled cases"):
        EVALUATIONS[what](objective, x, t)
    assert len(objective.divide(x, t)) == 4


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_an_overflow_does_not_make_a_mean_of_a_loss_suspect():
    """Neither the refusal of a batch in chunks nor one shard for ever follows from a loss that is not finite."""

    def exponential(z, t):
        return np.mean(np.exp(z - t[:, None]))

    x, t = data(20, "mean")
    for division in ({"shards": 4}, {"cases_in_memory": 5, "threads": 1}):
        objective = optim.Objective(model(), exponential, **division)
        before, far = objective.value(x, t), objective.flat() * 1e4
        assert not np.isfinite(objective.value_at(far, x, t))
        kept = objective.flat()
        objective.assign(far)
        assert not np.isfinite(objective.value_and_gradient(x, t)[0])
        assert not np.isfinite(objective.quadratic(x, t).value)
        objective.assign(kept * np.nan)
        assert np.isnan(objective.value(x, t))
        objective.assign(kept)
        assert objective.value(x, t) == before
        assert len(objective.divide(x, t)) == 4


def test_a_model_that_mixes_cases_is_not_divided():
    """Even if it does not say so."""
    W = np.random.default_rng(0).standard_normal((4, K))
    mixing = optim.Function(lambda W, x: (x - np.mean(x, axis=0)) @ W, W)
    x, t = data(20, "mean")
    loss = nn.SoftmaxCrossEntropy()
    whole = results(optim.Objective(mixing, loss, shards=1), x, t)
    objective = optim.Objective(mixing, loss, shards=4, threads=2)
    assert len(objective.divide(x, t)) == 1
    for a, b in zip(whole, results(objective, x, t), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    with pytest.raises(ValueError, match=r"the 20 cases of this batch do not come apart$"):
        optim.Objective(mixing, loss, cases_in_memory=5).value(x, t)


@pytest.mark.parametrize("shards", [1, 3, 8])
def test_an_array_that_all_cases_share_and_that_is_as_long_as_the_batch(shards):
    """Cut into shards of one case, one entry of it would be spread over all columns."""
    rng = np.random.default_rng(0)
    x, mask, t = rng.normal(size=(8, 8)), rng.random(8), rng.normal(size=(8, 2))
    shared = optim.Function(lambda p, x: np.tanh((x[0] * x[1]) @ p["W"]), {"W": rng.normal(size=(8, 2))})
    loss = nn.SquaredError()
    f = optim.Objective(shared, loss, shards=shards)
    assert f.value((x, mask), t) == pytest.approx(loss.value(shared((x, mask)), t), rel=1e-12)
    with pytest.raises(ValueError, match="broadcast") as caught:
        optim.Objective(shared, loss, cases_in_memory=1).value((x, mask), t)
    assert "with 4 of the 8 cases, because the batch is larger than cases_in_memory = 1" in caught.value.__notes__[0]


@pytest.mark.parametrize("kind", [optim.HessianFree, optim.SGN, optim.CurveBall, optim.SGD, optim.LBFGS])
def test_optimizers_do_not_depend_on_the_division(kind):
    x, t = data(40, "masked")
    found = []
    for shards in (1, 4):
        m = model()
        opt = kind(m, masked, **({"lr": 0.1} if kind is optim.SGD else {}))
        opt.objective.shards = shards
        for _ in range(3):
            opt.step(x, t)
        found.append(rmad.ravel(m)[0])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6, atol=1e-8)
