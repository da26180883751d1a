"""Test settings: one hypothesis profile, the same examples in every run; and what the files of tests cost."""

import collections
import gc
import importlib
import os
import pathlib
import signal
import sys

import pytest
from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    max_examples=4,
    database=None,
    phases=(Phase.explicit, Phase.generate),  # the examples are small as they are: shrinking a failure takes long
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.register_profile(
    "thorough",
    parent=settings.get_profile("ci"),
    derandomize=False,
    max_examples=30,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_finish():
    """Thirteen thousand tests are a million objects, which no collection of garbage need look at again."""
    gc.collect()
    gc.freeze()
    CLOCK.lap()


class Clock:
    """lap(): CPU seconds since the last lap, of this process and of those that it waited for."""

    def __init__(self):
        self.before = 0.0

    def lap(self):
        now = sum(os.times()[:4])
        before, self.before = self.before, now
        return now - before


CLOCK = Clock()
LONG, BUDGET = 60, 10  # CPU seconds: of a run after which the costs are printed, and of a file


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    report.cpu_seconds = CLOCK.lap()  # an attribute that xdist carries to the process that prints
    return report


def pytest_terminal_summary(terminalreporter):
    """After a long run: the files that took the most CPU seconds. Wall time says little with others on the machine."""
    costs = collections.Counter()
    for report in (report for some in terminalreporter.stats.values() for report in some):
        costs[getattr(report, "nodeid", "").partition("::")[0]] += getattr(report, "cpu_seconds", 0.0)
    if costs.total() > LONG:
        terminalreporter.section(f"{costs.total():.0f} CPU seconds, {BUDGET} are meant for a file without coverage")
        for file, seconds in costs.most_common(10):
            terminalreporter.write_line(f"{seconds:6.1f} {file}")


@pytest.fixture(scope="session", autouse=True)
def plans_at_once():
    """Most tests are about plans, or go through one on their way: the first product over a short tape has one, too."""
    from rmad import tuning

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "PRODUCTS_ON_A_SHORT_TAPE", 0)
        yield


@pytest.fixture(scope="session")
def data_dir():
    """The folder with the real data sets: $RMAD_DATA, else ../shared/data next to the checkout."""
    root = pathlib.Path(__file__).resolve().parents[1]
    folder = pathlib.Path(os.environ.get("RMAD_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data: {folder} is not a folder (set RMAD_DATA)")
    return folder


@pytest.fixture(scope="session")
def refuses():
    """refuses(call, kind, message): the call raises that very kind of error, with a message that the pattern is in."""

    def check(call, kind, message):
        with pytest.raises(kind, match=message) as caught:
            call()
        assert type(caught.value) is kind

    return check


@pytest.fixture
def ctrl_c():
    """Python's own handler: a shell that starts the tests in the background has them ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """example(name): that script of examples/ as a module, in an empty folder, with a cache of its own."""
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[1] / "examples"))
    monkeypatch.setenv("RMAD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("RMAD_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    return importlib.import_module


@pytest.fixture
def command_line(monkeypatch):
    """command_line(module): its main in this process, as a function of the arguments; returns the exit code."""

    def of(module):
        def run(*arguments):
            monkeypatch.setattr(sys, "argv", [module.__file__, *arguments])
            return module.main()

        return run

    return of
