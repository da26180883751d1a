"""opt.fit: batches, budgets, records, validation, the best model, Ctrl-C, and going on bit for bit."""

from __future__ import annotations

import io
import itertools
import os
import pathlib
import re
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nn
import optim
from optim.training.bar import Bar, clock, numbers
from optim.training.passes import Passes, held_out

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 4)).astype(np.float32)
T = np.tanh(X @ RNG.standard_normal((4, 2)).astype(np.float32))

METHODS: dict[str, Callable[..., Any]] = {
    "SGD": lambda m, f: optim.SGD(m, f, lr=0.1, momentum=0.9),
    "Adam": lambda m, f: optim.Adam(m, f, lr=1e-2),
    "LBFGS": lambda m, f: optim.LBFGS(m, f, iterations=3),
    "BFGS": lambda m, f: optim.BFGS(m, f, iterations=3),
    "LevenbergMarquardt": optim.LevenbergMarquardt,
    "HessianFree": optim.HessianFree,
    "CurveBall": optim.CurveBall,
    "SGN": optim.SGN,
    "KFAC": optim.KFAC,
    "EKFAC": optim.EKFAC,
    "KFLR": optim.KFLR,
    "KFRA": optim.KFRA,
}


def network(seed: int = 1, p: float = 0.0) -> nn.Module:
    rng = np.random.default_rng(seed)
    between = nn.Dropout(p, rng=rng) if p else nn.Tanh()
    return nn.Sequential(nn.Linear(4, 5, rng=rng), between, nn.Linear(5, 2, rng=rng))


def adam(seed: int = 1, p: float = 0.0) -> Any:
    return optim.Adam(network(seed, p), nn.SquaredError(), lr=1e-2)


def arrays(opt: Any) -> dict[str, Any]:
    return {name: np.array(a) for name, a in opt.model.state_dict().items()}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# -- every method ----------------------------------------------------------------------------------------


def test_the_table_has_every_optimizer() -> None:
    classes = {name for name in optim.__all__ if isinstance(getattr(optim, name), type)}
    assert set(METHODS) == {n for n in classes if issubclass(getattr(optim, n), optim.Optimizer)} - {"Optimizer"}


@pytest.mark.parametrize("name", METHODS)
def test_it_learns_with_a_batch_of_its_own(name: str) -> None:
    opt = METHODS[name](network(), nn.SquaredError())
    history = opt.fit(X, T, updates=15)
    assert history.end in ("all updates are done",) or history.end.startswith("converged")
    assert opt.objective.value(X, T) < 0.7 * history["loss"][1]
    assert np.isnan(history["loss"][0])


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_goes_on_is_the_run_that_was_not_cut(name: str) -> None:
    def make() -> Any:
        return METHODS[name](network(p=0.0 if "BFGS" in name else 0.2), nn.SquaredError())

    options: dict[str, Any] = {"batch": 16, "validation": 0.2, "every": 2, "rng": np.random.default_rng(3)}
    whole = make()
    of_whole = whole.fit(X, T, updates=7, **options)
    first, rest = make(), make()
    state = first.fit(X, T, updates=3, **options | {"rng": np.random.default_rng(3)}).state_dict()
    of_rest = rest.fit(X, T, updates=7, resume=state, **options | {"rng": None})
    assert same(arrays(whole), arrays(rest))
    for a, b in zip(of_whole.records, [r for r in of_rest.records if r["update"] != 3], strict=True):
        timed = ("seconds", "products_per_second", "updates_per_second")
        assert {n: v for n, v in a.items() if n not in timed} == {n: v for n, v in b.items() if n not in timed}


def test_it_goes_on_from_files(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("safetensors")
    whole, cut = adam(p=0.3), adam(p=0.3)
    whole.fit(X, T, batch=16, epochs=4)
    for epochs in (1, 2, 4):  # the first finds no checkpoint, and begins
        cut = adam(p=0.3)
        cut.fit(X, T, batch=16, epochs=epochs, checkpoints=nn.Checkpoints(tmp_path), resume=True)
    assert same(arrays(whole), arrays(cut))


def test_it_goes_on_from_a_history_whose_best_model_was_put_back() -> None:
    def fit(opt: Any, updates: int, **more: Any) -> optim.History:
        return opt.fit(X[:20], T[:20], batch=5, updates=updates, validation=(X[20:], -T[20:]), every=1, **more)

    whole, cut = adam(), adam()
    fit(whole, 9, keep="last")
    history = fit(cut, 5)
    assert history.best is not None
    assert history.best["update"] == 0  # nothing to learn: the targets of validation have another sign
    assert same(arrays(cut), arrays(adam()))
    fit(cut, 9, resume=history, keep="last")
    assert same(arrays(whole), arrays(cut))


# -- batches ---------------------------------------------------------------------------------------------


def test_a_pass_takes_every_case_once_in_an_order_of_its_own() -> None:
    passes = Passes(np.arange(12), None, 4, seed=5, shuffle=True)
    orders = [np.concatenate([next(passes)[0] for _ in range(3)]) for _ in range(3)]
    assert all(sorted(order) == list(range(12)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    plain = Passes(np.arange(12), None, 5, seed=5, shuffle=False)
    assert [next(plain)[0].tolist() for _ in range(3)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [0, 1, 2, 3, 4]]


def test_targets_that_are_the_inputs_stay_so() -> None:
    x, t = next(Passes(X, X, 7, seed=0, shuffle=True))
    assert x is t
    (x, t), (xv, tv) = held_out((X, X), 0.25, seed=0)
    assert x is t
    assert xv is tv
    assert len(x) == 45
    assert sorted(map(tuple, np.concatenate([x, xv]))) == sorted(map(tuple, X))


def test_trees_of_inputs_and_none() -> None:
    model = optim.Function(lambda p, x: (x["a"] + x["b"][0]) @ p, np.zeros((4, 2), np.float32))
    opt = optim.SGD(model, nn.SquaredError(), lr=0.1)
    history = opt.fit({"a": X, "b": [X]}, T, batch=20, epochs=3)
    assert history.update == 9
    still = optim.LBFGS(optim.Function(lambda p, x: p - 1, np.zeros(3)), lambda z, t: np.sum(z * z))
    assert still.fit(None, updates=3)["loss"][-1] < 3


def test_iterators_of_batches() -> None:
    opt = adam()
    history = opt.fit(((X[k : k + 20], T[k : k + 20]) for k in (0, 20, 40)), updates=9)
    assert (history.update, history.end) == (3, "there are no more batches")
    assert opt.fit(itertools.repeat({"x": X, "t": T}), updates=2).update == 2
    batches = nn.data.batches(X, T, 20, np.random.default_rng(0))
    assert opt.fit(batches, updates=2).state_dict()["batches"] == batches.state_dict()


# -- the end -----------------------------------------------------------------------------------------------


def test_budgets() -> None:
    assert adam().fit(X, T, batch=16, epochs=2).update == 6
    assert adam().fit(X, T, batch=16, epochs=2, updates=4).update == 4
    assert adam().fit(X, T, batch=16, updates=0).update == 0
    ticks = itertools.count()
    history = adam().fit(X, T, seconds=3, clock=lambda: float(next(ticks)))
    assert (history.update, history.end, history.seconds) == (3, "the time is used up", 3.0)
    before = time.process_time()
    assert adam().fit(X, T, seconds=0.02, clock="cpu").seconds <= time.process_time() - before


def test_it_ends_where_the_optimizer_has_converged() -> None:
    flat = optim.LevenbergMarquardt(nn.Linear(4, 2, rng=np.random.default_rng(0)), nn.SquaredError())
    history = flat.fit(X, T, updates=500)
    assert history.end.startswith("converged")
    assert history.update < 50


def test_it_ends_where_ten_updates_in_a_row_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    opt = optim.LBFGS(network(), nn.SquaredError())
    refused = optim.StepInfo(1.0, rejected=True, reason="no decrease")
    monkeypatch.setattr(optim.LBFGS, "step", lambda self, x, t: refused)
    assert opt.fit(X, T, updates=500).end == "the last 10 updates were refused: no decrease"


def test_divergence_is_the_end() -> None:
    opt = optim.SGD(network(), nn.SquaredError(), lr=1e25)
    with pytest.warns(optim.NumericalWarning):
        history = opt.fit(X, T, updates=100)
    assert history.failed
    assert "10 steps in a row" in history.end


def test_early_stopping_keeps_the_best_model() -> None:
    opt = optim.SGD(network(), nn.SquaredError(), lr=0.5, momentum=0.9)
    few, rest = slice(0, 8), slice(8, None)
    history = opt.fit(X[few], T[few], validation=(X[rest], T[rest]), patience=4, every=1, updates=5000)
    assert history.end == "no better validation loss in 4 records"
    best = np.nanargmin(history["validation_loss"])
    assert history.best is not None
    assert best == len(history.records) - 5
    assert opt.objective.value(X[rest], T[rest]) == pytest.approx(history["validation_loss"][best])
    kept = optim.SGD(network(), nn.SquaredError(), lr=0.5, momentum=0.9)
    again = kept.fit(X[few], T[few], validation=(X[rest], T[rest]), patience=4, every=1, updates=5000, keep="last")
    assert kept.objective.value(X[rest], T[rest]) == pytest.approx(again["validation_loss"][-1])
    again.load_best()
    assert same(arrays(kept), arrays(opt))


def test_validation_is_without_l2_and_out_of_training() -> None:
    opt = optim.SGD(network(p=0.5), nn.SquaredError(), lr=0.1, l2=3.0)
    seen: list[bool] = []

    def measure(model: Any) -> dict[str, Any]:
        seen.append(model.training)
        return {"error": np.float32(2.5)}

    opt.model.eval()
    history = opt.fit(X, T, updates=1, validation=(X, T), measure=measure, keep="last")
    assert not opt.model.training  # as it was
    assert seen == [False, False]
    assert history["error"].tolist() == [2.5, 2.5]
    assert type(history.records[0]["error"]) is float
    assert opt.objective.l2 == 3.0
    assert history["validation_loss"][1] == pytest.approx(optim.Objective(opt.model, nn.SquaredError()).value(X, T))
    best = opt.fit(X, T, updates=2, measure=measure, monitor="error")
    assert best.best is not None


def test_callbacks_see_the_history_and_may_end_it() -> None:
    updates: list[int] = []
    history = adam().fit(
        X,
        T,
        updates=9,
        every=2,
        on_record=lambda h: updates.append(h.update),
        on_update=lambda h: "enough" if h.update == 5 else None,
    )
    assert updates == [0, 2, 4, 5]
    assert (history.end, history.stopped) == ("enough", False)
    history = adam().fit(X, T, updates=9, on_record=lambda h: "at once")
    assert (history.update, history.end) == (0, "at once")
    history = adam().fit(X, T, updates=9, stop=lambda: "told to")
    assert (history.update, history.end, history.stopped) == (0, "told to", True)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_keeps_what_was_reached() -> None:
    opt, whole = adam(), adam()
    before = signal.getsignal(signal.SIGINT)
    history = opt.fit(X, T, batch=16, updates=9, on_update=interrupt_at(4))
    assert signal.getsignal(signal.SIGINT) is before
    assert (history.update, history.end, history.stopped) == (4, "stopped by Ctrl-C", True)
    whole.fit(X, T, batch=16, updates=4)
    assert same(arrays(opt), arrays(whole))
    opt.fit(X, T, batch=16, updates=9, resume=history)
    whole = adam()
    whole.fit(X, T, batch=16, updates=9)
    assert same(arrays(opt), arrays(whole))


def interrupt_at(k: int, times: int = 1) -> Callable[[optim.History], None]:
    def on_update(history: optim.History) -> None:
        for _ in range(times if history.update == k else 0):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    return on_update


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_interrupts() -> None:
    opt, whole = adam(), adam()
    with pytest.raises(KeyboardInterrupt):
        opt.fit(X, T, batch=16, updates=9, on_update=interrupt_at(4, times=2))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    whole.fit(X, T, batch=16, updates=4)
    assert same(arrays(opt), arrays(whole))


def test_in_another_thread() -> None:
    found: list[optim.History] = []
    thread = threading.Thread(target=lambda: found.append(adam().fit(X, T, updates=2)))
    thread.start()
    thread.join()
    assert found[0].update == 2


# -- the history -----------------------------------------------------------------------------------------


def test_a_history_is_looked_up_by_name() -> None:
    history = adam().fit(X, T, batch=20, epochs=3, validation=(X, T))
    assert history["epoch"].tolist() == [0, 1, 2, 3]
    assert {"seconds", "update", "epoch", "loss", "validation_loss", "gradient_norm"} <= set(history)
    assert len(history) == len(list(history)) == len(dict(history))
    assert history["reason"].tolist() == ["", "", "", ""]
    with pytest.raises(KeyError, match=r"'los' was not recorded; there are seconds, update, epoch, validation_loss"):
        history["los"]
    assert repr(history) == "History(4 records, 9 updates: all updates are done)"


def test_a_history_draws_itself() -> None:
    pytest.importorskip("matplotlib").use("Agg")
    history = adam().fit(X, T, batch=20, epochs=3, validation=(X, T))
    axes = history.plot()
    assert [line.get_label() for line in axes.get_lines()] == ["validation loss", "loss"]
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [4, 3]
    assert axes.get_yscale() == "log"
    assert history.plot("update", against="epoch", axes=axes) is axes
    assert axes.get_xlabel() == "epoch"


# -- the bar -----------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal()
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setattr("optim.training.bar.PAUSE", 0.0)
    adam().fit(X, T, batch=20, epochs=3, progress=lambda record: "word " * 40 if record["update"] else "")
    text = file.getvalue()
    lines = text.replace("\n", "\r").split("\r")
    assert max(map(len, lines)) == 79
    assert text.count("\n") == 1  # at the end
    assert "100%|████████|0:00<0:00 word word" in text
    monkeypatch.setenv("COLUMNS", "40")
    file = Terminal()
    monkeypatch.setattr("sys.stderr", file)
    adam().fit(X, T, batch=20, epochs=3)
    assert max(map(len, file.getvalue().split("\r"))) <= 40  # the last with the end of the line


def test_the_environment_may_turn_the_bar_off(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal()
    monkeypatch.setattr("sys.stderr", file)
    monkeypatch.setenv("RMAD_PROGRESS", "off")
    adam().fit(X, T, batch=20, epochs=1)
    assert file.getvalue() == ""
    monkeypatch.setenv("RMAD_PROGRESS", "on")
    adam().fit(X, T, batch=20, epochs=1)
    assert "100%" in file.getvalue()


def test_in_a_file_a_record_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    adam().fit(X, T, batch=20, epochs=2)
    assert file.getvalue() == ""
    adam().fit(X, T, batch=20, epochs=2, progress=True, on_update=lambda h: None, stop=lambda: "")
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    assert re.fullmatch(r"100%\|████████\|0:00<0:00 loss \d.*", lines[-1])
    adam().fit(X, T, batch=20, epochs=2, progress=True, stop=lambda: "told to")
    assert file.getvalue().splitlines()[-1] == "told to"


def test_words_of_a_record() -> None:
    record = {"loss": 1.23456, "validation_loss": 2.0, "damping": 0.1234, "cg_iterations": 7, "update": 3}
    assert numbers(record) == "loss 1.235, validation 2, λ 0.12, 7 CG"
    assert numbers({"update": 0}) == ""
    assert [clock(s) for s in (0, 65, 3600, 36_001)] == ["0:00", "1:05", "1:00:00", "10:00:01"]
    bar = Bar(file=io.StringIO())
    bar.begin(0.5)
    assert bar.line() == " 50%|████    |0:00<? "


# -- what is wrong -----------------------------------------------------------------------------------------

MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no budget": (lambda: adam().fit(X, T), ValueError, "fit needs a budget: epochs, updates or seconds"),
    "a batch of none": (lambda: adam().fit(X, T, batch=0, epochs=1), ValueError, "batch must be ≥ 1, got 0"),
    "half an epoch": (lambda: adam().fit(X, T, epochs=0.5), ValueError, "epochs must be a whole number"),
    "other cases": (
        lambda: adam().fit(X, T[:30], batch=10, epochs=1),
        ValueError,
        "batch needs cases along the first axis.*Found 60 in x and 30 in t",
    ),
    "patience with nothing": (
        lambda: adam().fit(X, T, epochs=1, patience=3),
        ValueError,
        "patience looks at a measure: give validation, or measure and monitor",
    ),
    "a measure that is not there": (
        lambda: adam().fit(X, T, epochs=1, validation=0.2, monitor="accuracy"),
        ValueError,
        "monitor='accuracy' is not among the measures of a record: validation_loss",
    ),
    "a measure that is a number": (
        lambda: adam().fit(X, T, epochs=1, measure=lambda model: 3.0),
        TypeError,
        r"measure\(model\) must return a dict of numbers by name, not float",
    ),
    "validation arrays without a pair": (
        lambda: adam().fit(X, T, epochs=1, validation=X),
        TypeError,
        r"validation must be a pair \(x, t\) or a share of the cases, not ndarray",
    ),
    "a share above one": (
        lambda: adam().fit(X, T, epochs=1, validation=1.5),
        ValueError,
        "validation must be",
    ),
    "a share of an iterator": (
        lambda: adam().fit(iter([(X, T)]), updates=1, validation=0.5),
        ValueError,
        "x is an iterator of batches, so validation must be a pair",
    ),
    "epochs of an iterator": (
        lambda: adam().fit(iter([(X, T)]), epochs=1),
        ValueError,
        "x is an iterator of batches, so epochs must be None",
    ),
    "three parts": (
        lambda: adam().fit(iter([(X, T, 3)]), updates=1),
        TypeError,
        r"a batch is a pair \(x, t\), or a dict of the arguments of step; this one is of 3 parts",
    ),
    "another clock": (lambda: adam().fit(X, T, seconds=1, clock="gpu"), ValueError, 'clock must be "wall", "cpu"'),
    "resume of nothing": (
        lambda: adam().fit(X, T, epochs=1, resume=True),
        ValueError,
        r"give checkpoints=nn.Checkpoints\(folder\)",
    ),
    "resume of a text": (lambda: adam().fit(X, T, epochs=1, resume="run"), TypeError, "resume must be True, False,"),
    "a generator in checkpoints": (
        lambda: adam().fit(((x, t) for x, t in [(X, T)]), updates=1, checkpoints=nn.Checkpoints("nowhere")),
        TypeError,
        "generator has no state_dict and load_state_dict",
    ),
    "a seed for rng": (lambda: adam().fit(X, T, epochs=1, rng=0), TypeError, "rng must be a Generator"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(refuses: Callable[..., None], name: str) -> None:
    refuses(*MISTAKES[name])


STATES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another model": (lambda s: s["run"]["model"].pop("0.weight"), "lacks '0.weight'"),
    "another optimizer": (lambda s: s["run"]["optimizer"].pop("m"), r"Adam: the state has the entries"),
    "other cases": (lambda s: s["batches"].update(cases=59), "the state has cases 59, these have 60"),
    "another size": (lambda s: s["batches"].update(size=8), "the state has size 8, these have 16"),
    "no place": (lambda s: s["batches"].update(k=-1), "k of the state is -1"),
    "no records": (lambda s: s["run"].update(records=[]), "run/records is empty"),
    "no batches": (lambda s: s.pop("batches"), "batches is missing"),
}


@pytest.mark.parametrize("name", STATES)
def test_a_state_that_does_not_fit_changes_nothing(name: str) -> None:
    state = adam().fit(X, T, batch=16, updates=2).state_dict()
    state["run"]["model"], state["run"]["optimizer"] = dict(state["run"]["model"]), dict(state["run"]["optimizer"])
    change, words = STATES[name]
    change(state)
    opt = adam(seed=7)
    opt.step(X, T)
    model, own = arrays(opt), opt.state_dict()
    with pytest.raises(optim.StateDoesNotFit, match=f"the state does not fit: .*{words}"):
        opt.fit(X, T, batch=16, updates=5, resume=state)
    assert same(model, arrays(opt))
    assert same(own, opt.state_dict())


def test_a_state_while_it_runs_is_that_of_checkpoints() -> None:
    def ask(history: optim.History) -> None:
        with pytest.raises(RuntimeError, match="is not over"):
            history.state_dict()

    history = adam().fit(X, T, updates=1, on_update=ask)
    with pytest.raises(ValueError, match="there is no best model"):
        history.load_best()
