"""Test settings: one hypothesis profile, the same examples in every run."""

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
