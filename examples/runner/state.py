"""Checks of files that a run has left: a checkpoint, its records, its config. What does not fit is named."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from optim import StateDoesNotFit
from optim.training.checks import Kind, check_kind, check_state, is_plain, of_type

__all__ = ["check_checkpoint", "check_config", "check_drawn", "check_entries"]


def check_checkpoint(state: Any) -> None:
    """Raises ValueError that names an entry unless runner.train can have made the state."""
    check_kind(state, "the state", ("a dict", lambda value: isinstance(value, Mapping)))
    if "config" in state:  # the checkpoint of a script
        check_kind(state["config"], "config", ("a dict of numbers and texts", is_plain))
    check_state(state)


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
        kinds = [kind for kind in map(of_type, allowed) if kind is not None]
        if kinds and not (value is None and NoneType in allowed) and not any(fits(value) for _, fits in kinds):
            raise ValueError(f"{field.name} is {value!r:.40}, expected {' or '.join(text for text, _ in kinds)}")
    scalar: Kind = "a number or a text", lambda value: isinstance(value, str | int | float)
    for name, value in hyper.items():
        check_kind(value, name, kinds_of.get(name, scalar))
