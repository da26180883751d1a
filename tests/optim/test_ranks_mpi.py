"""Jobs under mpiexec: equal bits on all ranks, and failures that end the job. Three by default, all in .ci/run."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest

JOB = pathlib.Path(__file__).with_name("mpi_job.py")
ROOT = pathlib.Path(__file__).parents[2]
EXECUTABLE = shutil.which(
    "mpiexec", path=os.pathsep.join([str(pathlib.Path(sys.executable).parent), os.environ["PATH"]])
)
SECONDS, TO_END = 150, 10  # that a job may take, and that it may go on after a failure

pytestmark = pytest.mark.skipif(
    EXECUTABLE is None or importlib.util.find_spec("mpi4py") is None, reason="needs mpiexec and mpi4py: extra mpi"
)


def options():
    """Open MPI counts cores, and refuses root; MPICH does neither."""
    known = subprocess.run([EXECUTABLE, "--version"], capture_output=True, text=True, timeout=SECONDS).stdout
    return ["--oversubscribe", "--allow-run-as-root"] if "Open MPI" in known or "OpenRTE" in known else []


def job(size, *arguments):
    """The finished job."""
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    command = [EXECUTABLE, *options(), "-n", str(size), sys.executable, str(JOB), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, env=environment, cwd=ROOT)


FAST = "SGD", "CurveBall", "SGN", "KFAC", "KFRA", "HessianFree, automatic"


@pytest.mark.parametrize(
    ("size", "names"), [(2, FAST), *(pytest.param(n, (), marks=pytest.mark.slow) for n in (2, 3, 4))]
)
def test_all_ranks_have_the_bits_of_one_process(size, names):
    done = job(size, "equality", *names)
    assert done.returncode == 0, done.stderr
    assert f"are equal on {size} ranks" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_sums_in_the_order_of_the_library(size):
    done = job(size, "library")
    assert (done.returncode, done.stdout) == (0, f"{size} ranks\n"), done.stderr


FAILURES = {
    "sweep": ["ZeroDivisionError: in a sweep", "RankFailed: rank {rank} raised ZeroDivisionError: in a sweep"],
    "raise": ["KeyError: 'outside of a step'", "rank {rank}: ended by KeyError; the job ends"],
    "exit": ["rank {other}: rank {rank} has left its program, and this rank waits for it; the job ends"],
    "stop": ["rank {other}: rank {rank} has left its program, and this rank waits for it; the job ends"],
    "hard exit": [],  # which mpiexec itself notes
    "kill": [],
    "interrupt": ["KeyboardInterrupt"],
    "parameters": ["the ranks have different parameters: those of rank 1 are not those of rank 0"],
}


@pytest.mark.parametrize(
    ("kind", "rank"),
    [
        pytest.param(kind, rank, marks=[] if (kind, rank) in (("exit", 1), ("sweep", 0)) else pytest.mark.slow)
        for kind in FAILURES
        for rank in (0, 1)
    ],
)
def test_a_failure_ends_the_job(kind, rank):
    done = job(2, "failing", kind, rank)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    for words in FAILURES[kind]:
        assert words.format(rank=rank, other=1 - rank) in said
    assert f"end {1 - rank}" not in said
    lasted = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("failure")]
    assert time.time() - max(lasted, default=0.0) < TO_END + 1, said


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_works_on_after_the_others_is_left_alone(rank):
    done = job(2, "failing", "slow end", rank)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["end 0", "end 1"]
