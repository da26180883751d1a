"""Checks of files that a run has left: a checkpoint, its records, its config. What does not fit is named."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

import optim

Kind: TypeAlias = tuple[str, Callable[[Any], bool]]


class StateDoesNotFit(ValueError):
    """A checkpoint, or another file of a run, is damaged, or of another model, optimizer or program."""


def is_number(value: Any) -> bool:
    """Returns True for a float, or an int that is as good as one; True and False are none."""
    return isinstance(value, float) or (is_whole(value) and abs(value) < 2**63)


def is_whole(value: Any) -> bool:
    """Returns True for an int."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_plain(value: Any) -> bool:
    """Returns True for what JSON has: no arrays, which answer a comparison with arrays."""
    if isinstance(value, Mapping | list):
        return all(map(is_plain, value.values() if isinstance(value, Mapping) else value))
    return value is None or isinstance(value, str | int | float)


NUMBER: Kind = "a number", is_number
POSITIVE: Kind = "a whole number > 0", lambda value: is_whole(value) and 0 < value < 2**63
COUNT: Kind = "a whole number ≥ 0", lambda value: is_whole(value) and 0 <= value < 2**63
SECONDS: Kind = "a number of seconds", lambda value: is_number(value) and 0 <= value < math.inf
TEXT: Kind = "a text", lambda value: isinstance(value, str)
FLAG: Kind = "true or false", lambda value: isinstance(value, bool)
LIST: Kind = "a list", lambda value: isinstance(value, list)
DICT: Kind = "a dict", lambda value: isinstance(value, Mapping)

STATE: dict[str, Kind] = {"run": DICT, "batches": DICT}
RUN: dict[str, Kind] = {
    "records": LIST,
    "update": COUNT,
    "seconds": SECONDS,
    "best": ("a dict or null", lambda value: value is None or isinstance(value, Mapping)),
    "stale": COUNT,
    "end": TEXT,
    "stopped": FLAG,
    "failed": FLAG,
    "logged": SECONDS,
    "infos": LIST,
    "model": DICT,
    "optimizer": DICT,
}
BEST: dict[str, Kind] = {"value": NUMBER, "update": COUNT, "model": DICT}
OF_TYPE: dict[Any, Kind] = {float: NUMBER, int: ("a whole number", is_whole), str: TEXT, bool: FLAG, dict: DICT}


def check_state(state: Any) -> None:
    """Raises ValueError that names an entry unless runner.train can have made the state."""
    _check(state, "", STATE)
    if "config" in state:  # the checkpoint of a script
        _check_kind(state["config"], "config", ("a dict of numbers and texts", is_plain))
    run = state["run"]
    _check(run, "run/", RUN)
    if run["best"] is not None:
        _check(run["best"], "run/best/", BEST)
    if not run["records"]:
        raise ValueError("run/records is empty")
    for k, record in enumerate(run["records"]):
        _check_kind(record, f"run/records/{k}", DICT)
        try:
            check_record(record, run["records"][0])
        except ValueError as misfit:
            raise ValueError(f"run/records/{k}/{misfit}") from None
    kinds = {name: OF_TYPE[kind] for name, kind in get_type_hints(optim.StepInfo).items()}
    for k, info in enumerate(run["infos"]):
        name = f"run/infos/{k}"
        _check_kind(info, name, DICT)
        if unknown := sorted(set(info) - set(kinds)):
            raise ValueError(f"{name} has {unknown[0]!r}, which no step has")
        _check(info, f"{name}/", kinds)


def check_record(record: Any, first: Any) -> None:
    """Raises ValueError that names an entry unless it is a record of the run of which `first` is the first record."""
    for entry, value in record.items():
        if not (value is None or isinstance(value, str | int | float)):
            raise ValueError(f"{entry} is {_short(value)}, expected a number or a text")
    needed = ["seconds", "update", *(("loss", "damping") if "loss" in record else ())]
    _check(record, "", dict.fromkeys([*needed, *(name for name in first if name in record)], NUMBER))


def check_entries(records: list[Any], names: Sequence[str], what: str) -> None:
    """Raises StateDoesNotFit unless all records have these entries; `what` says what a record is, as "…, line"."""
    for k, record in enumerate(records):
        for name in names:
            if name not in record:
                raise StateDoesNotFit(f"{what} {k + 1}: {name} is missing")


def check_drawn(records: list[Any], names: Sequence[str], what: str) -> None:
    """Raises StateDoesNotFit unless all records have the entries of the first that a figure shows."""
    check_entries(records, [name for name in names if name in records[0]], f"{what}, line")


def check_config(config: Any, hyper: Mapping[str, Any], kinds_of: Mapping[str, Kind]) -> None:
    """Raises ValueError that names a field whose value is not of its type, or a hyper-parameter not of its kind."""
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        allowed = get_args(hint) if isinstance(hint, UnionType) else (get_origin(hint) or hint,)
        kinds = [OF_TYPE[kind] for kind in allowed if kind in OF_TYPE]
        if kinds and not (value is None and NoneType in allowed) and not any(fits(value) for _, fits in kinds):
            raise ValueError(f"{field.name} is {_short(value)}, expected {' or '.join(text for text, _ in kinds)}")
    scalar: Kind = "a number or a text", lambda value: isinstance(value, str | int | float)
    for name, value in hyper.items():
        _check_kind(value, name, kinds_of.get(name, scalar))


def _check(entries: Any, prefix: str, kinds: Mapping[str, Kind]) -> None:
    """Raises ValueError unless there are these entries, each of its kind."""
    _check_kind(entries, prefix.rstrip("/") or "the state", DICT)
    for name, kind in kinds.items():
        if name not in entries:
            raise ValueError(f"{prefix}{name} is missing")
        _check_kind(entries[name], prefix + name, kind)


def _check_kind(value: Any, name: str, kind: Kind) -> None:
    text, fits = kind
    if not fits(value):
        raise ValueError(f"{name} is {_short(value)}, expected {text}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
