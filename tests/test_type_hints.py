"""Every public name says what it takes and what it returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import nn
import optim
import rmad

MODULES = (rmad, nn, optim, nn.data, nn.data.tasks, nn.functional, nn.init, nn.models, optim.schedules)


def missing(f: Callable[..., Any]) -> list[str]:
    """The parameters of f without a type, and "return" where that is missing."""
    signature = inspect.signature(f)
    lacking = [
        p.name for p in signature.parameters.values() if p.annotation is p.empty and p.name not in ("self", "cls")
    ]
    return lacking + ["return"] * (signature.return_annotation is signature.empty)


def callables(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions of a module, and the public methods and properties that its public classes define."""
    for name in module.__all__:
        public = getattr(module, name)
        if inspect.isclass(public):
            for own, method in vars(public).items():
                plain = getattr(method, "__func__", getattr(method, "fget", getattr(method, "func", method)))
                if own == "__init__" and getattr(public, "_is_protocol", False):
                    continue  # made by typing
                if inspect.isfunction(plain) and (own in ("__init__", "__call__") or not own.startswith("_")):
                    yield f"{name}.{own}", plain
        elif inspect.isroutine(public):
            yield name, public


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_public_names_have_types(module: ModuleType) -> None:
    found = dict(callables(module))
    assert found
    assert not {name: lacking for name, f in found.items() if (lacking := missing(f))}


def test_what_is_missing_is_found() -> None:
    def f(x, y: int, *more, z=1, **rest: Any):
        return x

    assert missing(f) == ["x", "more", "z", "return"]
