"""The one file that imports CuPy."""

import sys

import numpy as np
import pytest

from rmad.machine import arrays, backend


def test_on_numpy_arrays_the_backend_is_numpy() -> None:
    from scipy.sparse.linalg import LinearOperator

    x = np.ones(3)
    assert not backend.is_cupy(x)
    assert not backend.is_cupy(1.0)
    assert arrays.kind_of(x) is np
    assert backend.to_numpy(x) is x
    assert backend.linear_operator(x) is LinearOperator
    backend.synchronize(x)


def test_without_cupy_there_are_no_gpus_and_a_way_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)  # as if not installed
    with pytest.raises(ImportError, match=r"pip install 'rmad\[gpu\]'"):
        backend.import_cupy()


@pytest.mark.gpu
def test_on_cupy_arrays_the_backend_is_cupy() -> None:
    cupy = pytest.importorskip("cupy")
    x = cupy.ones(3)
    assert backend.is_cupy(x)
    assert arrays.kind_of(x) is cupy
    assert backend.linear_operator(x).__module__.startswith("cupyx")
    assert isinstance(backend.to_numpy(x), np.ndarray)
    backend.synchronize(x)
    assert backend.devices()[0].startswith("GPU 0: ")
