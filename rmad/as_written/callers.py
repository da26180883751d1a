"""The user's own code, told from that of Python, of installed packages and of rmad by the folder that it is in."""

from __future__ import annotations

import pathlib
import sysconfig
from functools import cache
from opcode import opmap
from types import CodeType, FrameType

__all__ = ["asks_itself", "called_by_scipy", "is_sparse", "is_users", "made_by_user", "takes_plain_arrays"]

_INSTALLED = ("site-packages", "dist-packages")
_PACKAGES = pathlib.Path(__file__).resolve().parents[2]
_OURS = tuple(str(_PACKAGES / name) for name in ("rmad", "nn", "optim"))
_PYTHONS = tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib")})


def made_by_user(frame: FrameType) -> bool:
    """True if the code that runs in this frame is the user's: a script, a notebook, a module of their own."""
    return is_users(frame.f_code.co_filename)


def asks_itself(frame: FrameType) -> bool:
    """True if the code of the frame loads an attribute just now.

    Compiled code has no frame, and what it asks for seems to come from its caller: a method of np.random's generators
    calls np.empty and writes into the memory of what it gets, which must be an array of NumPy's.
    """
    code = frame.f_code
    known, instructions = _instructions.get(id(code), (None, b""))
    if known is not code:
        instructions = code.co_code  # makes a copy, so it is kept
        _instructions[id(code)] = code, instructions
    return instructions[frame.f_lasti] in _LOADS


_instructions: dict[int, tuple[CodeType, bytes]] = {}  # by the id of a code object, which is kept with them
_LOADS = frozenset(opmap[name] for name in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM") if name in opmap)


def takes_plain_arrays(frame: FrameType) -> bool:
    """True for the code of NumPy and SciPy, which would take a traced array for one of NumPy's."""
    name = frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("numpy", "scipy") and name not in _TO_UFUNCS


_TO_UFUNCS = ("scipy.special._spherical_bessel",)
"""Code that hands its arrays on to functions with a protocol, and does nothing else with them."""


def called_by_scipy(frame: FrameType | None) -> bool:
    """True if code of SciPy, a solver for instance, has led to the call."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == "scipy":
            return True
        frame = frame.f_back
    return False


def is_sparse(frame: FrameType) -> bool:
    """True for the code of SciPy's sparse matrices."""
    return frame.f_globals.get("__name__", "").startswith("scipy.sparse.")


@cache
def is_users(filename: str) -> bool:
    """`made_by_user` for the file that the code is in."""
    if filename.startswith("<frozen") or filename == "<__array_function__ internals>":
        return False
    path = pathlib.Path(filename)
    if any(folder in path.parts for folder in _INSTALLED):
        return False
    return not any(path.is_relative_to(folder) for folder in (*_OURS, *_PYTHONS))
