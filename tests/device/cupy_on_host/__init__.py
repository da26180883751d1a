"""The real CuPy on a machine without a GPU: it works on the host's memory, and g++ compiles its kernels.

Import this package before cupy, or pass `-p cupy_on_host` to pytest. Everything above the CUDA API is CuPy's own: the
functions that exist, their signatures, dtypes and errors, the kernels that it generates and launches, its memory pool.
Below it, Python functions stand in for the CUDA runtime and driver (`runtime`), g++ for NVRTC (`compiler`), plain loops
for cuBLAS (`libraries`, host/cublas.cpp), and NumPy for cuSOLVER, cuFFT and Thrust (`solvers`).

    with cupy_on_host.recorded() as counts:       # launches, products, copies, waits, allocations
        y = cupy.tanh(x @ w)
    with cupy_on_host.no_copies_to_host():        # AssertionError with the lines that copied
        y = cupy.tanh(x @ w)
"""

from cupy_on_host import runtime, solvers
from cupy_on_host.count import Counts, no_copies_to_host, recorded

__all__ = ["Counts", "no_copies_to_host", "recorded"]

runtime.install()
solvers.install()
