"""Files of a run whose form is whole and whose content is not: one line that names the fault, never a traceback."""

from __future__ import annotations

import copy
import json
import pathlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nn

ADAM = ["--n-train", "60", "--n-test", "20", "--out", "out", "--optimizer", "adam", "--batch", "20"]
VALUES: list[Any] = [
    None,
    "abc",
    -3,
    3.7,
    float("nan"),
    1e300,
    10**30,
    True,
    [],
    {},
    [1, "a"],
    {"a": 1},
    np.ones(2),
    "",
]
GONE = object()


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of all entries; of a list, of its first two."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, sub in entries:
        yield from paths(sub, (*path, key))


def changed(state: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy of the state with another entry there, or without it."""
    state = copy.deepcopy(state)
    owner = state
    for key in path[:-1]:
        owner = owner[key]
    if value is GONE:
        del owner[path[-1]]
    else:
        owner[path[-1]] = value
    return state


@pytest.fixture
def state(run: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """That of a run of four updates, the last of them not in a record yet."""
    assert run(*ADAM, "--updates", "4", "--log-every", "3") == 0
    capsys.readouterr()
    found = nn.Checkpoints("out").load()
    assert found is not None
    return found


TAMPERED: dict[str, tuple[tuple[Any, ...], Any, str]] = {
    "an unknown field of a step": (("run", "infos", 0, "speed"), 1.0, "run/infos/0 has 'speed', which no step has"),
    "a field of a step that is gone": (("run", "infos", 0, "loss"), GONE, "run/infos/0/loss is missing"),
    "a text for a loss": (("run", "infos", 0, "loss"), "low", "run/infos/0/loss is 'low', expected a number"),
    "a number for steps": (("run", "infos"), 3, "run/infos is 3, expected a list"),
    "a text for an update": (("run", "update"), "4", "run/update is '4', expected a whole number ≥ 0"),
    "an update below zero": (("run", "update"), -1, "run/update is -1, expected a whole number ≥ 0"),
    "no seconds": (("run", "seconds"), None, "run/seconds is None, expected a number of seconds"),
    "infinite seconds": (("run", "seconds"), float("inf"), "run/seconds is inf, expected a number of seconds"),
    "a number for an end": (("run", "end"), 3, "run/end is 3, expected a text"),
    "a record that is a list": (("run", "records", 1), [], "run/records/1 is [], expected a dict"),
    "a record with a text": (("run", "records", 1, "seconds"), "x", "run/records/1/seconds is 'x', expected a number"),
    "a record with a list": (("run", "records", 0, "error"), [1], "run/records/0/error is [1], expected a number or"),
    "no records": (("run", "records"), [], "run/records is empty"),
    "a best that is a text": (("run", "best"), "x", "run/best is 'x', expected a dict or null"),
    "half a best": (("run", "best"), {"value": 1.0}, "run/best/update is missing"),
    "a model that is a list": (("run", "model"), [1], "run/model is [1], expected a dict"),
    "an array that is gone": (("run", "model", "0.weight"), GONE, "the state lacks '0.weight'"),
    "an array that is a text": (("run", "model", "0.weight"), "x", "'0.weight' of the state must be an array, not str"),
    "an optimizer's count below zero": (("run", "optimizer", "k"), -3, "state['k'] must be a finite number"),
    "no batches": (("batches",), GONE, "batches is missing"),
    "a place that is a text": (("batches", "place"), "x", "batches: place of the state is 'x', no place in the data"),
    "a place beyond the data": (("batches", "place"), 10**6, "batches: place of the state is 1000000, no place in"),
    "another generator": (("batches", "rng"), {"bit_generator": "x"}, "the state has an rng that is no PCG64"),
    "a text for a seed": (("config", "seed"), "x", "seed is 'x', expected a whole number"),
    "a list for hyper-parameters": (("config", "hyper"), [], "of another program, or of another version"),
    "an array for a seed": (("config", "seed"), np.ones(2), "expected a dict of numbers and texts"),
    "half a case": (("config", "hyper", "batch"), 2.5, "batch is 2.5, expected a whole number > 0"),
    "no record ever": (("config", "log_every"), 0, "--log-every 0 is below 1"),
    "data that are not there": (("config", "data"), "x", "is not one of this program: KeyError('x')"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_tampered_state_is_refused_in_one_line(
    run: Any, state: dict[str, Any], capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """The checksum fits: it was written so."""
    path, value, told = TAMPERED[name]
    checkpoints = nn.Checkpoints("out")
    checkpoints.remove()
    checkpoints.save(changed(state, path, value))
    arguments = ["--out", "out"] if path[0] == "config" else ADAM
    with pytest.raises(SystemExit) as ended:
        run(*arguments, "--resume")
    assert ended.value.code == 2
    assert told in capsys.readouterr().err.splitlines()[-1]  # after the progress bar


def test_any_change_is_refused_in_one_line_or_harmless(
    run: Any, state: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rng, checkpoints = random.Random(0), nn.Checkpoints("out")
    places = list(paths(state))
    codes = []
    for _ in range(120):
        checkpoints.remove()
        checkpoints.save(changed(state, rng.choice(places), rng.choice([*VALUES, GONE])))
        try:
            code = run("--out", "out", "--resume", "--updates", "5")
        except SystemExit as end:
            code = end.code
        told = capsys.readouterr().err
        assert "Traceback" not in told
        assert code in (0, 1, 2)
        codes.append(code)
    assert codes.count(2) > 60


def test_train_has_one_error_for_states(state: dict[str, Any], autoencoder: Any) -> None:
    from optim import StateDoesNotFit

    config = autoencoder.Config(**state["config"])
    optimizer, data = autoencoder.build(config), autoencoder.load(config)
    for path, value, _ in TAMPERED.values():
        if path[0] != "config":
            with pytest.raises(StateDoesNotFit, match="the state does not fit"):
                autoencoder.train(config, optimizer, data, state=changed(state, path, value), checkpoints=None)


FILES = {
    "metrics.jsonl": [b"[1]\n", b'"a"\n', b"{\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"seconds": "x"}\n', b"{}\n"],
    "config.json": [b"[1]", b'"a"', b"{", b"\xff", b"[" * 100_000, b'{"seed": "x"}', b'{"unknown": 1}', b"", b"null"],
}


@pytest.mark.parametrize("name", FILES)
def test_damaged_records_and_configs(refused: Any, state: dict[str, Any], name: str) -> None:
    from runner.report import read_json, read_records

    from optim import StateDoesNotFit

    path, rng = pathlib.Path("out", name), random.Random(0)
    whole = path.read_bytes()
    for content in FILES[name]:
        path.write_bytes(content)
        assert refused("--draw", "--out", "out").count("\n") == 1
    for key in ("seconds", "update") if name == "metrics.jsonl" else ():
        first = json.loads(whole.splitlines()[0])
        lines = (first, {k: v for k, v in first.items() if k != key})
        path.write_text("".join(json.dumps(record) + "\n" for record in lines))
        with pytest.raises(StateDoesNotFit, match=f"line 2: {key} is missing"):
            read_records(path)
    for _ in range(200):
        k = rng.randrange(len(whole))
        path.write_bytes(whole[:k] + bytes([rng.randrange(256)]) + whole[k + rng.randrange(2) :])
        try:
            read_records(path) if name == "metrics.jsonl" else read_json(path)
        except StateDoesNotFit as problem:
            told = str(problem)
        else:
            continue
        assert name in told
