"""What the user's code does at the point where it runs, read from its source: what it calls, which name it writes into.

Source that is not there, or not that of the code which runs, tells nothing.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from types import CodeType, FrameType
from typing import Any

__all__ = ["IS_COPY", "Store", "called_at", "computes", "store_at", "variables", "written_at"]

_PLAIN = (
    *(ast.Attribute, ast.BinOp, ast.Compare, ast.Constant, ast.Load, ast.Name, ast.Slice, ast.Subscript, ast.Tuple),
    *(ast.UnaryOp, ast.List, ast.operator, ast.unaryop, ast.cmpop),
)
"""What a key may be made of to be computed again: nothing that calls a function."""


class Store:
    """name[key] = v, or name += v with no key, at one point of a function.

    name: a variable of a function. key: compiled, `_[key]`; None without one.
    """

    def __init__(self, name: str, key: CodeType | None) -> None:
        self.name, self.key = name, key

    def key_of(self, frame: FrameType) -> Any:
        return eval(self.key, frame.f_globals, variables(frame) | {"_": _Key()})  # type: ignore[arg-type]


def variables(frame: FrameType) -> dict[str, Any]:
    """The variables of a function that runs, and their values."""
    names = frame.f_locals
    found = dict(names)
    if IS_COPY:
        names.clear()  # the frame would keep the values
    return found


IS_COPY = sys.version_info < (3, 13)  # frame.f_locals, of the variables


class _Key:
    def __getitem__(self, key: Any) -> Any:
        return key


def store_at(frame: FrameType) -> Store | None:
    """The store that the frame is in the middle of; None if it is doing something else, or cannot be known."""
    return _store(frame.f_code, frame.f_lasti)


def called_at(frame: FrameType) -> tuple[str, Any] | None:
    """What the frame calls just now: as its source names it, and the object itself, None if that is not clear."""
    node = _node(frame.f_code, frame.f_lasti)
    return (ast.unparse(node.func), _value(node.func, frame)) if isinstance(node, ast.Call) else None


def written_at(frame: FrameType) -> str:
    """The source of the array that the frame writes into just now; empty if it is doing something else."""
    node = _node(frame.f_code, frame.f_lasti)
    target = node.target if isinstance(node, ast.AugAssign) else node
    return ast.unparse(target.value) if isinstance(target, ast.Subscript) else ""


def computes(frame: FrameType, operator: str) -> bool:
    """True if the frame is in the middle of a % b, or a %= b, for the operator "%"."""
    at = frame.f_lasti
    return tuple(frame.f_code.co_code[at : at + 2]) in _instructions_of(operator)


@cache
def _instructions_of(operator: str) -> frozenset[tuple[int, ...]]:
    import dis  # slow to import

    found = [i for text in (operator, f"{operator}=") for i in dis.get_instructions(compile(f"a {text} b", "", "exec"))]
    return frozenset((i.opcode, i.arg or 0) for i in found if i.argrepr in (operator, f"{operator}="))


def _value(name: ast.expr, frame: FrameType) -> Any:
    """What a name, or an attribute of one, stands for."""
    if isinstance(name, ast.Attribute):
        return getattr(_value(name.value, frame), name.attr, None)
    if not isinstance(name, ast.Name):
        return None
    for names in (variables(frame), frame.f_globals, vars(builtins)):
        if name.id in names:
            return names[name.id]
    return None


@lru_cache(256)
def _store(code: CodeType, at: int) -> Store | None:
    node = _node(code, at)
    if isinstance(node, ast.AugAssign):
        return _of_target(node.target, code)
    return _of_target(node, code) if isinstance(node, ast.Subscript) else None


@lru_cache(256)
def _node(code: CodeType, at: int) -> ast.AugAssign | ast.Subscript | ast.Call | None:
    """The call, or the write, that an instruction is."""
    position = list(code.co_positions())[at // 2]
    tree = None if None in position else _tree(code.co_filename, code)
    for node in () if tree is None else ast.walk(tree):
        if not isinstance(node, ast.AugAssign | ast.Call | ast.Subscript) or not _is_at(node, position):
            continue
        if not isinstance(node, ast.Subscript) or isinstance(node.ctx, ast.Store):
            return node
    return None


def _is_at(node: Any, position: Any) -> bool:
    return (node.lineno, node.end_lineno, node.col_offset, node.end_col_offset) == position


def _of_target(target: ast.expr, code: CodeType) -> Store | None:
    named = target.value if isinstance(target, ast.Subscript) else target
    if not isinstance(named, ast.Name) or named.id not in (*code.co_varnames, *code.co_cellvars, *code.co_freevars):
        return None
    if not isinstance(target, ast.Subscript):
        return Store(named.id, None)
    if not all(isinstance(node, _PLAIN) for node in ast.walk(target.slice)):
        return None
    read = ast.Expression(ast.Subscript(ast.Name("_", ast.Load()), target.slice, ast.Load()))
    return Store(named.id, compile(ast.fix_missing_locations(read), "<key>", "eval"))


@lru_cache(32)
def _tree(filename: str, code: CodeType) -> ast.Module | None:
    """The syntax tree of the file, if this code is made of it."""
    try:
        tree, made = _compiled(filename, "".join(linecache.getlines(filename)) or _command())
    except (SyntaxError, ValueError):
        return None
    return tree if any(code == other for other in _within(made)) else None


def _command() -> str:
    """The code of `python -c code`, which no file holds."""
    given = sys.orig_argv
    return given[given.index("-c") + 1] if "-c" in given[:-1] else ""


@lru_cache(8)
def _compiled(filename: str, source: str) -> tuple[ast.Module, CodeType]:
    tree = ast.parse(source)
    return tree, compile(tree, filename, "exec", dont_inherit=True)


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _within(part)
