"""Shared libraries in the place of CUDA's, with every symbol that CuPy's extension modules ask for.

cuBLAS is host/cublas.cpp. Of the other libraries there are only functions that do nothing: what CuPy would call in them
is replaced further up, in `runtime` and `solvers`.
"""

import hashlib
import importlib.util
import pathlib
import re
import subprocess

from cupy_on_host import cache

CUDA = ("libcu", "libnccl", "libnv")
FAILURES = {"cublas": 15, "cufft": 16, "curand": 203, "cusolver": 9, "cusparse": 10}  # "not supported", or the like
SYSTEM = ("GLIBC", "CXX", "GCC")


def wanted() -> dict[str, set[str]]:
    """The file names of the CUDA libraries that CuPy links, each with the functions that it takes from it."""
    spec = importlib.util.find_spec("cupy")
    if spec is None or spec.origin is None:
        raise ImportError("cupy_on_host stands below CuPy: install cupy-cuda13x")
    site = pathlib.Path(spec.origin).parents[1]
    found: dict[str, set[str]] = {}
    for package in ("cupy", "cupyx", "cupy_backends"):
        for module in (site / package).rglob("*.so"):
            for library in re.findall(r"Shared library: \[(\S+)\]", _output("readelf", "-d", module)):
                if library.startswith(CUDA):
                    found.setdefault(library, set())
            for symbol, library in re.findall(r"\sU (\w+)@(\S+)", _output("nm", "-D", "--undefined-only", module)):
                if not library.startswith(SYSTEM):
                    found.setdefault(library, set()).add(symbol)
    return found


def _output(*command: object) -> str:
    return subprocess.run([str(c) for c in command], capture_output=True, text=True).stdout


def build() -> dict[str, pathlib.Path]:
    """The libraries by name; those that the cache lacks are compiled."""
    cublas = (cache.SOURCES / "cublas.cpp").read_text()
    built = {}
    for name, symbols in wanted().items():
        source = cublas if name.startswith("libcublas.so") else "#include <cstdio>\n"
        source += "\n".join(_nothing(s) for s in sorted(symbols - _defined(source)))
        key = hashlib.sha256(source.encode()).hexdigest()[:16]
        path = cache.FOLDER / f"{key}-{name}"
        if not path.exists():
            _compile(name, source, path)
        built[name] = path
    return built


def _defined(source: str) -> set[str]:
    """The functions that a source defines; those of a macro stand in a list of names in it."""
    types = re.findall(r"^FOR_EACH_TYPE\((\w+)\)", source, re.M)
    found = {f"cublas{letter}{f}" for f in types for letter in "SDCZ"}
    return found | set(re.findall(r"^(?:int|void) (cublas\w+)\(", source, re.M))


def _nothing(symbol: str) -> str:
    """A function that does nothing; one that fails, if its results would be used."""
    if re.search(r"Create(WithFlags)?$", symbol):
        return f'extern "C" int {symbol}(void** handle) {{ *handle = (void*)16; return 0; }}'
    status = next((status for library, status in FAILURES.items() if symbol.startswith(library)), None)
    if status is not None and not symbol.endswith(("Destroy", "SetStream")):
        complaint = f'fprintf(stderr, "cupy_on_host: there is no {symbol}\\n");'
        return f'extern "C" int {symbol}() {{ {complaint} return {status}; }}'
    return f'extern "C" long {symbol}() {{ return 0; }}'


def _compile(name: str, source: str, path: pathlib.Path) -> None:
    with cache.appearing(path) as made:
        cpp, versions = made.with_suffix(".cpp"), made.with_suffix(".map")
        cpp.write_text(source)
        versions.write_text(f"{name} {{ global: *; }};")
        # not -ffast-math: loading such a library makes the whole process flush subnormal numbers to zero
        flags = ["-O3", "-shared", "-fPIC", f"-Wl,-soname,{name}", f"-Wl,--version-script={versions}"]
        subprocess.run(["g++", "-std=c++17", *flags, str(cpp), "-o", str(made)], check=True)
