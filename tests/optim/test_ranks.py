"""A batch over ranks: the bits of shards = ranks in one process, on every rank; errors; ranks with their own cases."""

import warnings
from functools import partial

import numpy as np
import pytest
from ranked import ROWS, data, model, quantities, slice_of, steps
from ranks_in_threads import InThreads, Place, together

import nn
import optim
import optim.problem.parameters


def results(size, program, **options):
    found = together(size, program, **options)
    for result in found:
        if isinstance(result, BaseException):
            raise result
    return found


def errors(size, program, **options):
    found = together(size, program, **options)
    assert all(isinstance(result, BaseException) for result in found), found
    return found


@pytest.fixture
def cores(monkeypatch):
    """cores(n): optimizers made from now on use n threads."""
    return lambda n: monkeypatch.setattr(optim.problem.parameters, "cores", lambda: n)


MANY = [(size, n) for size in (1, 2, 3, 4) for n in (4, 11, 26)]
FEW = [(2, 11), (3, 11), (4, 4)]


def params(few, many):
    return [*few, *(pytest.param(*row, marks=pytest.mark.slow) for row in many if row not in few)]


@pytest.mark.parametrize(("size", "n"), params(FEW, MANY))
@pytest.mark.parametrize("sliced", [False, True])
def test_quantities_are_those_of_as_many_shards(size, n, sliced):
    one, expected = quantities(n), quantities(n, shards=size)
    assert len(expected) >= 28
    for found in results(size, lambda ranks: quantities(n, ranks=ranks), sliced=sliced):
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value, err_msg=name)
            scale = np.max(np.abs(one[name]))
            np.testing.assert_allclose(found[name], one[name], rtol=0, atol=1e-12 * scale, err_msg=name)


@pytest.mark.parametrize("size", [2, 3])
def test_chunks_on_ranks(size):
    """Batches larger than memory on every rank: those of one process, up to rounding, and one and the same on all."""
    expected = quantities(26)
    first, *others = results(size, lambda ranks: quantities(26, ranks=ranks, chunks=4))
    for name, value in first.items():
        np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-12 * np.max(np.abs(value)), err_msg=name)
        assert all(np.array_equal(other[name], value) for other in others)


FAST = ["SGD", "Adam", "CurveBall", "SGN", "LevenbergMarquardt, cg", "LBFGS", "KFAC", "KFRA", "HessianFree, automatic"]


@pytest.mark.parametrize(
    ("name", "size"), params([(name, 2) for name in FAST], [(name, size) for name in ROWS for size in (1, 2, 3, 4)])
)
def test_steps_are_those_of_as_many_shards(name, size, cores):
    cores(size)
    theta, state, infos = steps(name, shards=size)
    cores(1)
    for found, found_state, found_infos in results(size, lambda ranks: steps(name, ranks=ranks)):
        np.testing.assert_array_equal(found, theta)
        assert str(found_infos) == str(infos)
        assert found_state.keys() == state.keys()
        for entry, value in state.items():
            np.testing.assert_array_equal(found_state[entry], value, err_msg=entry)


@pytest.mark.parametrize("name", ["SGD", *(pytest.param(name, marks=pytest.mark.slow) for name in ROWS)])
def test_steps_on_cases_of_their_own(name, cores):
    """Equal to one process up to rounding; a sample of the cases is another one."""
    others = "sampled", "held out", "Hessian", "any damping", "Roles"
    if name.removeprefix("HessianFree, ") in others:
        pytest.skip("takes other cases, or goes another way for a rounding error")
    cores(1)
    theta, _, _ = steps(name, shards=1, number=2)
    first, *others = (
        theta for theta, _, _ in results(3, lambda ranks: steps(name, ranks=ranks, number=2), sliced=True)
    )
    np.testing.assert_allclose(first, theta, rtol=1e-9, atol=1e-11)
    assert all(np.array_equal(other, first) for other in others)


def test_a_sample_of_their_own_cases(cores):
    """Each rank draws from what it has; the decisions are the same on all."""
    cores(1)
    found = results(3, lambda ranks: steps("HessianFree, sampled", n=100, ranks=ranks), sliced=True)
    for theta, state, infos in found:
        np.testing.assert_array_equal(theta, found[0][0])
        assert str(infos) == str(found[0][2])
        assert infos[0].cases == 30
        assert state["policy.seen"] == found[0][1]["policy.seen"]


@pytest.mark.parametrize("sliced", [False, True])
def test_a_loss_that_does_not_say_that_it_is_a_mean(sliced):
    """It is compared on the cases of all ranks: a mean is taken, a sum is one error on all."""

    def mean(z, t):
        return np.sum((z - np.eye(3)[t]) ** 2) / len(z)

    first, *others = results(2, lambda ranks: quantities(ranks=ranks, loss=mean), sliced=sliced)
    for name, value in quantities(loss=mean).items():
        np.testing.assert_allclose(first[name], value, rtol=0, atol=1e-12 * np.max(np.abs(value)), err_msg=name)
        assert all(np.array_equal(other[name], first[name]) for other in others)

    def gather_value(ranks, which):
        objective = optim.Objective(model(), lambda z, t: np.sum(np.square(z)), ranks=ranks)
        x, t = data(10)
        own = slice_of(10, ranks) if sliced else slice(None)
        return getattr(objective, which)(x[own], t[own])

    for which in ("value", "value_and_gradient", "quadratic"):
        for error in errors(2, partial(gather_value, which=which), sliced=sliced):
            assert type(error) is ValueError
            assert "ranks: the cases of this batch do not come apart" in str(error)
            assert "is no mean over cases" in str(error)


class Mixing(nn.Linear):
    def __call__(self, x):
        y = super().__call__(x)
        return y - np.mean(y, axis=0)


def norm():
    return nn.Sequential(nn.Linear(4, 3, rng=np.random.default_rng(0)), nn.BatchNorm(3))


def small():
    return nn.Linear(4, 3, rng=np.random.default_rng(0))


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize(
    ("make", "n", "message"),
    [
        (norm, 8, "do not come apart.*depend on the other cases"),
        (lambda: Mixing(4, 3, rng=np.random.default_rng(0)), 8, "do not come apart.*depend on the other cases"),
        (small, 2, "2 cases are too few for 3 ranks"),
    ],
)
def test_what_does_not_come_apart_is_one_error_on_all(make, n, message, sliced):
    def program(ranks):
        opt = optim.SGD(make(), nn.SquaredError(), lr=0.1, ranks=ranks)
        x, t = data(n)
        own = slice_of(n, ranks) if sliced else slice(None)
        return opt.step(x[own].astype(np.float32), t[own].astype(np.float32))

    for error in errors(3, program, sliced=sliced):
        assert type(error) is ValueError
        with pytest.raises(ValueError, match=message):
            raise error


def test_a_batch_without_cases():
    def program(ranks):
        function = optim.Function(lambda params, x: params["theta"], {"theta": np.ones(2)})
        return optim.SGD(function, lambda z, t: z @ z, lr=0.1, ranks=ranks).step(None)

    for error in errors(2, program):
        with pytest.raises(ValueError, match="x and t have no cases along their first axis"):
            raise error


class Bad(nn.SquaredError):
    """Raises the error in evaluation number `at` on one rank."""

    def __init__(self, error, at, rank):
        super().__init__()
        self.error, self.at, self.own, self.seen = error, at, rank, 0

    def value(self, z, t):
        self.seen += 1
        if self.seen == self.at and self.own:
            raise self.error
        return super().value(z, t)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("at", [2, 4, 7])
@pytest.mark.parametrize("error", [ZeroDivisionError("here"), ValueError("here"), KeyboardInterrupt("here")])
def test_an_exception_in_a_sweep_is_raised_on_all(rank, at, error):
    """The original there, RankFailed elsewhere; the optimizers are as before the step, and go on together."""
    x, t = data(20)

    def program(ranks):
        loss = Bad(error, at, ranks.rank == rank)
        opt = optim.HessianFree(model(), loss, preconditioner=False, automatic=False, cg_iterations=3, ranks=ranks)
        raised = None
        for _ in range(6):
            before = opt.objective.flat()
            try:
                opt.step(x, t)
            except BaseException as problem:
                assert raised is None
                raised = problem
                assert np.array_equal(before, opt.objective.flat())
        return raised, opt.objective.flat()

    found = results(2, program)
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert found[rank][0] is error
    other = found[1 - rank][0]
    assert isinstance(other, optim.RankFailed)
    assert str(other) == f"rank {rank} raised {type(error).__name__}: here"
    assert isinstance(other, ValueError) == isinstance(error, ValueError)


def test_an_exception_outside_of_a_sweep_is_told_at_the_next_message():
    """The others may have ended the step by then: the parameters differ, and that is found, too."""
    x, t = data(20)

    def program(ranks):
        def lr(k):
            if k == 2 and ranks.rank == 1:
                raise KeyError("outside")
            return 0.1

        opt = optim.SGD(model(), nn.SquaredError(), lr=lr, ranks=ranks)
        raised = []
        while len(raised) < 2:
            try:
                opt.step(x, t)
            except Exception as error:
                raised.append(f"{type(error).__name__}: {error}")
        return raised

    differ = "RankFailed: the ranks have different parameters: those of rank 1 are not those of rank 0"
    expected = [["RankFailed: rank 1 raised KeyError: 'outside'", differ], ["KeyError: 'outside'", differ]]
    assert results(2, program) == expected


def test_parameters_that_differ_are_found_at_the_next_step():
    x, t = data(20)

    def program(ranks):
        opt = optim.SGD(model(), nn.SquaredError(), lr=0.1, ranks=ranks)
        opt.step(x, t)
        if ranks.rank == 2:
            weight = opt.model[3].weight.copy()
            weight[0, 0] = np.nextafter(weight[0, 0], 1)
            opt.model[3].weight = weight
        opt.step(x, t)

    for error in errors(3, program):
        assert type(error) is optim.RankFailed
        assert str(error) == "the ranks have different parameters: those of rank 2 are not those of rank 0"


@pytest.mark.parametrize("n", [20, 18])
def test_batches_that_differ_are_found(n):
    """As those of an order that every rank draws for itself."""

    def program(ranks):
        x, t = data(n if ranks.rank == 1 else 20)
        if ranks.rank == 1:
            x, t = x[::-1], t[::-1]
        return optim.SGD(model(), nn.SquaredError(), lr=0.1, ranks=ranks).step(x, t)

    for error in errors(3, program):
        assert type(error) is optim.RankFailed
        assert str(error) == "the ranks were given different batches: that of rank 1 is not that of rank 0"


def test_ranks_at_different_places_of_the_program():
    x, t = data(20)

    def program(ranks):
        opt = optim.SGD(model(), nn.SquaredError(), lr=0.1, ranks=ranks)
        return opt.objective.value(x, t) if ranks.rank else opt.step(x, t)

    for error in errors(2, program):
        with pytest.raises(optim.RankFailed, match="at different places of the program"):
            raise error


def test_messages_of_a_step():
    """A product is one message of numbers and one sum of a vector; a step takes few more."""
    x, t = data(40)

    def program(ranks):
        opt = optim.HessianFree(
            model(), nn.SquaredError(), automatic=False, cg_tolerance=0, cg_iterations=8, ranks=ranks
        )
        counts = []
        for _ in range(4):
            before = ranks.exchanges
            products = opt.step(x, t).products
            counts.append(ranks.exchanges - before - products)
        q, before = opt.objective.quadratic(x, t), len(ranks.backend.calls)
        _ = q.ggn @ opt.objective.flat()
        return counts, ranks.backend.calls[before:], opt.objective.flat().nbytes

    for counts, calls, size in results(2, program):
        assert max(counts[1:]) <= 6, counts
        assert calls == [("gather", 128), ("sum", size)]


def test_messages_of_kfac():
    """At most four in the mean: ∇f, the factors and inverses now and then, the length of the step, now and then ρ."""
    x, t = data(1200)

    def program(ranks):
        opt = optim.KFAC(model(), nn.SquaredError(), cases=0.5, ranks=ranks)
        counts = []
        for _ in range(15):
            before = ranks.exchanges
            opt.step(x, t)
            counts.append(ranks.exchanges - before)
        return counts[5:]

    for counts in results(2, program):
        assert max(counts) <= 4
        assert np.mean(counts) <= 3


def test_one_rank_is_one_process():
    """It sends nothing, and gives the same bits."""
    place = Place(1)
    ranks = optim.Ranks(InThreads(place, 0), sliced=True)
    for name, value in quantities(ranks=ranks).items():
        np.testing.assert_array_equal(value, quantities()[name], err_msg=name)
    assert ranks.backend.calls == []
    assert (ranks.rank, ranks.size, ranks.sliced) == (0, 1, False)


def test_values_are_shared():
    found = results(3, lambda ranks: (ranks.share(f"of {ranks.rank}", root=1), ranks.gathered(lambda: ranks.rank)))
    assert found == [("of 1", [0, 1, 2])] * 3


def test_warnings_come_on_all_ranks_alike():
    """A step that is rejected is rejected on all."""
    x, t = data(20)
    x[15] = np.nan

    def program(ranks):
        opt = optim.SGD(model(), nn.SquaredError(), lr=0.1, ranks=ranks)
        return opt.step(x, t).reason

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert results(2, program) == ["non-finite loss"] * 2


@pytest.mark.parametrize("given", ["1", 2, object()])
def test_ranks_takes_a_communicator(given):
    with pytest.raises(TypeError, match="takes a communicator of mpi4py"):
        optim.Ranks(given)
    with pytest.raises(TypeError, match="ranks must be a Ranks"):
        optim.Objective(model(), nn.SquaredError(), ranks=given)
    with pytest.raises(TypeError, match="sliced must be True or False"):
        optim.Ranks(InThreads(Place(1), 0), sliced=1)


# -- fit ------------------------------------------------------------------------------------------------------------


class Kept:
    """Checkpoints in memory; counts what is saved."""

    def __init__(self, state=None):
        self.state, self.saved = state, 0

    def save(self, state):
        self.state, self.saved = state, self.saved + 1

    def load(self):
        return self.state


class Ticking:
    """A clock with a tick of its own."""

    def __init__(self, tick):
        self.now, self.tick = 0.0, tick

    def __call__(self):
        self.now += self.tick
        return self.now


def trained(ranks=None, *, shards=1, updates=9, state=None, n=60, **options):
    """A training in which every rank has a clock of another speed."""
    rank = 0 if ranks is None else ranks.rank
    opt = optim.KFAC(model(), nn.SquaredError(), **({} if ranks is None else {"ranks": ranks}))
    if ranks is None:
        opt.objective.shards = shards
    x, t = data(n)
    own = slice_of(n, ranks) if ranks is not None and ranks.sliced else slice(None)
    kept = Kept(state)
    settings = {
        **{"batch": 20, "updates": updates, "every": 2, "validation": 0.2, "checkpoint_every": 3.0},
        **{"clock": Ticking(1.0 + rank), "checkpoints": kept, "resume": state is not None, "stop": str},
        **{"measure": lambda model: {"own": float(rank)}},
    }
    history = opt.fit(x[own], t[own], **settings | options)
    return opt.objective.flat(), history, kept


def test_a_training_is_that_of_one_process(cores):
    cores(2)
    theta, history, kept = trained(shards=2)
    cores(1)
    found = results(2, trained)
    for rank, (theta_there, there, kept_there) in enumerate(found):
        np.testing.assert_array_equal(theta_there, theta)
        assert str(there.records) == str(history.records)  # with the clock and the measures of rank 0
        assert (there.end, there.seconds) == (history.end, history.seconds) == ("all updates are done", 9.0)
        assert kept_there.saved == (kept.saved if rank == 0 else 0)
    for size in (1, 2, 3):  # on another number of ranks, too
        state = found[0][2].state
        for theta_there, there, _ in results(size, partial(trained, state=state, updates=13)):
            assert (there.update, str(there.records[:-3])) == (13, str(history.records[:-1]))
            if size == 2:
                np.testing.assert_array_equal(theta_there, results(2, partial(trained, updates=13))[0][0])


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("way", ["stop", "on_update", "on_record"])
def test_an_end_that_one_rank_asks_for_is_one_for_all(rank, way):
    def program(ranks):
        asked = []

        def ask(*history):
            asked.append(None)
            return "enough" if ranks.rank == rank and len(asked) >= 4 else ""

        _, history, _ = trained(ranks, **{way: ask})
        return history.end, history.update

    (end, update), other = results(2, program)
    assert (end, update) == other
    assert end == "enough"
    assert 0 < update < 9


def test_the_time_of_rank_0_ends_a_training():
    for _, history, _ in results(2, partial(trained, updates=None, seconds=4.0)):
        assert (history.update, history.end) == (4, "the time is used up")


class Full(Kept):
    def save(self, state):
        if self.saved:
            raise OSError("no space left")
        super().save(state)


def test_a_full_disk_ends_the_training_on_all_ranks():
    found = errors(2, lambda ranks: trained(ranks, checkpoints=Full(), checkpoint_every=0.0))
    assert type(found[0]) is OSError
    assert str(found[1]) == "rank 0 raised OSError: no space left"


def test_a_training_on_cases_of_their_own():
    """As many batches on all ranks, from different numbers of cases; it resumes."""
    options = {"updates": None, "epochs": 2, "batch": 4, "validation": None, "n": 35}
    first, *others = results(3, partial(trained, **options), sliced=True)
    assert first[1].update == 2 * (11 // 4)
    again = results(3, partial(trained, state=first[2].state, **options | {"epochs": 3}), sliced=True)
    for theta, history, _ in others:
        np.testing.assert_array_equal(theta, first[0])
        assert str(history.records) == str(first[1].records)
    for theta, history, _ in again:
        np.testing.assert_array_equal(theta, again[0][0])
        assert history.update == 3 * (11 // 4)
