"""The choice of the BLAS kernel, and `show_config`, which prints it.

This file is imported before NumPy (see `rmad/__init__.py`), because OpenBLAS reads OPENBLAS_CORETYPE
only once, when NumPy loads it. Hence it imports only os and sys at the top.

NumPy's OpenBLAS picks its kernels from a table of CPU models. A CPU newer than the table gets the
AVX2 kernels, at about half the speed of the AVX-512 ones (measured on Zen 5: 256 against 494 GFLOP/s).
On such a CPU, and on no other, `select_kernel` names the kernel itself. See docs/decisions.md.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing.TYPE_CHECKING without its import
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

__all__ = ["select_kernel", "show_config"]

VARIABLE = "OPENBLAS_CORETYPE"
SWITCH = "RMAD_BLAS_KERNEL"
KERNEL = "SkylakeX"
AVX512 = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"})  # those that the kernel is compiled for
AVX512_KERNELS = frozenset({"skylakex", "cooperlake", "sapphirerapids"})


def read_cpuinfo() -> str:
    """The first processor's part of /proc/cpuinfo; empty on systems without it (macOS, Windows)."""
    try:
        fd = os.open("/proc/cpuinfo", os.O_RDONLY)
    except OSError:
        return ""
    try:  # one bounded read: the kernel makes the text per core as it is read, and 256 cores take long
        return os.read(fd, 8192).decode("utf-8", "replace").partition("\n\n")[0]
    except OSError:
        return ""
    finally:
        os.close(fd)


def cpu_fields(cpuinfo: str) -> dict[str, str]:
    """The lines "name : value" of /proc/cpuinfo as a dict."""
    pairs = (line.partition(":") for line in cpuinfo.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def has_avx512(cpuinfo: str) -> bool:
    return set(cpu_fields(cpuinfo).get("flags", "").split()) >= AVX512


def select_kernel(cpuinfo: str, environ: MutableMapping[str, str], numpy_loaded: bool) -> str:
    """Sets OPENBLAS_CORETYPE in `environ` if that is safe and helps; returns a description.

    Safe and helpful means: NumPy is not loaded yet, the CPU is AMD's and reports all of AVX-512 F, DQ, BW,
    VL and CD, the variable is not set, and RMAD_BLAS_KERNEL is not "off".
    """
    if environ.get(SWITCH, "").strip().lower() == "off":
        return f"left alone: {SWITCH}=off"
    if environ.get(VARIABLE):
        return f"left alone: {VARIABLE}={environ[VARIABLE]} was set already"
    if not has_avx512(cpuinfo):
        return "left alone: no AVX-512 reported by this CPU" if cpuinfo else "left alone: no /proc/cpuinfo to ask"
    if cpu_fields(cpuinfo).get("vendor_id") != "AuthenticAMD":
        return "left alone: OpenBLAS knows the AVX-512 CPUs of this vendor"
    if numpy_loaded:
        return "left alone: NumPy was loaded before rmad"
    environ[VARIABLE] = KERNEL
    return f"{VARIABLE}={KERNEL} was set by rmad: an AMD CPU with AVX-512 ({SWITCH}=off leaves it alone)"


DONE = select_kernel(read_cpuinfo(), os.environ, "numpy" in sys.modules)
"""The effect of importing rmad on the BLAS kernel, in words."""


def advice(cpuinfo: str, library: str, kernel: str) -> str:
    """Says how to get the AVX-512 kernels if the CPU can run them and OpenBLAS does not; empty if all is well."""
    if library != "openblas" or not has_avx512(cpuinfo) or kernel.lower() in AVX512_KERNELS:
        return ""
    return (
        f"the kernel {kernel} does not use this CPU's AVX-512: import rmad before NumPy, or set {VARIABLE}={KERNEL} "
        f"before Python starts (and unset {SWITCH})"
    )


def show_config(as_dict: bool = False) -> dict[str, Any] | None:
    """Prints versions, devices, the BLAS kernel in use and its measured float32 GEMM rate. Takes about a second.

    Parameters
    ----------
    as_dict : bool, default False
        True prints nothing and returns the table.

    Returns
    -------
    table : dict or None
        Names to texts; "GEMM rate" to a number, in GFLOP/s for products of 2048 × 2048 matrices.

    Examples
    --------
    In a shell: ``python -c "import rmad; rmad.show_config()"``
    """
    table = _versions() | _hardware() | _blas()
    if as_dict:
        return table
    width = max(map(len, table))
    for name, value in table.items():
        text = "; ".join(value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {text}{' GFLOP/s (float32, 2048³)' if name == 'GEMM rate' else ''}")
    return None


def _versions() -> dict[str, Any]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import numpy as np
    import scipy
    import threadpoolctl

    from rmad.machine.backend import devices

    try:
        own = version("rmad")
    except PackageNotFoundError:  # run from a folder, not installed
        own = "not installed"
    table: dict[str, Any] = {"rmad": own, "Python": f"{platform.python_version()} on {platform.platform()}"}
    table |= {"NumPy": np.__version__, "SciPy": scipy.__version__, "threadpoolctl": threadpoolctl.__version__}
    gpus = devices()  # imports CuPy, if it is installed
    if "cupy" in sys.modules:
        table["CuPy"] = sys.modules["cupy"].__version__
    return table | {"devices": ["CPU", *gpus]}


def _hardware() -> dict[str, Any]:
    import platform

    cpuinfo = read_cpuinfo()
    model = cpu_fields(cpuinfo).get("model name") or platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    vectors = f", AVX-512: {'yes' if has_avx512(cpuinfo) else 'no'}" if cpuinfo else ""
    return {"CPU": f"{model}, {cores} usable cores{vectors}"}


def _blas() -> dict[str, Any]:
    """NumPy's BLAS library (SciPy brings one of its own), its kernel, threads and speed."""
    import threadpoolctl

    rate = _gemm_rate()  # first: only a BLAS that has been used is sure to be loaded
    libraries = [info for info in threadpoolctl.threadpool_info() if info["user_api"] == "blas"]
    libraries.sort(key=lambda info: "numpy" not in info["filepath"])
    blas = libraries[0] if libraries else {}
    library, kernel = blas.get("internal_api", "unknown"), blas.get("architecture") or "unknown"
    table: dict[str, Any] = {
        "BLAS": f"{library} {blas.get('version') or ''}".strip(),
        "BLAS kernel": kernel,
        "BLAS threads": blas.get("num_threads", "unknown"),
        "GEMM rate": rate,
        "kernel choice": DONE,
    }
    hint = advice(read_cpuinfo(), library, kernel)
    return table | {"advice": hint} if hint else table


def _gemm_rate(n: int = 2048, repeats: int = 5) -> float:
    """2n³ floating-point operations over the median time of a float32 product (n, n) @ (n, n), in GFLOP/s."""
    import statistics
    import time

    import numpy as np

    A = np.ones((n, n), np.float32)
    y = A @ A  # the first product pays for threads and pages

    def seconds() -> float:
        start = time.perf_counter()
        np.matmul(A, A, out=y)
        return time.perf_counter() - start

    return round(2 * n**3 / statistics.median(seconds() for _ in range(repeats)) / 1e9, 1)
