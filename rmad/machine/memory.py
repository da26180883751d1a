"""Freed memory is kept by the process, so that the next step does not fault it in again.

A forward pass makes some tens of megabytes of arrays and frees them at the end of the step. glibc hands such
memory back to the kernel, and getting it again costs a page fault per 4 KiB: on a virtual machine up to ten times
the pass that then fills the array (docs/benchmarks.md). `keep_freed_memory` raises glibc's thresholds
instead. It is called when the first `optim.Objective` is made, or the first Jacobian or Hessian, whose stacks of
tangents are as large; never by an import; RMAD_MALLOC=off prevents it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

from rmad import tuning

__all__ = ["keep_freed_memory"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # <malloc.h>
MMAP_THRESHOLD = 32 << 20  # the largest that glibc takes on 64 bits


@cache
def keep_freed_memory() -> str:
    """Tells glibc to keep freed memory, once per process; returns a description."""
    if os.environ.get("RMAD_MALLOC", "").strip().lower() == "off":
        return "left alone: RMAD_MALLOC=off"
    if not sys.platform.startswith("linux"):
        return "left alone: not Linux"
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return "left alone: the C library has no mallopt"
    kept = tuning.FREED_MEMORY_KEPT
    settings = ((M_MMAP_THRESHOLD, MMAP_THRESHOLD), (M_TRIM_THRESHOLD, kept), (M_TOP_PAD, tuning.HEAP_STEP))
    if not all(mallopt(name, value) for name, value in settings):
        return "tried: the C library refused a setting"
    return f"freed memory up to {kept >> 20} MiB stays with the process (RMAD_MALLOC=off prevents it)"
