"""Locks that a forked process finds free, and attributes that are computed once per object."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest

import rmad
from rmad.machine.turns import in_turn, lazy, lent, turn
from rmad.tracing import handlers

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


class Thing:
    """An object with attributes that call `work`, and count their computations."""

    def __init__(self, work=lambda: None):
        self.work, self.computed = work, []

    @lazy
    def value(self):
        """A number."""
        self.computed.append(threading.get_ident())
        self.work()
        return len(self.computed)

    @lazy
    def twice(self):
        return 2 * self.value


class Plain:
    """An object with nothing but its lock."""


def at_once(*calls, seconds=10):
    """The results of the calls, each on a thread of its own; fails if they hang."""
    found = [None] * len(calls)

    def call(k):
        found[k] = calls[k]()

    threads = [threading.Thread(target=call, args=(k,), daemon=True) for k in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(seconds)
        assert not thread.is_alive()
    return found


def exit_code_of_a_child(call):
    """Forks; the child's exit code is 0 if call() returns something true before it is killed."""
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            os._exit(0 if call() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_an_attribute_is_computed_once():
    thing = Thing(lambda: time.sleep(0.05))
    assert at_once(*[lambda: thing.value] * 4) == [1] * 4
    assert len(thing.computed) == 1
    assert vars(thing)["value"] == 1  # from now on without a call
    assert thing.twice == 2
    thing.value = 7
    assert thing.value == 7


def test_attributes_of_one_object_may_use_each_other():
    assert Thing().twice == 2
    thing = Thing(lambda: time.sleep(0.01))
    assert at_once(lambda: thing.twice, lambda: thing.value, lambda: thing.twice) == [2, 1, 2]


def test_objects_do_not_wait_for_each_other():
    """functools.cached_property of Python 3.11 has one lock for all of them."""
    meet = threading.Barrier(6, timeout=10)
    assert at_once(*[lambda: Thing(meet.wait).value] * 6) == [1] * 6
    assert Thing(lambda: at_once(lambda: Thing().value)).value == 1  # one that waits for a thread that asks another


def test_after_an_error_it_is_computed_again():
    thing = Thing(lambda: 1 / (len(thing.computed) - 1))
    with pytest.raises(ZeroDivisionError):
        _ = thing.value
    assert thing.value == 2


def test_what_a_class_shows():
    assert isinstance(Thing.value, lazy)
    assert Thing.value.__doc__ == "A number."


def test_copies_have_locks_of_their_own():
    thing = Plain()
    with turn(thing):
        for twin in (copy.deepcopy(thing), pickle.loads(pickle.dumps(thing))):
            assert at_once(lambda twin=twin: turn(twin).acquire(timeout=5)) == [True]


def test_a_turn_may_be_taken_again_by_its_thread_only():
    thing = Thing()
    with turn(thing), turn(thing):
        assert at_once(lambda: turn(thing).acquire(timeout=0.05)) == [False]
    assert at_once(lambda: turn(thing).acquire(timeout=5)) == [True]


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("holder", ["attribute", "turn", "plan"])
def test_a_forked_process_does_not_wait_for_threads_that_it_lacks(holder):
    begun, go_on = threading.Event(), threading.Event()

    def hold():
        begun.set()
        go_on.wait(20)

    main = threading.get_ident()
    thing = Thing(lambda: hold() if threading.get_ident() != main else None)
    _, lin = rmad.linearize(np.sin, np.ones(3))
    work = {
        "attribute": (lambda: thing.value, lambda: thing.value),
        "turn": (lambda: turn(thing).acquire() and hold(), lambda: turn(thing).acquire(timeout=5)),
        "plan": (lambda: turn(lin).acquire() and hold(), lambda: lin.Jv(np.ones(3)).shape == (3,)),
    }[holder]
    thread = threading.Thread(target=work[0], daemon=True)
    thread.start()
    assert begun.wait(10)
    assert exit_code_of_a_child(work[1]) == 0
    go_on.set()
    thread.join(10)


@forks
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_may_fork_in_its_turn():
    thing = Thing()
    with turn(thing):
        assert exit_code_of_a_child(lambda: turn(thing).acquire(timeout=5)) == 0
    assert at_once(lambda: turn(thing).acquire(timeout=5)) == [True]


# -- public methods take turns -----------------------------------------------------------------------------------------


@in_turn
class Counter:
    """Each method adds what it was given, slowly: calls that overlap lose some."""

    def __init__(self):
        self.total, self.kept = 0, {}

    def add(self, n, times=1):
        """Adds n."""
        before = self.total
        time.sleep(0.001)
        self.total = before + n * times
        return self.total

    @property
    def next(self):
        """The total, one higher from now on."""
        return self.add(1)

    def each(self, task, threads):
        with lent(self), ThreadPoolExecutor(threads) as pool:
            return [f.result() for f in [pool.submit(copy_context().run, task, k) for k in range(threads)]]

    def _unguarded(self):
        return self.total


def test_public_methods_and_properties_take_turns():
    counter = Counter()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda k: counter.add(k, times=2) if k % 2 else counter.next, range(16)))
    assert counter.total == 2 * sum(range(1, 16, 2)) + 8
    assert Counter.add.__doc__ == "Adds n."
    assert Counter.next.__doc__ == "The total, one higher from now on."
    assert not hasattr(Counter._unguarded, "__wrapped__")


@pytest.mark.parametrize("use", [lambda c: c.add(1), lambda c: c.next], ids=["method", "property"])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_task_that_an_object_waits_for_cannot_use_it(use, threads):
    """An error, where the two would wait for each other; other objects are free, and so is this one afterwards."""
    counter, other = Counter(), Counter()
    with pytest.raises(RuntimeError, match="a task that runs for a method of a Counter uses the Counter itself"):
        counter.each(lambda k: use(counter), threads)
    assert len(counter.each(lambda k: use(other), threads)) == other.total == threads
    assert counter.add(1) == 1


def test_products_with_one_linearization_while_another_thread_plans_it():
    """A dozen products are swept on the tape as recorded, then a plan rewrites it: all give the same."""

    def f(x):
        for k in range(500):
            x = np.sin(x) + x * (0.1 / (k + 1))
        return x

    x = np.linspace(-1, 1, 3)
    one = rmad.linearize(f, x)[1]
    v = np.ones((len(x), 8)).cumsum(axis=1)
    expected = [(one.Jv(v[:, k]), one.JTu(v[:, k])) for k in range(8)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(3):
            lin = rmad.linearize(f, x)[1]
            start = threading.Barrier(8)

            def products(k, lin=lin, start=start):
                start.wait()
                return [(lin.Jv(v[:, k]), lin.JTu(v[:, k])) for _ in range(4)]

            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(products, range(8)))
            for k in range(8):
                for both in found[k]:
                    np.testing.assert_allclose(both, expected[k], rtol=1e-12)
            assert lin._plan is not None
    finally:
        sys.setswitchinterval(before)


def test_rules_that_another_thread_imports_are_waited_for(monkeypatch):
    """SciPy's ufuncs get their rules at the first call of one: on two threads at once, both find them."""

    def seldom(x):
        return x

    importing, waits = threading.Lock(), threading.Event()

    def slow_import(module):
        with importing:  # Python has such a lock for every module
            waits.set()
            time.sleep(0.05)
            handlers.HANDLERS[seldom] = lambda x: 2 * x

    monkeypatch.setattr(handlers, "DEFERRED", ["a.module.of.rules"])
    monkeypatch.setattr(handlers, "import_module", slow_import)
    monkeypatch.setattr(handlers, "HANDLERS", dict(handlers.HANDLERS))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(handlers.lookup, seldom, seldom)
        waits.wait()
        assert handlers.lookup(seldom, seldom)(3) == first.result()(3) == 6
