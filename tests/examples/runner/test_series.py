"""Many runs in one command: they go on, are stopped, and refuse, like single ones."""

import errno
import os
import pathlib
import signal
from typing import Any

import numpy as np
import pytest

import nn
import optim

SINE = ["--problem", "sine", "--methods", "sgn:3,sgd:0.1", "--seeds", "2", "--epochs", "2"]


@pytest.fixture(autouse=True)
def no_figures(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take seconds; test_experiments.py looks at them."""
    import comparison

    monkeypatch.setattr(comparison, "draw", lambda *arguments, **keywords: None)


def test_a_series_goes_on(
    script: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, same: Any
) -> None:
    """Stopped in its third run, update 5 of 14."""
    assert script("sgn_regression", *SINE, "--out", "whole") == 0
    count, step = 0, optim.SGD.step

    def interrupted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal count
        count += 1
        if count == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(optim.SGD, "step", interrupted)
        with pytest.raises(SystemExit) as ended:
            script("sgn_regression", *SINE, "--out", "out")
    assert ended.value.code == 128 + signal.SIGTERM
    told = capsys.readouterr().err
    assert told == (
        "sgn_regression.py: stopped by SIGTERM, at update 5 of SGD(0.1)-0; "
        "--resume continues from the checkpoints in out-sine\n"
    )
    made = 0

    def counted(self: Any, *arguments: Any, **keywords: Any) -> Any:
        nonlocal made
        made += 1
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(optim.SGD, "step", counted)
    monkeypatch.setattr(optim.SGN, "step", None)  # these runs are over
    assert script("sgn_regression", *SINE, "--out", "out", "--resume") == 0
    assert made == 9 + 14
    for folder in (tmp_path / "whole-sine").iterdir():
        a, b = (nn.Checkpoints(tmp_path / out / folder.name).load() for out in ("whole-sine", "out-sine"))
        assert a is not None
        assert b is not None
        assert same(a["run"]["model"], b["run"]["model"])


@pytest.mark.parametrize(
    ("room", "where"),
    [(0, "0/metrics.jsonl'"), (6, "1/metrics.jsonl'; --resume continues from the checkpoints in sgn-sine")],
)
def test_a_series_on_a_full_disk(
    script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], room: int, where: str
) -> None:
    calls = 0

    def fsync(file: int) -> None:
        nonlocal calls
        calls += 1
        if calls > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(SystemExit) as ended:
        script("sgn_regression", *SINE)
    assert ended.value.code == 1
    full = "sgn_regression.py: [Errno 28] No space left on device: 'sgn-sine/SGN(3)"
    assert capsys.readouterr().err == f"{full}-{where}\n"


def test_damaged_checkpoints_of_a_series(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    one = [*SINE[:3], "sgd:0.1", "--seeds", "1", "--epochs", "2"]
    assert script("sgn_regression", *one) == 0
    checkpoints = nn.Checkpoints("sgn-sine/SGD(0.1)-0")
    whole = checkpoints.load()
    assert whole is not None
    content = bytearray(checkpoints.path.read_bytes())
    content[-1] ^= 1
    checkpoints.path.write_bytes(content)
    capsys.readouterr()
    assert script("sgn_regression", *one, "--resume") == 0
    told = f"{checkpoints.path} is damaged: its checksum does not fit its content; taking {checkpoints.previous.name}\n"
    assert told in capsys.readouterr().err
    again = checkpoints.load()
    assert again is not None
    np.testing.assert_array_equal(again["run"]["model"]["0.weight"], whole["run"]["model"]["0.weight"])
    for path in (checkpoints.path, checkpoints.previous):
        path.write_bytes(b"damaged")
    with pytest.raises(SystemExit) as ended:
        script("sgn_regression", *one, "--resume")
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{checkpoints.path} is no checkpoint, or a damaged one" in told
    assert f"{checkpoints.previous} is no checkpoint, or a damaged one" in told
    assert "--resume" not in told


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("loss", "sgn-sine/SGD(0.1)-0, epoch 1: loss is missing"),
        ("seconds", "run/records/1/seconds is missing"),
        ("test", "sgn-sine/SGD(0.1)-0, epoch 1: test is missing"),
    ],
)
def test_a_record_of_a_series_without_an_entry(
    script: Any, capsys: pytest.CaptureFixture[str], entry: str, words: str
) -> None:
    """The checksum fits and the run is over, so that nothing but its records is read."""
    one = [*SINE[:3], "sgd:0.1", "--seeds", "1", "--epochs", "2"]
    assert script("sgn_regression", *one) == 0
    checkpoints = nn.Checkpoints("sgn-sine/SGD(0.1)-0")
    state = checkpoints.load()
    assert state is not None
    del state["run"]["records"][1][entry]
    checkpoints.save(state)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        script("sgn_regression", *one, "--resume")
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert words in told


def test_two_series_in_one_folder(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Other runs of the folder are nobody's business; the same run is refused."""
    with nn.Claim("sgn-sine/SGN(3)-0"):
        assert script("sgn_regression", *SINE[:3], "sgd:0.1", *SINE[4:]) == 0
        with pytest.raises(SystemExit) as ended:
            script("sgn_regression", *SINE)
    assert ended.value.code == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"sgn_regression.py: sgn-sine/SGN(3)-0 is in use by process {os.getpid()} on ")
    assert "--resume" not in told


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize(("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
@pytest.mark.parametrize("when", ["data", "figure"])
def test_a_series_ended_outside_of_its_runs(
    script: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    word: str,
    when: str,
) -> None:
    import comparison

    def killed(*arguments: Any, **keywords: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr(*((nn.data, "sine") if when == "data" else (comparison, "draw")), killed)
    with pytest.raises(SystemExit) as ended:
        script("sgn_regression", *SINE)
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err == f"sgn_regression.py: ended by {word}\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--methods", "magic:1"], "--methods magic:1: expected one of kfac, kflr, kfra"),
        (["--data", "magic"], "--data magic: expected one of curves, mnist, faces"),
        (["--methods", "adam:quick"], "--methods adam:quick: expected one of"),
        (["--methods", "kfac:magic=1"], "--methods kfac:magic=1: expected one of"),
        (["--cosine", "3", "--every", "2"], "--cosine 3 is no multiple of --every 2"),
        (["--hidden", "10,few"], "--hidden: invalid encoder value: '10,few'"),
        (["--hidden", "10,0"], "--hidden: 0 is not a finite number above zero"),
        (["--draw", "--out", "none"], "none has no records"),
    ],
)
def test_kronecker_refuses(script: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    with pytest.raises(SystemExit):
        script("kronecker", *arguments)
    assert told in capsys.readouterr().err


@pytest.fixture
def small_kronecker(script: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """kronecker.py, whose CURVES are forty cases of six numbers."""
    import kronecker

    x = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    data = nn.data.Dataset(x, None, x, None)
    monkeypatch.setitem(kronecker.SETS, "curves", (lambda: data, (6, 4, 2), nn.SigmoidCrossEntropy))
    monkeypatch.setattr(kronecker, "BATCH", 10)
    return kronecker


@pytest.mark.usefixtures("small_kronecker")
def test_kronecker(script: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], records: Any) -> None:
    common = ["--methods", "kfac,adam:1e-2", "--every", "2", "--cosine", "4", "--out", "runs"]
    assert script("kronecker", *common, "--updates", "6") == 0
    assert script("kronecker", *common, "--updates", "8", "--resume") == 0
    found = records("runs/curves-kfac")
    assert [record["update"] for record in found] == [0, 2, 4, 6, 8]
    assert [record["update"] for record in found if "cosine" in record] == [4, 8]
    assert found[-1]["objective"] < found[0]["objective"]
    assert (tmp_path / "runs" / "curves.png").stat().st_size > 1000
    with pytest.raises(SystemExit):
        script("kronecker", *common, "--updates", "8", "--resume", "--init", "glorot")
    assert "curves-kfac/checkpoint.safetensors is of a run with another hyper" in capsys.readouterr().err


def test_kronecker_tunes_first_order_methods(
    script: Any, small_kronecker: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All pairs of rates and decay periods; the best is run on, with and without short runs before."""
    common = ["--methods", "kfac:cases=1+average=0,adam", "--rates", "1e-5,1e-2", "--decays", "0,2", "--updates", "4"]
    assert script("kronecker", *common, "--out", "full") == 0
    points = ["adam-0.01", "adam-0.01-2", "adam-1e-05", "adam-1e-05-2"]
    assert sorted(path.name for path in (tmp_path / "full").glob("*/")) == [
        *(f"curves-{name}" for name in points),
        "curves-kfac-cases=1+average=0",
    ]
    assert "curves, adam: adam:0.01 of 1e-05: " in capsys.readouterr().out
    drawn = small_kronecker.curves(tmp_path / "full")["curves"]
    assert [small_kronecker.is_best(name, drawn) for name in points] == [True, False, False, False]
    assert script("kronecker", *common, "--out", "short", "--tuning-seconds", "100") == 0
    assert sorted(path.name for path in (tmp_path / "short").glob("tuning-*/")) == [
        f"tuning-curves-{name}" for name in points
    ]
    assert sorted(small_kronecker.curves(tmp_path / "short")["curves"]) == ["adam-0.01", "kfac-cases=1+average=0"]


def test_kronecker_draws_diverged_and_new_runs(
    script: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """null for NaN is never the best; a run without records yet is left out."""
    start, end = (
        '{"update": 0, "seconds": 0.0, "objective": 2.0}\n',
        '{"update": 100, "seconds": 1.0, "objective": %s}\n',
    )
    runs = {"adam-0.1": start + end % "null", "adam-0.01": start + end % "1.0", "kfac": ""}
    for method, lines in runs.items():
        (tmp_path / f"curves-{method}").mkdir()
        (tmp_path / f"curves-{method}" / "metrics.jsonl").write_text(lines)
    assert script("kronecker", "--draw", "--out", str(tmp_path)) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["| adam-0.01 | 1 |", "| adam-0.1 | – |"]
    import kronecker

    drawn = kronecker.curves(tmp_path)["curves"]
    for order in (drawn, dict(reversed(drawn.items()))):
        assert [kronecker.is_best(name, order) for name in ("adam-0.01", "adam-0.1")] == [True, False]


def test_the_table_of_kronecker(script: Any, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The last record until then; nothing where a run is shorter."""
    import json

    for method, seconds in (("kfac", 0.4), ("adam-0.01", 0.1)):
        folder = tmp_path / f"curves-{method}"
        folder.mkdir()
        records = [{"update": k, "seconds": seconds * k, "objective": 100.0 - k} for k in range(0, 201, 50)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert script("kronecker", "--draw", "--out", str(tmp_path)) == 0
    assert capsys.readouterr().out.split("\n") == [
        "",
        "| curves | 100 updates | 200 updates |",
        "|---|---|---|",
        "| adam-0.01 | 0 | -100 |",
        "| kfac | 0 | -100 |",
        "",
        "| curves | 30 s | 60 s |",
        "|---|---|---|",
        "| adam-0.01 | – | – |",
        "| kfac | 50 | -50 |",
        "",
    ]


def test_parts_of_a_killed_series_are_deleted(script: Any) -> None:
    assert script("sgn_regression", *SINE, "--out", "out") == 0
    for resume in ((), ("--resume",)):
        parts = [folder / "metrics.jsonl.1-0123abcd.part" for folder in pathlib.Path("out-sine").iterdir()]
        for part in parts:
            part.write_text("what a killed run left")
        assert script("sgn_regression", *SINE, "--out", "out", *resume) == 0
        assert not any(part.exists() for part in parts)


@pytest.mark.usefixtures("small_kronecker")
def test_records_without_what_kronecker_reads(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A checkpoint with a valid checksum, and a file of records: one line each, that names the entry."""
    common = ["--methods", "kfac", "--every", "1", "--judged", "50", "--out", "runs"]
    assert script("kronecker", *common, "--updates", "2") == 0
    checkpoints = nn.Checkpoints("runs/curves-kfac")
    state = checkpoints.load()
    assert state is not None
    del state["run"]["records"][1]["objective"]
    checkpoints.save(state)
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        script("kronecker", *common, "--updates", "3", "--resume")
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"kronecker.py: {checkpoints.path}, record 2: objective is missing\n"
    metrics = pathlib.Path("runs/curves-kfac/metrics.jsonl")
    metrics.write_text('{"update": 0, "seconds": 0.0, "objective": 2.0}\n{"update": 1, "seconds": 1.0}\n')
    with pytest.raises(SystemExit) as ended:
        script("kronecker", "--draw", "--out", "runs")
    assert ended.value.code == 1
    assert f"{metrics}, line 2: objective is missing\n" in capsys.readouterr().err
