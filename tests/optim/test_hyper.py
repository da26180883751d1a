"""Every hyper-parameter has a rule, and every rule is tried: values inside, at and beyond the bounds, wrong types."""

import inspect
import math

import numpy as np
import pytest
from ranks_in_threads import InThreads, Place

import nn
import optim
from optim import hyper, presets
from optim.hyper import NONE, SCHEDULE, Both, Either, Flag, Instance, Number, OneOf, Rule
from optim.parts.damping import Matrix
from optim.parts.preconditioner import Diagonal, Preconditioner
from optim.parts.selection import LastIterate
from optim.problem.ranks import Alone


def model():
    return nn.Linear(2, 1, rng=np.random.default_rng(0), dtype=np.float64)


PUBLIC = [value for value in (getattr(optim, name) for name in optim.__all__) if inspect.isclass(value)]
OPTIMIZERS = tuple(cls for cls in PUBLIC if issubclass(cls, optim.Optimizer) and cls is not optim.Optimizer)
PARTS = (
    *(optim.schedules.Constant, optim.schedules.Step, optim.schedules.Linear, optim.schedules.Cosine),
    *(
        optim.Tikhonov,
        optim.DiagonalDamping,
        optim.MatrixDamping,
        optim.SteihaugToint,
        optim.KrylovSubspace,
        optim.RescaledMomentum,
    ),
    *(optim.LineSearch, optim.Backtracking, optim.HeldOut, optim.StructuralDamping, optim.Roles),
    *(optim.EmpiricalFisher, optim.UnbiasedDiagonal, optim.ExactDiagonal, optim.KroneckerPreconditioner),
    *(optim.ConjugateGradient, optim.Phases, optim.ClippedCurvature, optim.Automatic),
)
NO_RULE = {  # and why
    "model": "checked by Objective",
    "loss": "checked by Objective",
    "rng": "checked by hyper.generator",
    "x": "data",
    "t": "data",
    "phases": "pairs, checked by Phases: tests/optim/test_roles.py",
}
REQUIRED = {
    optim.SGD: {"lr": 0.1},
    optim.HessianFree: {"damping_min": optim.HessianFree.floor},
    optim.SGN: {"damping_min": optim.SGN.floor},
    optim.schedules.Constant: {"start": 1.0},
    optim.schedules.Step: {"start": 1.0, "every": 2},
    optim.schedules.Linear: {"start": 1.0, "steps": 2},
    optim.schedules.Cosine: {"start": 1.0, "steps": 2},
    optim.Tikhonov: {"strength": 1.0},
    optim.DiagonalDamping: {"strength": 1.0},
    optim.MatrixDamping: {"strength": 1.0, "D": np.ones(3)},
    optim.Roles: {"x": np.ones((4, 2)), "rng": np.random.default_rng(0)},
    optim.ClippedCurvature: {"loss": nn.SquaredError()},
}
TOGETHER = {  # what else must be given
    (optim.SGD, "nesterov"): {"momentum": 0.9},
    (optim.CurveBall, "momentum"): {"beta": 1.0},
    (optim.CurveBall, "beta"): {"momentum": 0.9},
    (optim.SGN, "damping_min"): {"damping": 1e6},
    (optim.LevenbergMarquardt, "damping_min"): {"damping": 1e6},
    (optim.HessianFree, "damping_min"): {"damping": 1e6},
}
OBJECTS = {
    optim.Tikhonov: optim.Tikhonov(1.0),
    Preconditioner: optim.ExactDiagonal(),
    Diagonal: optim.ExactDiagonal(),
    LastIterate: optim.HeldOut(),
    Alone: optim.Ranks(InThreads(Place(1), 0)),
    optim.LineSearch: optim.LineSearch(),
    optim.StructuralDamping: optim.StructuralDamping(),
    optim.parts.directions.Direction: optim.SteihaugToint(),
    optim.Automatic: optim.Automatic(sample=100),
}


def make(cls, **hyper_parameters):
    given = REQUIRED.get(cls, {}) | hyper_parameters
    return cls(model(), nn.SquaredError(), **given) if cls in OPTIMIZERS else cls(**given)


def default(cls, name):
    return ({p.name: p.default for p in inspect.signature(cls).parameters.values()} | REQUIRED.get(cls, {}))[name]


def of_number(rule, cls):
    low = default(cls, rule.at_least) if isinstance(rule.at_least, str) else max(rule.above, rule.at_least)
    high = min(rule.at_most, rule.below)
    least, step = (low, 1) if low > -math.inf else (0, 1)
    top = high if high < math.inf else least + 2 * step
    inside = [least + step, top - step] if rule.whole else [least + (top - least) / 2]
    inside += [low] * (rule.at_least == low) + [high] * (high == rule.at_most < math.inf) + [0.0] * rule.or_zero
    outside = [math.nan, math.inf, -math.inf, "1", [0.1], np.ones(2)]
    outside += [least - step] if not isinstance(rule.at_least, str) else [low - 0.5 * low]
    outside += [low] * (low == rule.above) + [high] * (high == rule.below < math.inf) + [high + 1] * (high < math.inf)
    outside += [least + step + 0.5] * rule.whole
    return [v for v in inside if v < high or v == rule.at_most], outside


def examples(rule, cls):
    """Values that a rule takes, and values that it refuses."""
    match rule:
        case Number():
            return of_number(rule, cls)
        case Flag():
            return [True, False, np.True_], ["yes", 2, None, np.ones(3)]
        case OneOf():
            return list(rule.names), ["magic", 1, None, rule.names[0].upper()]
        case Instance():
            inside, outside = examples(rule.other, cls) if rule.other else ([], [])
            return [*inside, OBJECTS[rule.kind]], [v for v in outside if v is not None] + ["magic", object()]
        case Both():
            first, second = examples(rule.first, cls), examples(rule.second, cls)
            outside = first[1] + second[1]
            return [
                v for v in first[0] + second[0] if v not in [bad for bad in outside if isinstance(bad, float)]
            ], outside
        case Either():
            inside, outside = examples(rule.rule, cls)
            accepted = [v for other, v in ((NONE, None), (SCHEDULE, lambda k: 0.5)) if other in rule.also]
            return inside + accepted * (rule.rule != hyper.COUNT), [v for v in outside if v is not None]
        case Matrix():
            return [np.ones(3), np.eye(3), lambda q: q.ggn], ["much", 1.0, None]
    by_name = {"Betas": ([(0.9, 0.999), (0.0, 0.0)], [0.5, (0.5,), (0.5, 1.0), (-0.1, 0.5), (math.nan, 0.5)])}
    by_name["KappaRule"] = ([0.0, 1.0, np.ones(3), np.mean], [-1.0, math.nan, -np.ones(3), "much", np.ones((2, 2))])
    return by_name[type(rule).__name__]


ROWS = [
    pytest.param(cls, name, rule, id=f"{cls.__name__}-{name}")
    for cls in (*OPTIMIZERS, *PARTS)
    for name, rule in hyper.table(cls).items()
]


@pytest.mark.parametrize("cls", [*OPTIMIZERS, *PARTS], ids=lambda cls: cls.__name__)
def test_every_parameter_has_a_rule_and_every_rule_a_parameter(cls):
    parameters = set(inspect.signature(cls).parameters)
    assert parameters - hyper.table(cls).keys() <= NO_RULE.keys()
    assert hyper.table(cls).keys() <= parameters


def test_every_class_with_a_table_is_tried():
    tabled = {cls for cls in PUBLIC if hyper.table(cls) and cls is not optim.Optimizer}
    assert {optim.SGD, optim.HessianFree, optim.KFRA} <= {*OPTIMIZERS}
    assert tabled <= {*OPTIMIZERS, *PARTS}


@pytest.mark.parametrize(("cls", "name", "rule"), ROWS)
def test_values_inside_pass(cls, name, rule):
    inside, _ = examples(rule, cls)
    assert inside
    for value in inside:
        make(cls, **(TOGETHER.get((cls, name), {}) if value is not None else {}), **{name: value})


@pytest.mark.parametrize(("cls", "name", "rule"), ROWS)
def test_values_outside_are_refused_by_name(cls, name, rule):
    _, outside = examples(rule, cls)
    assert outside
    for value in outside:
        with pytest.raises((ValueError, TypeError), match=rf"^{name}\b"):
            make(cls, **(TOGETHER.get((cls, name), {}) | {name: value}))


def test_the_table_of_a_function():
    assert presets.preset("rnn", 10)["cg_iterations"] == 300
    for bad in ({"updates": 0}, {"updates": 1.5}, {"updates": math.nan}):
        with pytest.raises(ValueError, match=r"^updates must be"):
            presets.preset("rnn", **bad)


def test_a_state_out_of_range_is_refused_by_the_same_rule():
    opt = make(optim.HessianFree)
    with pytest.raises(ValueError, match=r"^damping must be ≥ 0, got -1"):
        opt.load_state_dict(opt.state_dict() | {"damping": -1.0})
    assert opt.damping == 1.0


@pytest.mark.parametrize(
    ("rule", "value", "message"),
    [
        (Number(at_least=0.0), -1, "r must be ≥ 0, got -1"),
        (Number(above=0.0), 0, "r must be > 0, got 0"),
        (Number(at_most=1.0), 2, "r must be ≤ 1, got 2"),
        (Number(below=1.0), 1, "r must be < 1, got 1"),
        (hyper.FRACTION, 1.0, "r must be ≥ 0 and < 1, got 1.0"),
        (hyper.COUNT, 1.5, "r must be a whole number, got 1.5"),
        (Number(at_least="s"), 1.0, "r must be ≥ 2, got 1.0"),
        (OneOf(("a", "b")), "c", 'r must be "a" or "b", got \'c\''),
        (OneOf(("a", "b"), quoted=False), "c", "r must be one of a, b, got 'c'"),
        (Instance(optim.LineSearch, Flag()), 3, "r must be a bool or a LineSearch, got 3"),
        (Instance(optim.LineSearch), 3, "r must be a LineSearch, got 3"),
    ],
)
def test_messages(rule, value, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(") + "$"):
        rule("r", value, {"s": 2.0})


def test_a_whole_number_is_kept_as_an_int():
    assert type(hyper.COUNT("n", 3.0)) is int
    assert type(hyper.COUNT("n", np.int64(3))) is int


def test_a_rule_must_say_what_it_checks():
    with pytest.raises(NotImplementedError, match="Rule"):
        Rule()("r", 1)
