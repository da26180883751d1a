"""The sets of points of section 12: how they are drawn, what is computed on which, and the presets of section 13."""

import numpy as np
import pytest

import nn
import optim
from optim.presets import PRESETS, Phases, preset
from optim.schedules import Step


def numbers(n=60):
    """Data whose values are the numbers of the cases."""
    return np.arange(n)[:, None] * 1.0, np.arange(n)


def members(batch):
    x, t = batch
    np.testing.assert_array_equal(x[:, 0], t)
    return set(map(int, t))


def test_by_default_all_data_in_every_role():
    x, t = numbers()
    batches = optim.Roles(x, t, rng=np.random.default_rng(0))(3)
    assert batches.keys() == {"x", "t"}
    assert batches["x"] is x
    assert batches["t"] is t


def test_sizes_and_disjoint_sets():
    x, t = numbers()
    roles = optim.Roles(
        x, t, gradient=0.5, curvature=12, backtracking=0.1, ratio=7, line_search=9, rng=np.random.default_rng(0)
    )
    for k in range(20):
        b = roles(k)
        assert [len(members(b[f"{n}_batch"])) for n in ("curvature", "backtracking")] == [12, 6]
        assert len(members((b["x"], b["t"]))) == 30
        assert [len(b[f"{n}_batch"][0]) for n in ("ratio", "line_search")] == [7, 9]
        assert not members(b["curvature_batch"]) & members(b["backtracking_batch"])  # held out


def test_a_set_has_one_case_at_least():
    x, t = numbers()
    share = optim.Roles(x, t, gradient=1e-3, curvature=lambda k: 0.2, rng=np.random.default_rng(0))(0)
    assert len(share["x"]) == len(share["curvature_batch"][0]) == 1


def test_the_curvature_chunk_rotates_through_all_data():
    x, t = numbers()
    roles = optim.Roles(x, t, curvature=15, rng=np.random.default_rng(0))
    for start in (0, 4, 8):
        chunks = [members(roles(k)["curvature_batch"]) for k in range(start, start + 4)]
        assert set.union(*chunks) == set(range(60))
    assert members(roles(0)["curvature_batch"]) != members(roles(4)["curvature_batch"])  # a new order in every round


def test_an_update_has_its_batches_whenever_it_is_asked_for():
    x, t = numbers()
    roles, again = (optim.Roles(x, t, gradient=20, curvature=10, rng=np.random.default_rng(5)) for _ in range(2))
    later = roles(7)
    for k in range(7):
        roles(k)
    for one, other in zip(later.values(), again(7).values(), strict=True):
        np.testing.assert_array_equal(np.hstack([np.ravel(a) for a in one]), np.hstack([np.ravel(a) for a in other]))


def test_growing_batches():
    x, t = numbers()
    roles = optim.Roles(x, t, gradient=Step(5, every=2, factor=2.0), rng=np.random.default_rng(0))
    assert [len(roles(k)["x"]) for k in range(10)] == [5, 5, 10, 10, 20, 20, 40, 40, 60, 60]


def test_each_batch_has_its_role(make_problem, monkeypatch):
    """Which batch each quantity is computed on."""
    problem = make_problem(n=100)
    parts = {name: slice(k * 20, k * 20 + 20) for k, name in enumerate(("g", "c", "b", "l", "r"))}
    sets = {name: (problem.x[s], problem.t[s]) for name, s in parts.items()}
    seen = {"quadratic": set(), "value_and_gradient": set(), "value_at": set(), "value": set()}
    opt = optim.HessianFree(problem.model, problem.loss, damping=1e-2)
    theta = problem.theta
    for method, where in seen.items():
        f = getattr(opt.objective, method)

        def spy(*args, f=f, where=where):
            where.add(next(name for name, (x, _) in sets.items() if any(a is x for a in args)))
            return f(*args)

        monkeypatch.setattr(opt.objective, method, spy)
    info = opt.step(
        *sets["g"],
        curvature_batch=sets["c"],
        backtracking_batch=sets["b"],
        line_search_batch=sets["l"],
        ratio_batch=sets["r"],
    )
    assert seen == {
        "quadratic": {"c"},
        "value_and_gradient": {"g"},
        "value_at": {"b", "l", "r"},
        "value": {"c", "l", "r"},  # c: the first step evaluates f twice, to see that it is a function
    }
    assert info.loss == pytest.approx(problem.f(theta, *sets["g"]))
    assert problem.f(problem.theta, *sets["l"]) < problem.f(theta, *sets["l"])
    delta = (problem.theta - theta) / info.step_size
    _, gradient, _ = _dense(problem, theta, *sets["g"])
    _, _, G = _dense(problem, theta, *sets["c"])
    M = gradient @ delta + 0.5 * delta @ G @ delta
    actual = problem.f(theta + delta, *sets["r"]) - problem.f(theta, *sets["r"])
    assert info.reduction_ratio == pytest.approx(actual / M if actual <= 0 else -np.inf, rel=1e-6)


def _dense(problem, theta, x, t):
    now = problem.theta
    optim.Objective(problem.model, problem.loss).assign(theta)
    found = problem.dense(x, t)
    optim.Objective(problem.model, problem.loss).assign(now)
    return found


@pytest.mark.parametrize(
    ("hyper", "message"),
    [
        ({"gradient": 1.5}, "gradient must be a share ≤ 1.0 or a whole number of cases, got 1.5"),
        ({"curvature": 0}, "curvature must be > 0, got 0"),
        ({"ratio": -0.1}, "ratio must be > 0, got -0.1"),
    ],
)
def test_sizes_out_of_range(hyper, message):
    with pytest.raises(ValueError, match=message):
        optim.Roles(*numbers(), rng=np.random.default_rng(0), **hyper)


def test_data_without_cases_are_refused():
    with pytest.raises(ValueError, match="x and t must have cases"):
        optim.Roles(np.zeros((0, 3)), rng=np.random.default_rng(0))


@pytest.mark.parametrize("curvature", [5, 20, 35])
def test_a_partial_gradient_set_and_its_curvature_set_are_nested(curvature):
    roles = optim.Roles(*numbers(), gradient=20, curvature=curvature, backtracking=8, rng=np.random.default_rng(0))
    for k in range(6):
        batches = roles(k)
        S, S_c, B = (
            members((batches["x"], batches["t"])),
            members(batches["curvature_batch"]),
            members(batches["backtracking_batch"]),
        )
        assert (len(S), len(S_c), len(B)) == (20, curvature, 8)
        assert S_c <= S or S_c >= S
        assert not S_c & B
    assert set(roles(0)["t"]) != set(roles(1)["t"])


def relations(order):
    """S and S′ in every relation, from an order of 200 cases."""
    return {
        "equal": (order[:60], None),
        "S′ in S": (order[:60], order[:20]),
        "S in S′": (order[:60], order[:120]),
        "overlapping": (order[:60], order[40:80]),
        "disjoint": (order[:60], order[60:80]),
        "larger and disjoint": (order[:60], order[60:160]),
    }


@pytest.mark.parametrize(
    ("dtype", "noise"),
    [
        (np.float64, 0.0),
        (np.float32, 0.3),
        pytest.param(np.float32, 0.0, marks=pytest.mark.slow),
        pytest.param(np.float64, 0.3, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("relation", relations(np.arange(200)))
def test_a_partial_gradient_set_keeps_learning(relation, dtype, noise):
    model, x, t = network(dtype, noise)
    opt = optim.HessianFree(model, nn.SquaredError(), damping=1.0)
    before, largest = opt.objective.value(x, t), 0.0
    for k in range(80):
        S, S_c = relations(np.random.default_rng([5, k]).permutation(200))[relation]
        opt.step(x[S], t[S], curvature_batch=None if S_c is None else (x[S_c], t[S_c]))
        largest = max(largest, opt.damping)
    assert largest <= 100
    assert opt.objective.value(x, t) < 0.01 * before + 1.5 * noise**2  # the noise alone is worth noise² in two outputs


@pytest.mark.parametrize(
    ("preset", "sizes"),
    [
        (None, {"gradient": 60, "curvature": 20}),
        (None, {"gradient": 60, "curvature": 120}),
        (None, {"gradient": 60}),
        ("original", {"gradient": 60, "curvature": 20}),
        ("held-out", {"gradient": 60, "curvature": 20, "backtracking": 20}),
        ("momentum", {"gradient": 60}),
        ("momentum", {"gradient": 60, "curvature": 30}),
    ],
)
def test_roles_of_a_partial_gradient_set_keep_learning(preset, sizes):
    model, x, t = network(np.float64, 0.0)
    roles = optim.Roles(x, t, rng=np.random.default_rng(3), **sizes)
    if preset is None:
        opt = optim.HessianFree(model, nn.SquaredError(), damping=1.0)
    else:
        opt = optim.HessianFree.preset(preset, model, nn.SquaredError(), updates=100, damping=1.0)
    before, largest = opt.objective.value(x, t), 0.0
    for k in range(100):
        assert opt.k == k
        opt.step(**roles(opt.k))
        largest = max(largest, opt.damping)
    assert largest <= 10
    assert opt.objective.value(x, t) < 0.01 * before


def network(dtype, noise):
    """A net 6-10-2 that fits tanh of a linear map, and 200 cases."""
    rng, g = np.random.default_rng(0), np.random.default_rng(1)
    x = rng.standard_normal((200, 6))
    t = np.tanh(x @ rng.standard_normal((6, 2))) + noise * rng.standard_normal((200, 2))
    net = nn.Sequential(nn.Linear(6, 10, rng=g), nn.Tanh(), nn.Linear(10, 2, rng=g))
    for layer in (net[0], net[2]):
        layer.weight, layer.bias = layer.weight.astype(dtype), layer.bias.astype(dtype)
    return net, x.astype(dtype), t.astype(dtype)


# -- presets: section 13 ---------------------------------------------------------------------------------------


def roles_of(name, problem):
    sizes = {
        "original": {"curvature": 0.3},
        "held-out": {"curvature": 0.3, "backtracking": 0.3},
        "momentum": {"gradient": 0.3},
    }.get(name, {})
    return optim.Roles(problem.x, problem.t, rng=np.random.default_rng(0), **sizes)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "rnn"])  # which needs states: test_structural.py
def test_presets_run(make_problem, name):
    problem = make_problem(n=120)
    opt = optim.HessianFree.preset(name, problem.model, problem.loss, updates=20, damping=0.1)
    roles = roles_of(name, problem)
    before = problem.f(problem.theta)
    for _ in range(20):
        opt.step(**roles(opt.k))
    assert problem.f(problem.theta) < 0.1 * before
    assert opt.damping != 0.1


def test_what_the_presets_are():
    assert set(PRESETS) == {"original", "held-out", "momentum", "rnn"}
    assert isinstance(preset("held-out")["backtracking"], optim.HeldOut)
    for name in ("original", "held-out", "momentum"):
        assert "cg_tolerance" not in preset(name)  # section 13: all recipes end CG by relative progress too
    momentum = preset("momentum", 100)
    assert 25 <= momentum["cg_iterations"] <= 50
    assert momentum["decay"](0) < momentum["decay"](99) <= 1  # ζ raised towards the end
    assert momentum["lr"](0) == 1.0 > momentum["lr"](80) > momentum["lr"](99) > 0  # a lower step
    for name in ("original", "held-out", "momentum"):
        assert preset(name, 100)["l2"](0) == 2e-5
        assert preset(name, 100)["l2"](95) == 0.0  # weight decay switched off near the end


def test_hyper_parameters_replace_those_of_the_preset(problem):
    opt = optim.HessianFree.preset("original", problem.model, problem.loss, cg_iterations=7, l2=0.5)
    assert (opt.cg_iterations, opt.l2, opt.decay, opt.damping) == (7, 0.5, 0.95, 45.0)


def test_unknown_preset(problem):
    with pytest.raises(ValueError, match="preset must be one of original, held-out, momentum, rnn, got 'fast'"):
        optim.HessianFree.preset("fast", problem.model, problem.loss)
    with pytest.raises(ValueError, match="updates must be ≥ 1, got 0"):
        optim.HessianFree.preset("original", problem.model, problem.loss, updates=0)


def test_phases():
    phases = Phases(((0, 1.0), (5, 2.0), (9, 0.0)))
    assert [phases(k) for k in (0, 4, 5, 8, 9, 100)] == [1, 1, 2, 2, 0, 0]
    for wrong in ((), ((1, 1.0),), ((0, 1.0), (5, 2.0), (5, 3.0))):
        with pytest.raises(ValueError, match="phases must start at update 0"):
            Phases(wrong)
