"""The folder for compiled libraries and kernels: $CUPY_ON_HOST_CACHE, else ~/.cache/cupy_on_host."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator

FOLDER = pathlib.Path(os.environ.get("CUPY_ON_HOST_CACHE") or pathlib.Path.home() / ".cache" / "cupy_on_host").resolve()
SOURCES = pathlib.Path(__file__).parent / "host"


def prepare() -> None:
    """Makes the folder and tells CuPy how to use it. Must run before CuPy is imported."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["CUPY_CACHE_DIR"] = str(FOLDER / "cupy")
    os.environ["CUPY_CACHE_IN_MEMORY"] = "1"  # CuPy's own cache is of no use: `compiler` has one, keyed by the text
    os.environ["CUPY_ACCELERATORS"] = ""  # the kernels of CUB and cuTENSOR are not C++ of the host


@contextlib.contextmanager
def appearing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary name for a file that appears as `path` when it is complete, even if several processes make it."""
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="making-") as folder:
        made = pathlib.Path(folder) / path.name
        yield made
        made.replace(path)
