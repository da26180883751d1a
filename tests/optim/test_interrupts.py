"""Ctrl-C at any place of a run leaves BLAS its threads, no task running, the parameters whole and the crews good."""

from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import threadpoolctl

import nn
import optim
import rmad
import rmad.plan
from nn import module
from optim.problem import blas, parameters, threads
from optim.problem.threads import Crew
from rmad.extend import tree

CREW = (threads.__file__, blas.__file__, threadpoolctl.__file__)


def blas_threads():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


class Interrupt:
    """with Interrupt(files, k, times): KeyboardInterrupt in place of the k-th step through the files, and the next.

    A step is a line, a call or a return, on this thread; not in a generator, which may be closed where nothing can be
    raised. `hit` says where it was.
    """

    def __init__(self, files, k, times=1):
        self.files, self.steps, self.count, self.hit = files, range(k, k + times), 0, None

    def __call__(self, frame, event, arg):
        if frame.f_code.co_filename in self.files and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            self.count += 1
            if self.count in self.steps:
                self.hit = f"{frame.f_code.co_name}, line {frame.f_lineno}, {event}"
                raise KeyboardInterrupt
            return self
        return None

    def __enter__(self):
        self.before = sys.gettrace()
        sys.settrace(self)
        return self

    def __exit__(self, *exception):
        sys.settrace(self.before)


def at_every_step(files, call, times=1, stride=1):
    """Calls call() again and again, interrupted at its first step, its second, …: yields what it returned, or None."""
    k = 0
    while True:
        k += stride
        found = None
        try:
            with Interrupt(files, k, times) as interrupt:
                found = call()
        except KeyboardInterrupt:
            pass
        yield interrupt.hit, found
        if interrupt.hit is None:
            return


@pytest.mark.parametrize("times", [1, 2, 5])
def test_every_step_of_a_run(times):
    before, running = blas_threads(), set()

    def task(k):
        running.add(k)
        time.sleep(0.0002)
        running.discard(k)
        return k

    Crew(3).run(task, 3)  # looks for the libraries
    interrupted = 0
    for hit, found in at_every_step(CREW, lambda: Crew(3).run(task, 4), times):
        assert (found is None) == (hit is not None), hit
        assert not running, hit
        assert blas_threads() == before, hit
        assert not blas._held, hit
        again = []
        user = threading.Thread(target=lambda again=again: again.append(Crew(3).run(task, 4)), daemon=True)
        user.start()
        user.join(10)
        assert again == [[0, 1, 2, 3]], hit
        interrupted += hit is not None
    assert interrupted > 100


SIGNALS = """
import os, random, signal, threading, time
import numpy as np, scipy.linalg
from threadpoolctl import threadpool_info
from optim.problem.threads import Crew

signal.signal(signal.SIGINT, signal.default_int_handler)
blas = lambda: [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
before, running, go, sent = blas(), set(), threading.Event(), threading.Event()

def send():
    while True:
        go.wait(); go.clear()
        time.sleep(random.random() * 3e-4)
        for _ in range(random.choice((1, 1, 3))):
            os.kill(os.getpid(), signal.SIGINT)
        sent.set()

def task(k):
    running.add(k); running.discard(k)
    return k

threading.Thread(target=send, daemon=True).start()
came = 0
for _ in range(N):
    sent.clear()
    try:
        try:
            go.set()
            while True:
                Crew(2).run(task, 2)
        except KeyboardInterrupt:
            came += 1
            sent.wait()
            time.sleep(1e-4)
    except KeyboardInterrupt:
        sent.wait()
    assert not running and blas() == before, (running, blas(), before)
    assert Crew(2).run(task, 2) == [0, 1]
print(came)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("n", [200, pytest.param(5000, marks=pytest.mark.slow)])
def test_signals_at_any_moment(n):
    """Real signals, in a process of their own."""
    done = subprocess.run([sys.executable, "-c", SIGNALS.replace("N)", f"{n})")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{n}\n"


def layers():
    return nn.Sequential(*[nn.Linear(2, 2, rng=np.random.default_rng(k)) for k in range(2)])


PARAMETERS = {
    "assign": ((parameters.__file__, tree.__file__), lambda model, state: changed(model)),
    "load_state_dict": ((module.__file__,), lambda model, state: model.load_state_dict(state)),
}


def changed(model):
    problem = optim.Objective(model, nn.SquaredError())
    problem.assign(np.arange(problem.size))


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_old_ones_or_the_new(name):
    files, change = PARAMETERS[name]
    model, target = layers(), layers()
    changed(target)
    old, new = [{key: a.copy() for key, a in m.state_dict().items()} for m in (model, target)]
    same = lambda a, b: all(np.array_equal(a[key], b[key]) for key in a)  # noqa: E731
    seen = set()
    for hit, _ in at_every_step(files, lambda: change(model, new)):
        now = model.state_dict()
        assert same(now, old) or same(now, new), hit
        seen.add(same(now, new))
        model.load_state_dict(old)
    assert seen == {False, True}


PLAN = [str(path) for path in pathlib.Path(rmad.plan.__file__).parent.glob("*.py")]


@pytest.mark.parametrize("name", ["Jv", "JTu"])
def test_a_product_that_is_interrupted_while_it_is_planned(name):
    """The next one is right; only a tape that is half rewritten says that it is of no more use."""
    rng = np.random.default_rng(0)
    x, W = rng.normal(size=(4, 3)), rng.normal(size=(3, 3))
    f = lambda x: np.sum(np.tanh(np.tanh(x @ W + x) @ W - x), axis=0)  # noqa: E731
    right = rmad.linearize(f, x)[1]
    v, lost, total = (x if name == "Jv" else x[0]), 0, 0
    expected = getattr(right, name)(v), right.Jv(x), right.JTu(x[0])
    fresh = [rmad.linearize(f, x)[1]]
    for hit, _ in at_every_step(PLAN, lambda: getattr(fresh[0], name)(v), stride=11):
        lin = fresh[0]
        try:
            found = getattr(lin, name)(v), lin.Jv(x), lin.JTu(x[0])
        except RuntimeError as error:
            told, lost = str(error), lost + 1
            assert "linearize the function again" in told, hit
        else:
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b, err_msg=hit)
        fresh[0], total = rmad.linearize(f, x)[1], total + 1
    assert 0 < lost < total / 4
