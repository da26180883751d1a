"""The threads that work on shards: order, exceptions, Ctrl-C, BLAS threads, errstate."""

from __future__ import annotations

import _thread
import os
import signal
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from optim.problem.threads import Crew, cores


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def blas_is_left_alone():
    """Whatever happens, BLAS has the threads it had."""
    before = blas_threads()
    yield
    assert blas_threads() == before


# -- order ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 8])
def test_results_come_in_the_order_of_the_tasks(threads, n):
    def task(k):
        time.sleep(0.001 * (n - k))  # the first takes longest
        return k * k

    assert Crew(threads).run(task, n) == [k * k for k in range(n)]


def test_task_k_goes_to_thread_k_mod_n():
    seen = Crew(3).run(lambda k: threading.get_ident() if not time.sleep(0.01) else None, 7)
    assert seen[0] == threading.get_ident()
    assert [seen.index(ident) for ident in seen] == [0, 1, 2, 0, 1, 2, 0]


def test_tasks_run_at_the_same_time():
    meet = threading.Barrier(2, timeout=10)
    Crew(2).run(lambda k: meet.wait(), 2)


def test_one_thread_is_the_callers():
    assert Crew(1).run(lambda k: threading.get_ident(), 3) == 3 * [threading.get_ident()]
    assert Crew(4).run(lambda k: threading.get_ident(), 1) == [threading.get_ident()]


# -- exceptions and Ctrl-C -----------------------------------------------------------------------------------


class Work:
    """Counts the tasks that are running; the task named in `fails` raises, the others take a while."""

    def __init__(self, fails, slow=0.05):
        self.fails, self.slow, self.running, self.finished, self.lock = fails, slow, 0, [], threading.Lock()

    def __call__(self, k):
        with self.lock:
            self.running += 1
        try:
            if k in self.fails:
                raise self.fails[k]
            time.sleep(self.slow)
            self.finished.append(k)
        finally:
            with self.lock:
                self.running -= 1
        return k


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("failing", [0, 1, 2])
def test_an_exception_is_raised_when_nobody_works_any_more(threads, failing):
    work = Work({failing: ValueError(f"task {failing}")})
    with pytest.raises(ValueError, match=f"task {failing}"):
        Crew(threads).run(work, 3)
    assert work.running == 0
    if threads == 3:
        assert sorted(work.finished) == sorted({0, 1, 2} - {failing})
    assert Crew(threads).run(lambda k: k, 3) == [0, 1, 2]  # the threads are still good


def test_the_first_tasks_exception_wins():
    for _ in range(5):
        work = Work({0: ValueError("first"), 1: KeyError("second"), 2: OSError("third")})
        with pytest.raises(ValueError, match="first"):
            Crew(3).run(work, 3)
        work = Work({1: KeyError("second"), 2: OSError("third")})
        with pytest.raises(KeyError, match="second"):
            Crew(3).run(work, 3)
        work = Work({1: KeyError("second"), 2: OSError("third")}, slow=0.001)
        with pytest.raises(KeyError, match="second"):
            Crew(2).run(work, 4)  # the caller's thread meets the third


def test_ctrl_c_in_the_callers_task_waits_for_the_others():
    work = Work({0: KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        Crew(3).run(work, 3)
    assert work.running == 0
    assert sorted(work.finished) == [1, 2]


def test_ctrl_c_wins_over_errors():
    work = Work({0: KeyboardInterrupt(), 1: ValueError("a thread's")})
    with pytest.raises(KeyboardInterrupt):
        Crew(3).run(work, 3)


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("interrupt", [_thread.interrupt_main, lambda: os.kill(os.getpid(), signal.SIGINT)])
@pytest.mark.parametrize("times", [1, 3])
def test_ctrl_c_while_waiting(interrupt, times):
    """The caller has done its task and waits: interrupts come, also again and again, and nobody is left behind."""
    finished = []

    def task(k):
        if k:
            for _ in range(times):
                time.sleep(0.05)
                interrupt()
            time.sleep(0.1)
            finished.append(k)

    with pytest.raises(KeyboardInterrupt):
        Crew(2).run(task, 2)
    assert finished == [1]


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_by_a_signal_in_the_callers_task():
    work = Work({})

    def task(k):
        if k == 0:
            signal.raise_signal(signal.SIGINT)
        return work(k)

    with pytest.raises(KeyboardInterrupt):
        Crew(2).run(task, 2)
    assert work.running == 0
    assert work.finished == [1]


# -- the surroundings of a task ------------------------------------------------------------------------------


def test_blas_has_one_thread_meanwhile():
    before = blas_threads()
    assert Crew(2).run(lambda k: blas_threads(), 2) == 2 * [[1] * len(before)]
    assert blas_threads() == before


def test_errstate_reaches_the_threads():
    crew, zero = Crew(3), np.zeros(1)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        crew.run(lambda k: 1 / zero if k == 1 else zero, 3)
    with np.errstate(divide="ignore"):
        crew.run(lambda k: 1 / zero, 3)  # warnings are errors here


def test_several_user_threads_share_the_crew():
    before, crew, found = blas_threads(), Crew(2), {}
    counts = []

    def user(name):
        def task(k):
            counts.append(blas_threads())
            time.sleep(0.002 * (1 + name))
            return name, k

        found[name] = [crew.run(task, 5) for _ in range(4)]

    users = [threading.Thread(target=user, args=(name,)) for name in range(4)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(20)
    assert found == {name: 4 * [[(name, k) for k in range(5)]] for name in range(4)}
    assert counts == len(counts) * [[1] * len(before)]  # also while others come and go
    assert blas_threads() == before


def test_a_task_may_use_a_crew_itself():
    """On a thread of the crew there is no other thread to wait for: it works alone."""
    result = []
    inner = lambda k: Crew(2).run(lambda j: (k, j), 3)  # noqa: E731
    user = threading.Thread(target=lambda: result.append(Crew(2).run(inner, 4)), daemon=True)
    user.start()
    user.join(20)
    assert result == [[[(k, j) for j in range(3)] for k in range(4)]]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    Crew(2).run(lambda k: k, 2)
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os._exit(0 if Crew(2).run(lambda k: k, 4) == [0, 1, 2, 3] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_cores():
    assert cores() >= 1
