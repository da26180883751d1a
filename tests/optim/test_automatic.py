"""What HessianFree decides for itself: cases, preconditioner, CG steps, warm start and damping, and how it says so."""

import numpy as np
import pytest

import nn
import optim
from optim.parts.automatic import Automatic, Policy, content


def data(n, seed=0, inputs=6):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, inputs), dtype=np.float32)
    return x, np.tanh(x[:, :3] @ rng.standard_normal((3, 2), dtype=np.float32))


def net(seed=0, inputs=6):
    return nn.models.mlp((inputs, 5, 2), rng=np.random.default_rng(seed))


def free(model=None, **hyper):
    """With few and little at zero, so that batches count as large."""
    numbers = {"sample": 60, "curvature_cases": 10, "least": 1, "little": 0.0, "few": 0}
    given = {k: hyper.pop(k) for k in list(hyper) if k in Automatic.HYPER and k not in ("damping", "damping_min")}
    return optim.HessianFree(model or net(), nn.SquaredError(), automatic=Automatic(**numbers | given), **hyper)


def test_the_same_small_batch_gets_long_runs_of_cg_from_a_warm_start():
    x, t = data(30)
    opt = optim.HessianFree(net(), nn.SquaredError())
    infos = [opt.step(x.copy(), t.copy()) for _ in range(4)]  # known by content
    assert infos[0].choice == "one small batch: a diagonal preconditioner"
    assert [info.choice for info in infos[1:]] == ["the same batch again: a diagonal preconditioner"] * 3
    assert max(info.cg_iterations for info in infos) > 10
    assert infos[0].damping == 1.0
    assert opt.delta.any()
    assert all(info.cases == 0 for info in infos)


def test_it_is_then_the_method_of_the_report():
    x, t = data(30)
    free, paper = net(), net()
    a, b = optim.HessianFree(free, nn.SquaredError()), optim.HessianFree(paper, nn.SquaredError(), automatic=False)
    for _ in range(5):
        assert a.step(x, t).loss == b.step(x, t).loss
    assert np.array_equal(a.objective.flat(), b.objective.flat())


def test_batches_that_change_get_factors_and_momentum_in_place_of_cg():
    opt = free()
    x, t = np.empty((40, 6), np.float32), np.empty((40, 2), np.float32)
    for k in range(4):
        x[...], t[...] = data(40, k)  # one buffer, refilled
        info = opt.step(x, t)
        assert info.products <= 2
        assert "Kronecker factors, momentum in place of CG" in info.choice
        assert info.choice.startswith("batches change" if k else "a large batch at the start")
    assert opt.factors is not None
    assert opt.policy.changing.kind == 0


def test_conjugate_gradients_that_are_asked_for_are_short_and_start_from_zero():
    opt = free(direction=optim.ConjugateGradient())
    for k in range(4):
        info = opt.step(*data(40, k))
        assert info.cg_iterations <= 2
        assert info.choice.endswith("no warm start")


def test_a_batch_of_few_cases_is_taken_whole_for_curvature():
    """Half of so few cases would be another problem: the step is as long as their noise says."""
    for cases, least, expected in ((70, 40, 60), (85, 31, 60), (85, 30, 30)):
        opt = free(sample=60, curvature_cases=1000, least=least)
        assert opt._decide(data(cases), sampled=True).curvature_cases == expected


def test_damping_starts_and_ends_where_the_situation_wants_it():
    opt = optim.HessianFree(net(), nn.SquaredError())
    assert opt.step(*data(20, 1)).damping == 1.0  # it may come again
    assert opt.step(*data(20, 2)).damping == Automatic().damping  # it did not
    for k in range(60):
        opt.step(*data(20, k))
    assert opt.damping >= Automatic().damping_min
    given = optim.HessianFree(net(), nn.SquaredError(), damping=0.5, damping_min=1e-5)
    assert given.step(*data(20, 1)).damping == 0.5
    given.step(*data(20, 2))
    assert given._rule.minimum == 1e-5


def test_a_sample_of_a_large_batch():
    x, t = data(300)
    opt = free()
    f = optim.Objective(opt.model, nn.SquaredError())
    seen = []
    for k in range(3):
        before = opt.objective.flat()
        info = opt.step(x, t)
        which = np.sort(np.random.default_rng((0, k)).choice(300, 60, replace=False, shuffle=False))
        seen.append(which)
        assert info.cases == 60
        assert "60 of 300 cases, curvature on 15" in info.choice
        assert info.loss == pytest.approx(f.value_at(before, x[which], t[which]), rel=1e-6)
        assert f.value_at(opt.objective.flat(), x[which], t[which]) <= info.loss  # f on these cases never rises
    assert not np.array_equal(seen[0], seen[1])


def test_targets_that_are_the_inputs_stay_so():
    x, _ = data(100)
    opt = free(nn.models.mlp((6, 3, 6), rng=np.random.default_rng(0)))
    S, S_c = (opt._decide((x, x), sampled=True).sets)[:2]
    assert S[0] is S[1]
    assert S_c[0] is S_c[1]


def test_the_sample_grows_where_noise_exceeds_the_signal():
    x, t = data(300)
    opt = free(growth=1.5, sample=12, curvature_cases=4)
    for _ in range(100):
        before, noise = opt.policy.sample, opt.policy.noise
        info = opt.step(x, t)
        grown = opt.policy.noise > 1 and not info.rejected and before < 300
        assert opt.policy.sample == (min(300, np.ceil(1.5 * before)) if grown else before)
    assert noise > 0
    assert opt.policy.sample > 12


def test_noise_is_measured_from_a_part_of_the_sample():
    """ξ of the mean over S has E‖ξ‖² = σ²/|S|; here with P = I on gradients whose σ² is known."""
    policy = Policy(Automatic(sample=100, curvature_cases=25, least=1, little=0, few=0))
    rng, found = np.random.default_rng(0), []
    x, t = np.zeros((1000, 1), np.float32), np.zeros((1000, 1), np.float32)
    model = nn.Linear(1, 1, rng=rng)
    decision = policy.decide(optim.Objective(model, nn.SquaredError()), (x, t), 0, 0, True, True)
    assert (decision.cases, decision.curvature_cases) == (100, 25)
    for _ in range(2000):
        per_case = 3.0 + 2.0 * rng.standard_normal((100, 1))
        policy.measured = 0  # no average of earlier ones
        part = per_case[::4].mean(axis=0)
        policy.measure(decision, per_case.mean(axis=0), lambda part=part: part, None, 0)
        found.append(policy.noise)
    assert np.mean(found) == pytest.approx(4 / 100 / 9, rel=0.1)


@pytest.mark.parametrize(
    ("hyper", "attribute", "value"),
    [
        ({"cg_iterations": 7}, "_iterations", 7),
        ({"decay": 0.5}, "_decay", 0.5),
        ({"preconditioner": False}, "_P", False),
        ({"damping": 0.25}, "damping", None),
    ],
)
def test_what_is_given_is_left_alone_and_the_rest_decided(hyper, attribute, value):
    opt = free(**hyper)
    x, t = data(300)
    for _ in range(3):
        info = opt.step(x, t)
    assert info.cases == 60
    if value is not None:
        assert getattr(opt, attribute) == value
    words = {"cg_iterations": "CG steps", "decay": "warm start", "preconditioner": "Kronecker", "damping": "λ"}
    assert words[next(iter(hyper))] not in info.choice
    assert repr(opt).count("automatic") == 3 - ("damping" not in hyper)


def test_batches_of_ones_own_are_taken_whole():
    x, t = data(300)
    info = free().step(x, t, curvature_batch=(x[:50], t[:50]))
    assert info.cases == 0
    assert "cases" not in info.choice


@pytest.mark.parametrize(
    "hyper",
    [
        {"automatic": False},
        {"direction": optim.SteihaugToint()},
        {"curvature": "hessian"},
        {"structural": optim.StructuralDamping()},
        {"backtracking": optim.HeldOut()},
    ],
)
def test_with_other_directions_and_recipes_the_reports_values_stand(hyper):
    opt = optim.HessianFree(net(), nn.SquaredError(), **hyper)
    assert opt._decide(data(300), sampled=True) is None
    assert (opt._iterations, opt._decay, opt._P) == (250, 0.95, True)
    assert "automatic" not in repr(opt)


@pytest.mark.parametrize("name", optim.presets.PRESETS)
def test_presets_are_untouched(name):
    assert not optim.HessianFree.preset(name, net(), nn.SquaredError()).automatic


def coupled(z, t):
    """No mean over cases."""
    return np.mean((z - z.mean(axis=0) - t) ** 2)


def normalized():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(6, 4, rng=rng), nn.BatchNorm(4), nn.Linear(4, 2, rng=rng))


def squared_weights():
    """No product of the parameter itself with an activation, so no Kronecker block."""
    return optim.Function(lambda p, x: x @ (p["W"] * p["W"]), {"W": np.full((6, 2), 0.1, np.float32)})


class Pair(nn.Module):
    """Two outputs, for a plain callable."""

    def __init__(self):
        self.a, self.b = net(0), net(1)

    def forward(self, x):
        return self.a(x), self.b(x)


def two(z, t):
    return np.mean((z[0] - t) ** 2) + np.mean((z[1] + t) ** 2)


@pytest.mark.parametrize(
    ("model", "loss", "cases", "preconditioner"),
    [
        (normalized, nn.SquaredError(), 0, "Kronecker"),
        (net, coupled, 0, "Kronecker"),
        (net, lambda z, t: np.mean((z - t) ** 2), 60, "Kronecker"),
        (Pair, two, 60, ""),
        (squared_weights, nn.SquaredError(), 60, "diagonal"),
    ],
    ids=["batch normalization", "coupled loss", "plain loss", "two outputs", "no block"],
)
def test_what_does_not_fit_falls_back_and_says_so(model, loss, cases, preconditioner):
    numbers = Automatic(sample=60, curvature_cases=10, least=1, little=0, few=0)
    opt = optim.HessianFree(model(), loss, automatic=numbers)
    x, t = data(200)
    infos = [opt.step(x, t) for _ in range(6)]
    assert infos[-1].cases == cases
    assert preconditioner in infos[-1].choice
    assert infos[-1].loss < infos[0].loss


def test_what_does_not_fit_one_situation_may_fit_the_other():
    """Batch statistics leave no diagonal, but Kronecker factors; and counting work leaves them as they are."""
    model = normalized()
    opt = optim.HessianFree(model, nn.SquaredError())
    x, t = data(50)
    model(x)
    assert "no preconditioner (the squared gradient" in opt.step(x, t).choice
    assert "Kronecker factors" in opt.step(*data(50, 1)).choice
    assert "no preconditioner" in opt.step(*data(50, 1)).choice


def test_counting_work_leaves_statistics_alone():
    model, loss = normalized(), nn.SquaredError()
    x, t = data(50)
    means = model[0](x).mean(axis=0)
    optim.HessianFree(model, loss).step(x, t)
    np.testing.assert_allclose(model[1].running_mean, 0.1 * means, rtol=1e-5)
    assert optim.Objective(model, loss).work_per_case(x) > 6 * 4 + 4 * 2


def test_wide_layers_take_the_diagonal_and_the_reason_is_given():
    opt = free(longest=5)
    info = opt.step(*data(50))
    assert "a diagonal preconditioner (a Kronecker factor has 7 rows, more than 5)" in info.choice
    assert info.damping == Automatic().settled_damping
    assert opt.factors is None  # nor are they kept in the state
    assert opt.step(*data(50, 1)).cg_iterations <= Automatic().most_diagonal


def test_a_model_without_any_preconditioner_takes_none():
    """Cases that are mixed have no gradients of their own, and a shared product has no block."""
    model = optim.Function(lambda p, x: (x - x.mean(axis=0)) @ (p["W"] * p["W"]), {"W": np.full((6, 2), 0.3)})
    model.couples_cases = True
    opt = optim.HessianFree(model, nn.SquaredError(), automatic=Automatic(little=0, few=0))
    x, t = data(50)
    first, *_, last = (opt.step(x.astype(float), t.astype(float)) for _ in range(5))
    assert last.loss < first.loss


def test_errors_of_the_model_are_raised_and_nothing_is_decided():
    class Broken(nn.Module):
        def __init__(self):
            self.W = np.ones((6, 2), np.float32)

        def forward(self, x):
            raise ValueError("my own error")

    opt = free(Broken())
    with pytest.raises(ValueError, match="my own error"):
        opt.step(*data(50))
    assert opt.policy.changing.kind == 0


@pytest.mark.parametrize("changing", [False, True])
def test_a_run_resumes_bit_for_bit(changing):
    def run(opt, first, last):
        return [opt.step(*data(300, k if changing else 0)).loss for k in range(first, last)]

    whole = free()
    expected = run(whole, 0, 9)
    half = free()
    run(half, 0, 5)
    again = free(net(7))
    again.objective.assign(half.objective.flat())
    again.load_state_dict(half.state_dict())
    assert run(again, 5, 9) == expected[5:]
    assert np.array_equal(again.objective.flat(), whole.objective.flat())


def test_a_run_resumes_from_a_file_of_arrays(tmp_path):
    """np.savez makes arrays without axes of numbers."""
    whole = free()
    for k in range(3):
        whole.step(*data(300, k))
    np.savez(tmp_path / "state.npz", **whole.state_dict())
    again = free(net(7))
    again.objective.assign(whole.objective.flat())
    with np.load(tmp_path / "state.npz") as state:
        again.load_state_dict(dict(state))
    assert again.step(*data(300, 3)).loss == whole.step(*data(300, 3)).loss
    assert np.array_equal(again.objective.flat(), whole.objective.flat())


def test_damping_of_a_solved_problem_rises_to_the_floor_when_batches_change():
    opt = optim.HessianFree(net(), nn.SquaredError())
    opt.step(*data(40))
    opt.step(*data(40))
    opt.damping = 1e-5
    assert opt.step(*data(40)).damping == 1e-5
    assert opt.step(*data(40, 1)).damping == Automatic().damping_min
    opt.damping = 1e-5  # what the user says in the same situation stays
    assert opt.step(*data(40, 2)).damping == 1e-5


def test_a_run_resumes_with_what_was_found_about_preconditioner_and_loss():
    """The reason for another preconditioner is given once; a loss that is no mean on one batch is none on the next."""

    def masked(z, t):
        k = np.abs(t[:, :1]) < 2
        return np.sum(np.where(k, (z - t) ** 2, 0)) / np.sum(k)

    def run(opt, first, last):
        return [opt.step(*data(300, k)) for k in range(first, last)]

    def made(seed):
        numbers = Automatic(sample=60, curvature_cases=10, little=0.0, few=0, longest=5)
        opt = optim.HessianFree(net(seed), masked, automatic=numbers)
        opt.objective.shards = 3
        return opt

    def batch(k):
        x, t = data(300, k)
        t[0, 0] = 9 if k == 1 else 0  # only in one batch do the first cases show what the loss is
        return x, t

    whole, half, again = made(0), made(0), made(7)
    expected = [whole.step(*batch(k)) for k in range(6)]
    for k in range(3):
        half.step(*batch(k))
    again.objective.assign(half.objective.flat())
    again.load_state_dict(half.state_dict())
    assert [again.step(*batch(k)) for k in range(3, 6)] == expected[3:]
    assert np.array_equal(again.objective.flat(), whole.objective.flat())
    assert [info.cases for info in expected] == [60, 0, 0, 0, 0, 0]
    assert ["a Kronecker factor has" in info.choice for info in expected] == [True] + [False] * 5


def test_work_of_a_batch_with_an_array_that_all_cases_share():
    """A mask is no case; the batch, whose number of cases is not known, is taken whole."""
    rng = np.random.default_rng(0)
    x, M, t = rng.normal(size=(500, 8)), np.tril(np.ones((8, 8))), rng.normal(size=(500, 2))
    model = optim.Function(lambda p, x: np.tanh((x[0] @ x[1]) @ p["W"]), {"W": rng.normal(size=(8, 2))})
    objective = optim.Objective(model, nn.SquaredError())
    assert objective.work((x, M), t) == 500 * (8 * 2 + 10 * 2)
    opt = optim.HessianFree(model, nn.SquaredError(), automatic=Automatic(little=1000.0, few=0))
    assert opt.step((x, M), t).choice.startswith("a large batch")


def test_a_batch_without_arrays_is_always_the_same():
    model = optim.Function(lambda p, x: p["w"] ** 2 - 2, {"w": np.array([3.0])})
    opt = optim.HessianFree(model, lambda z, t: np.mean(z**2))
    assert [opt.step(None).choice.partition(":")[0] for _ in range(3)] == ["one small batch"] + [
        "the same batch again"
    ] * 2


def test_a_loss_that_is_not_defined_on_a_few_cases_takes_the_batch_whole():
    def correlation(z, t):
        if len(z) < 3:
            raise ValueError("too few cases")
        return -np.mean((z - np.mean(z)) * (t - np.mean(t))) / np.std(z)

    opt = optim.HessianFree(net(), correlation, automatic=Automatic(sample=60, little=0.0, few=0))
    infos = [opt.step(*data(300)) for _ in range(3)]
    assert [info.cases for info in infos] == [0, 0, 0]
    assert infos[2].loss < infos[0].loss


def test_one_cg_step_is_named_in_the_singular():
    opt = free(most=1, direction=optim.ConjugateGradient())
    assert "at most 1 CG step, no" in opt.step(*data(40)).choice
    assert "at most 20 CG steps" in free(longest=5).step(*data(40)).choice


def test_a_state_that_names_no_preconditioner_is_refused():
    opt = free()
    for name in ("changing", "settled"):
        state = opt.state_dict() | {f"policy.{name}.kind": 3}
        with pytest.raises(ValueError, match=r"the kind of preconditioner must be below 3, got 3"):
            opt.load_state_dict(state)
    assert (opt.policy.changing.kind, opt.policy.settled.kind) == (0, 1)


def test_the_user_may_say_whether_batches_come_again():
    x, t = data(40)
    told = optim.HessianFree(net(), nn.SquaredError(), automatic=Automatic(same_batch=True))
    assert told.step(x, t).choice.startswith("the same batch, as told")
    assert told.step(*data(40, 1)).choice.startswith("the same batch, as told")
    other = free(same_batch=False)
    other.step(x, t)
    assert other.step(x, t).choice.startswith("batches change")


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, bool, complex])
def test_content_tells_batches_apart(dtype):
    rng = np.random.default_rng(0)
    x = (100 * rng.random((200, 7))).astype(dtype)
    t = (3 * rng.random(200)).astype(np.int64)
    known = content((x, t))
    assert known == content((x.copy(), t)) != 0
    assert known == content(({"a": x}, (t,)))
    other = x.copy()
    other[17, 3] = not other[17, 3] if dtype is bool else other[17, 3] + 1
    assert content((other, t)) != known
    assert content((x, t[::-1] + 1)) != known


def test_content_of_large_arrays_and_of_none():
    x = np.random.default_rng(0).random((100_000, 4))
    assert content((x, None)) == content((x, None)) != content((x + 1, None))
    assert content((np.full((3, 2), np.nan), None)) == 0.0
    assert content((np.array(["a", "b"]), None)) == 0.0
    assert content((None, None)) == content((None, ())) != 0.0
    assert content((np.zeros(3), None)) != 0.0


@pytest.mark.parametrize("shards", [1, 2, 5])
def test_the_same_run_on_shards(shards):
    x, t = data(300)
    opt = free(nn.models.mlp((6, 5, 2), rng=np.random.default_rng(0), dtype=np.float64))
    opt.objective.shards = shards
    losses = [opt.step(x.astype(float), t.astype(float)).loss for _ in range(6)]
    one = free(nn.models.mlp((6, 5, 2), rng=np.random.default_rng(0), dtype=np.float64))
    one.objective.shards = 1
    assert losses == pytest.approx([one.step(x.astype(float), t.astype(float)).loss for _ in range(6)], rel=1e-9)
