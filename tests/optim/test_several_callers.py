"""Threads of the user's that take gradients and products at the same time, and processes that are forked meanwhile."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

import nn
import optim
from optim.problem import blas, threads
from optim.problem.threads import Crew

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
SETUPS = [{"shards": 1}, {"shards": 3, "threads": 3}, {"shards": 4, "threads": 2, "cases_in_memory": 5}]


def blas_threads():
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def blas_is_left_alone():
    before = blas_threads()
    yield
    assert blas_threads() == before
    assert not blas._held


class Loss:
    """½ mean (z − t)², a mean over cases; calls `meanwhile` first."""

    mean_over_cases = True

    def __init__(self, meanwhile=lambda: None):
        self.meanwhile = meanwhile

    def __call__(self, z, t):
        self.meanwhile()
        return np.mean((z - t) ** 2) / 2


X, T = np.random.default_rng(1).normal(size=(20, 4)), np.random.default_rng(2).normal(size=(20, 2))


def objective(loss, setup, seed=0):
    model = nn.Linear(4, 2, rng=np.random.default_rng(seed), dtype=np.float64)
    return optim.Objective(model, loss, **setup)


def on_a_thread(call):
    """call() on another thread; fails if it hangs."""
    found = []
    thread = threading.Thread(target=lambda: found.append(call()), daemon=True)
    thread.start()
    thread.join(20)
    assert found
    return found[0]


def exit_code_of_a_child(call):
    """Forks; the child's exit code is 0 if call() returns something true before it is killed."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            os._exit(0 if call() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


CALLS = {
    "gradient": lambda f: f.quadratic(X, T).gradient,
    "value": lambda f: np.array(f.value(X, T)),
    "value_and_gradient": lambda f: f.value_and_gradient(X, T)[1],
    "ggn": lambda f: f.quadratic(X, T).ggn @ np.ones(f.size),
    "hessian": lambda f: f.quadratic(X, T).hessian @ np.ones(f.size),
}


@pytest.mark.parametrize("setup", SETUPS, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_callers_do_not_wait_for_each_other(name, setup):
    """Every loss waits until that of all the others is called."""
    n, call = 6, CALLS[name]
    right = [call(objective(Loss(), setup, seed)) for seed in range(n)]
    found, meet = [None] * n, threading.Barrier(n, timeout=20)
    once = threading.local()

    def wait():
        if not hasattr(once, "met") and threading.current_thread().name.startswith("user"):
            once.met = True
            meet.wait()

    def user(k):
        found[k] = call(objective(Loss(wait), setup, k))

    users = [threading.Thread(target=user, args=(k,), name=f"user {k}", daemon=True) for k in range(n)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(30)
    for ours, theirs in zip(right, found, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("setup", SETUPS, ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_a_loss_may_wait_for_a_thread_that_takes_a_gradient(name, setup):
    inner = objective(Loss(), setup, 1)
    right = inner.quadratic(X, T).gradient

    def wait():
        np.testing.assert_array_equal(on_a_thread(lambda: inner.quadratic(X, T).gradient), right)

    expected = CALLS[name](objective(Loss(), setup))
    np.testing.assert_array_equal(CALLS[name](objective(Loss(wait), setup)), expected)


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_a_process_forked_during_a_gradient_takes_the_same_gradient(setup):
    begun, go_on, main = threading.Event(), threading.Event(), os.getpid()
    loss, before = Loss(), blas_threads()
    f = objective(loss, setup)
    q = f.quadratic(X, T)

    def wait():
        if os.getpid() == main:
            begun.set()
            go_on.wait(20)

    loss.meanwhile = wait
    right = objective(Loss(), setup).quadratic(X, T).gradient
    thread = threading.Thread(target=lambda: q.gradient, daemon=True)
    thread.start()
    assert begun.wait(20)

    def child():
        same = np.array_equal(q.gradient, right) and np.array_equal(f.quadratic(X, T).gradient, right)
        return same and blas_threads() == before and Crew(3).run(lambda k: k, 4) == [0, 1, 2, 3]

    assert exit_code_of_a_child(child) == 0
    go_on.set()
    thread.join(20)
    np.testing.assert_array_equal(q.gradient, right)


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("forking", [0, 1])
def test_a_process_forked_in_a_task(forking):
    """Its other tasks' threads are not in the child: it says so where it would wait for them for ever."""
    codes, forked = [], threading.Event()

    def task(k):
        if k != forking:
            forked.wait(20)  # so that it is not over by then
        elif not codes:
            codes.append(None)
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                if forking == 1:  # the run is not the child's: it uses crews of its own and ends
                    os._exit(0 if blas_threads() == before and Crew(2).run(lambda j: j, 2) == [0, 1] else 3)
                return os.getpid()
            forked.set()
            codes[0] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return k

    parent, before = os.getpid(), blas_threads()
    try:
        found = Crew(2).run(task, 2)
    except RuntimeError as error:
        if os.getpid() != parent:
            own = Crew(2).run(lambda k: k, 2) == [0, 1] and blas_threads() == before
            os._exit(0 if "forked" in str(error) and own else 4)
        raise
    if os.getpid() != parent:
        os._exit(5)
    assert found == [0, 1]
    assert codes == [0]


class ByThread:
    """A library with a number of threads for each thread, such as MKL, as threadpoolctl shows it."""

    user_api, internal_api, threading_layer = "blas", "mkl", "intel"

    def __init__(self):
        self.local = threading.local()

    def get_num_threads(self):
        return getattr(self.local, "n", 8)

    def set_num_threads(self, n):
        self.local.n = n


def test_libraries_with_a_number_for_each_thread(monkeypatch):
    library = blas.Library(ByThread())
    monkeypatch.setattr(blas, "_libraries", lambda: [library])
    monkeypatch.setattr(threads, "_threads", threads._Threads())
    counts = Crew(3).run(lambda k: library.count(), 6)
    meet = threading.Barrier(2, timeout=20)

    def user():
        counts.extend(Crew(2).run(lambda k: (library.count(), meet.wait() if k == 0 else None)[0], 2))
        return library.count()

    found = []
    users = [threading.Thread(target=lambda: found.append(user()), daemon=True) for _ in range(2)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(20)
    assert found == [8, 8]
    assert library.count() == 8
    assert counts == len(counts) * [1]
