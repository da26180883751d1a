"""g++ in the place of NVRTC: each source of CuPy becomes a shared library with one entry for each kernel in it."""

import functools
import hashlib
import importlib.util
import os
import pathlib
import re
import subprocess
from collections.abc import Sequence
from typing import Any

from cupy_on_host import cache

KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')
COMPILE = ["g++", "-std=c++17", "-O1", "-w", "-fPIC"]
OF_XSF = re.compile(r"= xsf::(\w+)\(in0((?:, in\d)*)\)")
OF_XSF_WITH_TWO = re.compile(r"xsf::(\w+)\(in0, (\w+), (\w+)\);")
BY_STD = """#include <complex>
// xsf takes std::complex, which is thrust's for NVRTC
namespace host {
template <typename F, typename T> T by_std(F f, T x) { return f(x); }
template <typename F, typename T> complex<T> by_std(F f, complex<T> x) {
    const std::complex<T> y = f(std::complex<T>(x.real(), x.imag()));
    return complex<T>(y.real(), y.imag());
}
template <typename F, typename T> void two_by_std(F f, T x, T& a, T& b) { f(x, a, b); }
template <typename F, typename T> void two_by_std(F f, complex<T> x, complex<T>& a, complex<T>& b) {
    std::complex<T> c, d;
    f(std::complex<T>(x.real(), x.imag()), c, d);
    a = complex<T>(c.real(), c.imag());
    b = complex<T>(d.real(), d.imag());
}
}
"""
HEADERS = ("host_cuda.h", "host_threads.h", "host_math.h", "host_half.h")


def compile_for_host(
    source: str,
    options: Sequence[str] = (),
    arch: Any = None,
    filename: str = "",
    names: Any = None,
    *_: Any,
    **__: Any,
) -> tuple[bytes, dict[str, str]]:
    """The path of the shared library, where NVRTC returns a binary, and CuPy's map of names."""
    text = _prelude(source) + _entries(*_for_the_host(source))
    flags = [o for o in options if o.startswith(("-D", "-I")) and "std" not in o]
    key = hashlib.sha256("\n".join([text, *flags, *COMPILE, _headers_text()]).encode()).hexdigest()[:24]
    path = cache.FOLDER / f"{key}.so"
    if not path.exists():
        _compile(text, flags, path)
    return str(path).encode(), {n: n for n in names or ()}


def _compile(text: str, flags: list[str], path: pathlib.Path) -> None:
    with cache.appearing(path) as made:
        cpp = made.with_suffix(".cpp")
        cpp.write_text(text)
        command = [*COMPILE, "-shared", "-I", str(_precompiled()), *_include_flags(), *flags, str(cpp), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"cupy_on_host: g++ refuses a kernel:\n{done.stderr[:2000]}\n{text}")


# -- headers ---------------------------------------------------------------------------------------------------------


def _prelude(source: str) -> str:
    """The first line of a source. CuPy's JIT defines macros that change CuPy's headers, so it includes them itself."""
    includes = '#include "host_cuda.h"\n' if "CUPY_JIT_MODE" in source else '#include "host_cupy.h"\n'
    return includes + (BY_STD if OF_XSF.search(source) or OF_XSF_WITH_TWO.search(source) else "")


@functools.cache
def _headers_text() -> str:
    return "".join((cache.SOURCES / name).read_text() for name in HEADERS)


@functools.cache
def _precompiled() -> pathlib.Path:
    """The folder with host_cupy.h, compiled once: a kernel then takes a third of the time."""
    key = hashlib.sha256("\n".join([_headers_text(), *COMPILE, *_include_flags()]).encode()).hexdigest()[:24]
    folder = cache.FOLDER / f"headers-{key}"
    folder.mkdir(exist_ok=True)
    for name in (*HEADERS, "host_cupy.h"):
        if not (folder / name).exists():
            with cache.appearing(folder / name) as made:
                made.write_text((cache.SOURCES / name).read_text())
    compiled = folder / "host_cupy.h.gch"
    if not compiled.exists():
        with cache.appearing(compiled) as made:
            command = [*COMPILE, "-x", "c++-header", *_include_flags(), str(folder / "host_cupy.h"), "-o", str(made)]
            subprocess.run(command, check=True)
    return folder


@functools.cache
def _include_flags() -> tuple[str, ...]:
    """The folders of CuPy's headers and of cuda_runtime_api.h, from the wheel nvidia-cuda-runtime or $CUDA_PATH."""
    spec = importlib.util.find_spec("cupy")
    cupy = pathlib.Path(spec.origin).parent / "_core" / "include"
    nvidia = importlib.util.find_spec("nvidia")
    places = nvidia.submodule_search_locations if nvidia is not None else ()
    cuda = [folder for place in places for folder in pathlib.Path(place).glob("*/include")]
    cuda += [pathlib.Path(os.environ["CUDA_PATH"]) / "include"] if "CUDA_PATH" in os.environ else []
    cuda = [folder for folder in cuda if (folder / "cuda_runtime_api.h").exists()][:1]
    if not cuda:
        raise ImportError("cupy_on_host needs CUDA's headers: install nvidia-cuda-runtime and nvidia-cuda-crt")
    cccl = cupy / "cupy" / "_cccl"
    return tuple(f"-I{folder}" for folder in (cupy, *cuda, cccl / "libcudacxx", cccl / "thrust"))


# -- sources ---------------------------------------------------------------------------------------------------------


def _for_the_host(source: str) -> tuple[str, bool, bool]:
    """The source as C++ of the host, whether one thread does all of its work, whether its threads wait for others."""
    source = OF_XSF.sub(r"= host::by_std([=](auto z) { return xsf::\1(z\2); }, in0)", source)
    source = OF_XSF_WITH_TWO.sub(
        r"host::two_by_std([](auto z, auto& a, auto& b) { xsf::\1(z, a, b); }, in0, \2, \3);", source
    )
    source = re.sub(r"__constant__ double (M_\w+)", r"\n#undef \1\n__constant__ double \1", source)
    source = re.sub(r"extern\s+__shared__\s+([^;]+?)\s+(\w+)\[\]", r"static \1 \2[1 << 14]", source)
    if re.search(r"(IndexT|int) _J_stride", source):
        return _reduction_by_one_thread(source), True, False
    waiting = "__sync" in source or "_sync(" in source
    return source, "CUPY_FOR" in source and not waiting, waiting


def _reduction_by_one_thread(source: str) -> str:
    """CuPy's reduction with blocks of one thread, which then has nobody to wait for."""
    source = re.sub(r"_sdata_raw\[\d+ \*", "_sdata_raw[1 *", source)
    source = re.sub(r"(_J_stride = )\d+ >>", r"\g<1>1 >>", source)
    source = re.sub(r"_block = \d+ / 2", "_block = 0", source)

    def with_a_stride_of_one(signature: re.Match[str]) -> str:
        head, parameters, brace = signature.groups()
        renamed = parameters.replace("_block_stride", "_block_stride_given")
        return f"{head}{renamed}{brace}const int _block_stride = 1;"

    return re.sub(r'(extern "C" __global__ void \w+\()(.*?)(\) \{)', with_a_stride_of_one, source, count=1, flags=re.S)


def _entries(source: str, by_one_thread: bool, waiting: bool) -> str:
    """The source, and for each kernel in it a function that takes CUDA's array of pointers to the arguments."""
    how = f"{str(by_one_thread).lower()}, {str(waiting).lower()}"
    entries = [
        f"static void body_of_{name}(void** arguments) {{ host::call({name}, arguments); }}\n"
        f'extern "C" void entry_{name}(void** arguments, const unsigned* dims) '
        f"{{ host::run(body_of_{name}, arguments, dims, {how}); }}\n"
        for name in KERNEL.findall(source)
    ]
    return source + "\n" + "".join(entries)
