"""NumPy while a function is recorded: wrappers for the thread that records, NumPy's own for everybody else."""

from __future__ import annotations

import inspect
import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import types
from collections import namedtuple

import numpy as np
import pytest

import rmad
from rmad.as_written import callers, swap
from rmad.as_written.callers import made_by_user, takes_plain_arrays

X = np.array([1.0, 2.0, 3.0])
MODULES = (np, np.linalg, np.fft, math)
VECTORIZE = np.vectorize._vectorize_call
PLAIN = {name: getattr(np, name) for name in ("array", "asarray", "sum", "concatenate")}


def is_itself() -> bool:
    """True if NumPy is as it was imported."""
    return (
        all(type(module) is types.ModuleType for module in MODULES)
        and all(getattr(np, name) is f for name, f in PLAIN.items())
        and np.vectorize._vectorize_call is VECTORIZE
        and not swap._open
        and swap._here.depth == 0
    )


@pytest.fixture(autouse=True)
def numpy_as_it_was():
    assert is_itself()
    yield
    assert is_itself()


# -- taken away again ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_after_an_error(error):
    def f(x):
        assert np.array is not PLAIN["array"]
        raise error

    for run in (rmad.grad(f), rmad.jacobian(rmad.grad(f)), rmad.grad(rmad.checkpoint(f))):
        with pytest.raises(error):
            run(X)
        assert is_itself()


def test_nested_traces():
    def inner(x):
        rmad.grad(lambda z: np.sum(np.array([z[0], x[1]]) ** 2))(x)
        assert np.array is not PLAIN["array"]
        with pytest.raises(ZeroDivisionError):
            rmad.grad(lambda z: 1 / 0)(x)
        return np.array([x[0], x[1] ** 2])

    np.testing.assert_array_equal(rmad.jacobian(inner)(X), [[1, 0, 0], [0, 4, 0]])


def test_generators():
    """One that f has begun goes on with plain NumPy; one around a trace is not part of it."""

    def numbers(x):
        yield np.array([x[0]])
        yield np.array is PLAIN["array"]

    kept = []

    def f(x):
        kept.append(numbers(x))
        return np.sum(next(kept[0]))

    def gradients():
        yield rmad.grad(f)(X)
        yield rmad.grad(f)(X)

    around = gradients()
    next(around)
    assert is_itself()
    assert next(kept[0])
    around.close()


def interrupted(call, line: int) -> bool:
    """Runs call() with a KeyboardInterrupt at the line-th line of `Recording` that runs; False if there are fewer."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename != swap.__file__ or frame.f_code.co_name not in ("begin", "end", "__init__"):
            return None
        if event == "line":
            seen += 1
            if seen == line:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interrupt_at_any_point():
    line = 1
    while interrupted(lambda: rmad.grad(lambda x: np.sum(np.array([x[0]])))(X), line):
        assert is_itself(), line
        line += 1
    assert line > 10


# -- one thread records, another does not ----------------------------------------------------------------------------


def test_other_threads_have_numpys_own():
    stop, wrong, rounds = threading.Event(), [], [0]

    def other():
        while not stop.is_set():
            same = all(getattr(np, name) is f for name, f in PLAIN.items())
            a = np.array([[1.0, 2], [3, 4]])
            same &= np.vectorize(lambda x: x + 1)(a).tolist() == [[2, 3], [4, 5]] and np.r_[a[0], 3].tolist() == [
                1,
                2,
                3,
            ]
            if not same or type(a) is not np.ndarray or np.sum(a) != 10 or np.linalg.det(a) > -1.9:
                wrong.append((same, a))
            rounds[0] += 1

    threads = [threading.Thread(target=other) for _ in range(2)]
    for thread in threads:
        thread.start()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(200):
            J = rmad.jacobian(lambda x: np.array([np.sum([x[0], x[1]]), x[2] * x[0]]))(X)
            assert J.tolist() == [[1, 1, 0], [3, 0, 1]]
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for thread in threads:
            thread.join()
    assert rounds[0] > 10
    assert not wrong


def test_threads_that_record_at_the_same_time():
    results = []

    def work(n):
        for _ in range(50):
            results.append(rmad.grad(lambda x: np.sum(np.array([x[0] * n, x[1]]) ** 2))(X)[0] == 2 * n * n)
            results.append(n == 0 or np.array is PLAIN["array"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 400
    assert all(results)


# -- what others see of it -------------------------------------------------------------------------------------------


def inside(look):
    """What look() returns while a function is recorded."""
    found = []
    rmad.vjp(lambda x: (found.append(look()), x)[1], X)
    return found[0]


def test_plain_arguments_give_plain_results():
    a = inside(lambda: np.array([1.0, 2.0]))
    assert isinstance(a, np.ndarray)
    assert a.flags.owndata
    assert a.flags.writeable
    assert inside(lambda: np.asarray(X)) is X
    assert inside(lambda: np.array([1, 2], dtype="f4", ndmin=2)).tolist() == [[1, 2]]
    assert type(inside(lambda: np.sum([1, 2]))) is np.int64
    for wrong in (lambda: np.array(), lambda: np.array([1], nonsense=1), lambda: np.sum([1], axis=3)):
        with pytest.raises((TypeError, ValueError)) as plain:
            wrong()
        with pytest.raises(type(plain.value), match=re.escape(str(plain.value)[:20])):
            inside(wrong)


def test_plain_programs_give_what_they_give_outside():
    """They may hold arrays that can be written into, but compute and print the same."""

    def program():
        z, a = np.zeros(3), np.array([1.0, 2.0, 3.0])
        found = [
            np.r_[z, 3.0],
            np.c_[z, a],
            np.vectorize(lambda t: t + 1)(a),
            np.cov(a, a + 1),
            np.polyfit(a, 2 * a, 1),
        ]
        found += [np.piecewise(a, [a > 1], [5.0, lambda t: -t]), np.apply_along_axis(np.sum, 0, np.eye(2)), np.sort(a)]
        found += [
            np.linalg.inv(np.array([[2.0, 0], [0, 1]])),
            np.fromiter((k for k in range(3)), float),
            np.full(2, a[0]),
        ]
        found += [np.polynomial.polynomial.polyval(a, [1, 2.0]), math.hypot(a[0], 2), np.geomspace(1, 10, 3)]
        return [np.asarray(y).tolist() for y in found], f"{a} {a[0]:.1f} {z!s} {a!r}", np.allclose(a, a), a.tolist()

    assert inside(program) == program()


def test_wrappers_look_like_what_they_stand_for():
    assert inspect.signature(inside(lambda: np.sum)) == inspect.signature(PLAIN["sum"])
    for name, plain in PLAIN.items():
        f = inside(lambda: eval(f"np.{name}"))  # noqa: B023
        assert (f.__name__, f.__doc__, f.__module__) == (plain.__name__, plain.__doc__, plain.__module__)
        assert f.__wrapped__ is plain
        assert f([[1.0, 2.0]]).tolist() == plain([[1.0, 2.0]]).tolist()  # when nothing is recorded, too


def test_installed_packages_compare_numpys_own_functions():
    import unittest.mock

    namespace = {"np": np}
    exec(compile("same = lambda f: f is np.concatenate", unittest.mock.__file__, "exec"), namespace)
    assert inside(lambda: namespace["same"](PLAIN["concatenate"]))
    assert not inside(lambda: PLAIN["concatenate"] is np.concatenate)


def test_compiled_code_gets_numpys_own_functions():
    """np.random's generators call np.empty, and write into the memory of what they get."""

    def f(x):
        rng = np.random.default_rng(0)
        made = [
            rng.normal(size=(2, 3)),
            rng.permutation(5),
            rng.normal(np.zeros(3), np.ones(3)),
            rng.choice([1.0, 2.0], 2),
        ]
        assert all(type(a) is np.ndarray for a in made)
        assert getattr(np, "zeros") is PLAIN_ZEROS  # noqa: B009
        return np.sum(x) * made[0][0, 0]

    rmad.grad(f)(np.ones(3))


PLAIN_ZEROS = np.zeros


def test_types_and_ufuncs_are_numpys():
    names = [
        "ndarray",
        "vectorize",
        "float64",
        "sin",
        "add",
        "matmul",
        "ufunc",
        "generic",
        "pi",
        "newaxis",
        "linalg",
        "random",
    ]
    for name in names:
        assert inside(lambda: getattr(np, name)) is getattr(np, name)  # noqa: B023
    assert inside(lambda: isinstance(np.array([1.0]), np.ndarray))
    assert inside(lambda: isinstance(np, types.ModuleType))
    assert inside(lambda: vars(np)["array"]) is PLAIN["array"]
    assert inside(lambda: sorted(dir(np))) == sorted(dir(np))
    assert inside(lambda: repr(np)) == repr(np)


def test_names_that_numpy_makes_at_their_first_use():
    code = (
        "import rmad, numpy as np, sys\n"
        "rmad.vjp(lambda x: (np.random.default_rng, np.polynomial.Polynomial, np.exceptions, x)[-1], np.ones(2))\n"
        "try: rmad.vjp(lambda x: np.nonsense, np.ones(2))\n"
        "except AttributeError as error: print(error)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "module 'numpy' has no attribute 'nonsense'"


def test_functions_that_somebody_else_has_replaced(monkeypatch):
    monkeypatch.setattr(np, "sum", lambda *args: "mine")
    assert inside(lambda: np.sum(X)) == "mine"
    monkeypatch.undo()

    def replaces():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(np, "mean", "mine")
            return np.mean

    assert inside(replaces) == "mine"


def test_modules_imported_meanwhile_get_numpys_own(tmp_path, monkeypatch):
    (tmp_path / "imported_meanwhile.py").write_text("from numpy import array, sum, pi\nimport numpy as np\n")
    monkeypatch.syspath_prepend(tmp_path)

    def look():
        import imported_meanwhile

        return imported_meanwhile

    module = inside(look)
    assert (module.array, module.sum, module.pi) == (PLAIN["array"], PLAIN["sum"], np.pi)
    del sys.modules["imported_meanwhile"]


def test_compiled_code_gets_arrays_of_numpys_own():
    """A generator of np.random calls np.empty from C and writes into what it gets: anything else would be a crash."""

    def f(x):
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((2, 3)) + rng.random((2, 3)) * rng.permutation(3)
        assert type(noise) is np.ndarray
        y = np.zeros(2)
        y[0] = np.sum(x * noise)
        return y

    plain = np.random.default_rng(0)
    noise = plain.standard_normal((2, 3)) + plain.random((2, 3)) * plain.permutation(3)
    np.testing.assert_array_equal(rmad.vjp(f, np.ones((2, 3)))[1](np.array([1.0, 5.0])), noise)


def test_the_switch():
    code = (
        "import rmad, numpy as np\nplain = np.array\n"
        "rmad.vjp(lambda x: (print(np.array is plain, type(np).__name__), x)[1], np.ones(2))\n"
        "try: rmad.vjp(lambda x: np.array([x[0]]), np.ones(2))\nexcept TypeError: print('refused')"
    )
    environment = {"RMAD_AS_WRITTEN": "off", "PYTHONPATH": str(pathlib.Path(rmad.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert found.stdout.split() == ["True", "module", "refused"]


def test_a_trace_changes_few_attributes():
    """One per module, whatever the number of names."""
    assert len(swap._built()) <= 16  # of them two are of cmath and statistics


@pytest.mark.slow
def test_a_trace_costs_at_most_five_microseconds():
    def swaps(n):
        start = time.process_time()
        for _ in range(n):
            recording = swap.Recording()
            recording.begin()
            recording.end()
            recording.end()
        return (time.process_time() - start) / n

    assert min(swaps(1000) for _ in range(20)) < 5e-6


# -- whose code calls ------------------------------------------------------------------------------------------------


def test_code_of_the_user():
    here = sys._getframe()
    assert made_by_user(here)
    assert not takes_plain_arrays(here)
    frames = []
    np.vectorize(lambda a: frames.append(sys._getframe(1)) or a)(1.0)  # called by NumPy
    rmad.grad(lambda x: frames.append(sys._getframe(1)) or np.sum(x))(X)  # by rmad
    namedtuple("Pair", "a b").__new__  # noqa: B018
    list(map(frames.append, (sys._getframe(1),)))  # by pytest, which is installed
    assert len(frames) >= 3
    assert not any(made_by_user(frame) for frame in frames)
    assert takes_plain_arrays(frames[0])
    users: dict = {"sys": sys}
    exec(compile("frame = sys._getframe()", "<ipython-input-3>", "exec"), users)
    assert made_by_user(users["frame"])
    assert not callers.is_users(pathlib.__file__)
    assert not callers.is_users("<frozen importlib._bootstrap>")


# -- in a forked process ---------------------------------------------------------------------------------------------


def exit_code_of_a_child():
    """Forks; the child's exit code is 0 if it takes a gradient and then has NumPy as it was imported."""
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            right = np.array_equal(rmad.grad(lambda x: np.sum(np.array([x[0] ** 2, x[1]])))(X), [2, 1, 0])
            os._exit(0 if right and is_itself() else 1)
        except BaseException:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_another_thread_records():
    begun, forked = threading.Event(), threading.Event()

    def f(x):
        begun.set()
        assert forked.wait(60)
        return np.sum(np.array([x[0], x[1] ** 2]))

    thread = threading.Thread(target=rmad.grad(f), args=(X,))
    thread.start()
    assert begun.wait(60)
    code = exit_code_of_a_child()
    forked.set()
    thread.join()
    assert code == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_while_another_thread_begins_to_record():
    """The child has no thread that would release the lock."""
    held = threading.Event()

    def begin():
        with swap._lock:
            held.set()
            time.sleep(0.3)

    thread = threading.Thread(target=begin)
    thread.start()
    assert held.wait(60)
    assert exit_code_of_a_child() == 0
    thread.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_forked_by_the_function_that_is_recorded_goes_on_with_it():
    codes = []

    def f(x):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            os._exit(0 if np.array([x[0]]).tape is x.tape else 1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        return np.sum(np.array([x[0], x[1]]))

    np.testing.assert_array_equal(rmad.grad(f)(X), [1, 1, 0])
    assert codes == [0]
