"""Checks of the state of a training, and of its records: what does not fit is named."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, get_type_hints

from optim.step_info import StepInfo

__all__ = [
    "COUNT",
    "NUMBER",
    "POSITIVE",
    "Kind",
    "StateDoesNotFit",
    "check_kind",
    "check_record",
    "check_state",
    "is_plain",
    "of_type",
]

Kind: TypeAlias = tuple[str, Callable[[Any], bool]]
"""What a value must be, in words, and the function that tells."""


class StateDoesNotFit(ValueError):
    """The state of a training is damaged, or of another model, optimizer or data; the message names the entry."""


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
_OF_TYPE: dict[Any, Kind] = {float: NUMBER, int: ("a whole number", is_whole), str: TEXT, bool: FLAG, dict: DICT}


def of_type(kind: Any) -> Kind | None:
    """Returns what a value of a field with this annotation must be; None if there is no check for it."""
    return _OF_TYPE.get(kind)


def check_state(state: Any) -> None:
    """Raises ValueError that names an entry unless `fit` can have made the state."""
    _check(state, "", STATE)
    run = state["run"]
    _check(run, "run/", RUN)
    if run["best"] is not None:
        _check(run["best"], "run/best/", BEST)
    if not run["records"]:
        raise ValueError("run/records is empty")
    for k, record in enumerate(run["records"]):
        check_kind(record, f"run/records/{k}", DICT)
        try:
            check_record(record, run["records"][0])
        except ValueError as misfit:
            raise ValueError(f"run/records/{k}/{misfit}") from None
    kinds = {name: _OF_TYPE[kind] for name, kind in get_type_hints(StepInfo).items()}
    for k, info in enumerate(run["infos"]):
        name = f"run/infos/{k}"
        check_kind(info, name, DICT)
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


def _check(entries: Any, prefix: str, kinds: Mapping[str, Kind]) -> None:
    """Raises ValueError unless there are these entries, each of its kind."""
    check_kind(entries, prefix.rstrip("/") or "the state", DICT)
    for name, kind in kinds.items():
        if name not in entries:
            raise ValueError(f"{prefix}{name} is missing")
        check_kind(entries[name], prefix + name, kind)


def check_kind(value: Any, name: str, kind: Kind) -> None:
    """Raises ValueError unless the value is of its kind."""
    text, fits = kind
    if not fits(value):
        raise ValueError(f"{name} is {_short(value)}, expected {text}")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
