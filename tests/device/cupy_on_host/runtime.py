"""Python functions in the place of the CUDA runtime and driver: memory is the host's, and all work is done at once."""

from __future__ import annotations

import ctypes
import re
import types
from collections.abc import Callable
from typing import Any

from cupy_on_host import cache, compiler, count, libraries

python = ctypes.pythonapi
python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = ctypes.c_char_p, [ctypes.py_object]
python.PyCapsule_New.restype = ctypes.py_object
python.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
libc = ctypes.CDLL(None)
libc.aligned_alloc.restype, libc.aligned_alloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

HANDLE = 16  # of streams, events and contexts, which are never looked at
CUDA_VERSION = 13000
GIB = 1 << 30
DIRECTIONS = {1: "copies_to_device", 2: "copies_to_host", 3: "copies_on_device"}
ATTRIBUTES = {1: 1024, 8: 49152, 10: 32, 16: 132, 75: 9, 76: 0, 115: 0}  # of a device, by CUDA's numbers
PROPERTIES = {
    "name": b"the host's memory",
    "totalGlobalMem": 8 * GIB,
    "major": 9,
    "minor": 0,
    "multiProcessorCount": 132,
    "warpSize": 32,
    "maxThreadsPerBlock": 1024,
    "sharedMemPerBlock": 49152,
}
kept: list[Any] = []  # callbacks that C code points to, for as long as the process lives


# -- replacing functions ---------------------------------------------------------------------------------------------

C_TYPES = {
    "int": ctypes.c_int,
    "intptr_t": ctypes.c_ssize_t,
    "size_t": ctypes.c_size_t,
    "unsigned int": ctypes.c_uint,
    "PyObject *": ctypes.py_object,
    "uintmax_t": ctypes.c_uint64,
    "float": ctypes.c_float,
    "void": None,
    "cudaMemcpyKind": ctypes.c_int,
}


def replace(module: Any, name: str, f: Callable[..., Any]) -> None:
    """Puts f in the place of a function of a Cython module, for callers in Python and for those in other modules.

    Cython's modules find each other's C functions in `__pyx_capi__`, when they are imported: a name there is a capsule
    that holds the pointer, and is called like the signature.
    """
    capsule = module.__pyx_capi__.get(name)
    setattr(module, name, f)
    if capsule is None:
        return
    signature = python.PyCapsule_GetName(capsule).decode()
    returned, listed = re.match(r"(.*?)\s*\((.*)\)$", signature).groups()
    arguments = [a.replace(" __pyx_skip_dispatch", "") for a in re.split(r",\s*", listed) if a != "void"]
    # Cython's own arguments come last: which optional ones are given, and the switch of a cpdef function
    n = sum("__pyx_" not in a or a.startswith("struct __pyx_obj") for a in re.split(r",\s*", listed) if a != "void")
    restype = _c_type(returned)

    def call(*args: Any) -> Any:
        y = f(*args[:n])
        return 0 if y is None and restype is not ctypes.py_object else y

    pointer = ctypes.PYFUNCTYPE(restype, *map(_c_type, arguments))(call)
    text = ctypes.create_string_buffer(signature.encode())
    kept.append((pointer, text))
    address = ctypes.cast(pointer, ctypes.c_void_p)
    module.__pyx_capi__[name] = python.PyCapsule_New(address, ctypes.cast(text, ctypes.c_char_p), None)


def _c_type(name: str) -> Any:
    return C_TYPES.get(name, ctypes.c_void_p)


def _refuse_the_rest(module: Any) -> None:
    """Functions that nothing stands in for raise an error, rather than call a library that does nothing."""
    for name, capsule in list(module.__pyx_capi__.items()):
        signature = python.PyCapsule_GetName(capsule).decode()
        is_function = "(" in signature and not signature.startswith(("cuda", "struct"))
        if is_function and name not in ("check_status", "_getCUDAMajorVersion", "get_build_version"):

            def missing(*args: Any, name: str = name) -> None:
                raise RuntimeError(f"cupy_on_host: nothing stands in for {name}")

            replace(module, name, missing)


# -- memory ----------------------------------------------------------------------------------------------------------


def _aligned(size: int) -> int:
    return libc.aligned_alloc(512, -(-max(size, 1) // 512) * 512)


def _malloc(size: int) -> int:
    count.note("pool_growths")
    return _aligned(size)


def _copy(to: int, source: int, size: int, kind: int, *stream: int) -> None:
    count.note(DIRECTIONS.get(kind, "copies_on_device"))
    ctypes.memmove(to, source, size)


def _fill(to: int, value: int, size: int, *stream: int) -> None:
    count.note("fills")
    ctypes.memset(to, value, size)


def _wait(*which: int) -> None:
    count.note("waits")


def _count_allocations(cupy: Any) -> None:
    """Counts what is taken from CuPy's pool, and makes what has not been written yet NaN."""
    pool = cupy.get_default_memory_pool()

    def allocate(size: int) -> Any:
        memory = pool.malloc(size)
        if size:
            count.note("allocations")
            ctypes.memset(memory.ptr, 0xFF, size)
        return memory

    cupy.cuda.set_allocator(allocate)


# -- kernels ---------------------------------------------------------------------------------------------------------

_modules: list[Any] = []
_functions: list[tuple[Any, str]] = []


def _load(path: bytes) -> int:
    _modules.append(ctypes.PyDLL(bytes(path).decode()))  # holds Python's lock: the kernels' variables are global
    return len(_modules)


def _function(module: int, name: str) -> int:
    entry = getattr(_modules[module - 1], f"entry_{name}")
    entry.argtypes, entry.restype = [ctypes.c_void_p, ctypes.c_void_p], None
    _functions.append((entry, name))
    return len(_functions)


def _launch(f: int, *rest: int) -> None:
    grid_and_block, arguments = rest[:6], rest[8]  # between them: shared memory, stream
    entry, name = _functions[f - 1]
    count.note("launches", name)
    entry(arguments, (ctypes.c_uint * 6)(*grid_and_block))


# -- all of it -------------------------------------------------------------------------------------------------------


def _nothing(*args: Any) -> None:
    """Stands in for a function without effect on the host."""


def _always(value: Any) -> Callable[..., Any]:
    return lambda *args: value


RUNTIME: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("_ensure_context", "setDevice", "streamWaitEvent", "eventRecord", "eventDestroy"), _nothing),
    **dict.fromkeys(("profilerStart", "profilerStop", "streamDestroy", "eventQuery", "streamQuery"), _nothing),
    **dict.fromkeys(("_deviceEnsurePeerAccess", "deviceEnablePeerAccess", "deviceSetLimit"), _nothing),
    **dict.fromkeys(("deviceSynchronize", "streamSynchronize", "eventSynchronize"), _wait),
    **dict.fromkeys(("driverGetVersion", "runtimeGetVersion", "_getLocalRuntimeVersion"), _always(CUDA_VERSION)),
    **dict.fromkeys(("eventCreate", "eventCreateWithFlags", "streamCreate", "streamCreateWithFlags"), _always(HANDLE)),
    "getDevice": _always(0),
    "getDeviceCount": _always(1),
    "deviceCanAccessPeer": _always(0),
    "streamIsCapturing": _always(0),
    "memGetInfo": _always((8 * GIB, 8 * GIB)),
    "deviceGetAttribute": lambda which, device: ATTRIBUTES.get(which, 1024),
    "getDeviceProperties": lambda device: dict(PROPERTIES),
    "pointerGetMemoryType": _always(2),
    "malloc": _malloc,
    "hostAlloc": lambda size, flags: _aligned(size),
    "free": lambda pointer: libc.free(pointer),
    "freeHost": lambda pointer: libc.free(pointer),
    "memcpy": _copy,
    "memcpyAsync": _copy,
    "memset": _fill,
    "memsetAsync": _fill,
}
DRIVER: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(("moduleUnload", "funcSetAttribute"), _nothing),
    "moduleLoadData": _load,
    "moduleGetFunction": _function,
    "launchKernel": _launch,
    "occupancyMaxActiveBlocksPerMultiprocessor": _always(2),
    "funcGetAttribute": _always(1024),
    "ctxGetCurrent": _always(HANDLE),
    "ctxGetDevice": _always(0),
}


def install() -> None:
    """Puts everything in place and imports CuPy."""
    cache.prepare()
    _load_libraries()
    from cupy_backends.cuda.api import driver, runtime

    for module, functions in ((runtime, RUNTIME), (driver, DRIVER)):
        _refuse_the_rest(module)
        for name, f in functions.items():
            replace(module, name, f)

    import cupy.cuda.compiler as nvrtc

    nvrtc._get_nvrtc_version = lambda: (13, 0)
    nvrtc._preprocess = lambda *args, **options: ""
    nvrtc._compile_using_nvrtc_no_warning = nvrtc.compile_using_nvrtc = compiler.compile_for_host
    import cupy

    _count_allocations(cupy)


def _load_libraries() -> None:
    """Loads the stand-ins of CUDA's libraries, so that the dynamic linker finds them by name for CuPy's modules."""
    loaded = {n: ctypes.CDLL(str(p), mode=ctypes.RTLD_GLOBAL) for n, p in sorted(libraries.build().items())}

    def find(name: str) -> Any:
        file = next(n for n in loaded if n.startswith(f"lib{name}.so"))
        return types.SimpleNamespace(_handle_uint=loaded[file]._handle, abs_path=file, found_via="cupy_on_host")

    import cuda.pathfinder

    cuda.pathfinder.load_nvidia_dynamic_lib = find
    cublas = next(library for name, library in loaded.items() if name.startswith("libcublas.so"))
    called = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(lambda name: count.note("products", name.decode()))
    kept.append(called)
    ctypes.c_void_p.in_dll(cublas, "host_cublas_called").value = ctypes.cast(called, ctypes.c_void_p).value
