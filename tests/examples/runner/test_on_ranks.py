"""An example under mpiexec: rank 0 writes, a signal ends all ranks, and the run continues on any number of them."""

import importlib.util
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "examples"
PATHS = os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
EXECUTABLE = shutil.which("mpiexec", path=PATHS)
SECONDS = 120  # that a job may take

on_ranks = pytest.mark.skipif(
    EXECUTABLE is None or importlib.util.find_spec("mpi4py") is None, reason="needs mpiexec and mpi4py: extra mpi"
)
SMALL = ["--data", "curves", "--n-train", "200", "--n-test", "50", "--batch", "100", "--curvature-batch", "50"]
SMALL += ["--cg-iterations", "3", "--log-every", "1", "--checkpoint-every", "0.001"]


@pytest.fixture
def begin(tmp_path, data_dir):
    """begin(ranks, *arguments): the example in a process of its own, or under mpiexec."""
    running = []

    def start(size, *arguments):
        command = [sys.executable, str(EXAMPLES / "autoencoder.py"), *SMALL, *arguments]
        command = [EXECUTABLE, "-n", str(size), *command] if size > 1 else command
        environment = os.environ | {
            "RMAD_DATA": str(data_dir),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(EXAMPLES.parent),
        }
        running.append(
            subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def ended(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def updates(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines() if (folder / "metrics.jsonl").exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def reached(folder, number):
    """Waits until there are so many records."""
    deadline = time.monotonic() + SECONDS
    while len(updates(folder)) <= number:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@on_ranks
@pytest.mark.slow
def test_the_run_of_two_ranks_is_that_of_one_process(begin, tmp_path):
    for size, name in ((1, "one"), (2, "two")):
        code, out, err = ended(begin(size, "--updates", "3", "--out", name))
        assert code == 0, err
        assert out.count("all updates are done") == 1
    one, two = (updates(tmp_path / name) for name in ("one", "two"))
    assert [record["update"] for record in two] == [record["update"] for record in one]
    assert two[-1]["train_error"] == pytest.approx(one[-1]["train_error"], rel=1e-3)
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}


@on_ranks
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "rank"), [(signal.SIGINT, 0), (signal.SIGTERM, 1), (signal.SIGKILL, 1)])
def test_a_run_that_is_ended_on_one_rank_continues_bit_for_bit(begin, tmp_path, kind, rank):
    """After a signal to one rank; on as many ranks bit for bit, and on one."""
    job = begin(2, "--updates", "500", "--out", "run")
    reached(tmp_path / "run", 2)
    children = subprocess.run(["pgrep", "-f", f"{tmp_path.name}|autoencoder.py"], capture_output=True, text=True).stdout
    ranks = {}
    for pid in map(int, children.split()):
        environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if pid != job.pid else []
        if f"PWD={tmp_path}".encode() in environment or pathlib.Path(f"/proc/{pid}/cwd").resolve() == tmp_path:
            for entry in environment:
                if entry.startswith((b"PMI_RANK=", b"OMPI_COMM_WORLD_RANK=")):
                    ranks[int(entry.partition(b"=")[2])] = pid
    os.kill(ranks[rank], kind)
    code, out, err = ended(job)
    assert code != 0, (out, err)
    if kind != signal.SIGKILL:
        assert "stopped by" in out
    at = updates(tmp_path / "run")[-1]["update"]
    shutil.copytree(tmp_path / "run", tmp_path / "again")
    for size, name in ((2, "run"), (1, "again")):
        code, out, err = ended(begin(size, "--resume", "--updates", str(at + 3), "--out", name))
        assert code == 0, err
    code, out, err = ended(begin(2, "--updates", str(at + 3), "--out", "whole"))
    assert code == 0, err
    models = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in ("run", "whole")}
    assert models["run"] == models["whole"]
    assert updates(tmp_path / "again")[-1]["update"] == at + 3


def test_a_job_is_seen_by_the_environment(example, monkeypatch):
    runner = example("runner.ranks")
    assert runner.job_size() == 1
    assert runner.is_first()
    for size, number in zip(runner.SIZES, runner.NUMBERS, strict=True):
        with monkeypatch.context() as patch:
            patch.setenv(size, "3")
            patch.setenv(number, "2")
            assert runner.job_size() == 3
            assert not runner.is_first()


def test_a_job_without_mpi4py(example, monkeypatch):
    runner = example("runner.ranks")
    runner.ranks.cache_clear()
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ModuleNotFoundError, match=r"on 2 ranks, but mpi4py is not installed: pip install"):
        runner.ranks()
    runner.ranks.cache_clear()


def test_a_series_is_of_one_process(example, monkeypatch, tmp_path, capsys):
    series = example("runner.series")
    monkeypatch.setenv("PMI_SIZE", "2")
    arguments = type("Arguments", (), {"resume": False, "checkpoint_every": 1.0, "device": "cpu", "clock": "wall"})
    with pytest.raises(SystemExit):
        series.Series("kronecker.py", tmp_path, arguments)
    assert "start it without mpiexec" in capsys.readouterr().err
