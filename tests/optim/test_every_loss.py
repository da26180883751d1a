"""Every kind of loss of rmad.testing, several outputs among them, on any division: the same numbers, or one error."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import optim
from rmad.testing import losses


def model(heads):
    rng = np.random.default_rng(0)
    params = {"W": rng.standard_normal((4, 3)), "V": rng.standard_normal((4, 3))}
    one = lambda p, x: np.tanh(x @ p["W"]) + x @ p["V"]  # noqa: E731
    two = lambda p, x: (np.tanh(x @ p["W"]), x @ p["V"])  # noqa: E731
    return optim.Function(one if heads == 1 else two, params)


def results(case, n, **division):
    x, t = np.random.default_rng(1).standard_normal((n, 4)), case.targets(n)
    objective = optim.Objective(model(case.heads), case.loss, 0.1, **division)
    v = np.random.default_rng(2).standard_normal(objective.size)
    f, gradient = objective.value_and_gradient(x, t)
    q = objective.quadratic(x, t)
    return [objective.value(x, t), f, gradient, q.gradient, q.ggn @ v, q.hessian @ v, q.squared_gradients()]


@given(
    case=losses(),
    n=st.integers(1, 40),
    shards=st.sampled_from([1, 2, 3, 5, 16, 40]),
    threads=st.sampled_from([1, 2, 4]),
)
def test_shards_and_threads_change_nothing(case, n, shards, threads):
    whole = results(case, n, shards=1, threads=1)
    for a, b in zip(whole, results(case, n, shards=shards, threads=threads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


@given(case=losses(), n=st.integers(2, 40), memory=st.integers(1, 39))
def test_chunks_change_nothing_or_are_refused(case, n, memory):
    try:
        found = results(case, n, cases_in_memory=memory, threads=1)
    except ValueError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert not case.is_mean
        assert "do not come apart" in refusal
        return
    for a, b in zip(results(case, n, shards=1, threads=1), found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)
