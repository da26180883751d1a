"""Docstrings of public names have NumPy-style sections, and their parameters are those of the signature."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

MODULES = (
    *("rmad", "rmad.linalg", "rmad.testing", "nn", "nn.functional", "nn.init", "nn.data", "nn.data.tasks", "nn.models"),
    *("optim", "optim.schedules"),
)
OPENERS = re.compile(r"(What|Of|By|From|How|Whether|Where)\b")


def public(module: str) -> Iterator[tuple[str, Any]]:
    """The functions and classes of a module's __all__."""
    home = importlib.import_module(module)
    for name in home.__all__:
        thing = getattr(home, name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            yield f"{module}.{name}", thing


def expected(thing: Any) -> list[str]:
    """The parameters of a call, as numpydoc writes them."""
    if inspect.isclass(thing) and (getattr(thing, "_is_protocol", False) or issubclass(thing, Exception)):
        return []
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [stars.get(p.kind, "") + p.name for p in inspect.signature(thing).parameters.values()]


def described(thing: Any) -> list[str]:
    """The names of the Parameters section; a record of results has a section of Attributes instead."""
    read = pytest.importorskip("numpydoc.docscrape").NumpyDocString
    doc = read(inspect.getdoc(thing) or "")
    fields = list(getattr(thing, "__dataclass_fields__", getattr(thing, "_fields", ())))
    parameters = doc["Parameters"] or doc["Attributes"][: len(fields)]
    names = [name.strip() for parameter in parameters for name in parameter.name.split(",")]
    if not names and inspect.isclass(thing) and "__init__" not in vars(thing):  # its base is called the same way
        return described(thing.__base__)
    return names


def faults(thing: Any) -> list[str]:
    doc = inspect.getdoc(thing) or ""
    first = doc.strip().partition("\n")[0]
    found = []
    if not first:
        found.append("no first line")
    if OPENERS.match(first):
        found.append(f"opens with {first.split()[0]}: a formula, a verb or a noun comes first")
    wanted, given = expected(thing), described(thing)
    if given != wanted:
        found.append(f"describes {', '.join(given) or 'no parameters'}; its parameters are {', '.join(wanted)}")
    return found


def said_defaults(thing: Any) -> Iterator[tuple[str, Any]]:
    """Names and defaults of the Parameters section, where those are literals: "default 3", or "default 0 to 3"."""
    read = pytest.importorskip("numpydoc.docscrape").NumpyDocString
    for parameter in read(inspect.getdoc(thing) or "")["Parameters"]:
        names = [name.strip() for name in parameter.name.split(",")]
        said = parameter.type.partition("default ")[2].replace("−", "-").partition(". ")[0]
        parts = re.split(r" and | to ", said) if len(names) > 1 else [said]
        for name, part in zip(names, parts if len(parts) > 1 else parts * len(names), strict=True):
            try:
                yield name, ast.literal_eval(part)
            except (SyntaxError, ValueError):  # prose, such as "all axes", or no default
                continue


def other_defaults(thing: Any) -> list[str]:
    """Where the signature has another default than the docstring."""
    given = {} if inspect.isclass(thing) and issubclass(thing, Exception) else inspect.signature(thing).parameters
    return [
        f"{name} is {given[name].default!r}, not {said!r}"
        for name, said in said_defaults(thing)
        if isinstance(given[name].default, str | int | float | None) and given[name].default != said
    ]


@pytest.mark.parametrize("module", MODULES)
def test_defaults_are_those_of_the_signature(module: str) -> None:
    assert not {name: found for name, thing in public(module) if (found := other_defaults(thing))}


@pytest.mark.parametrize("module", MODULES)
def test_parameters_are_described_in_the_order_of_the_signature(module: str) -> None:
    assert not {name: found for name, thing in public(module) if (found := faults(thing))}


def test_faults_are_found() -> None:
    def f(x: float, *more: float, scale: float = 1.0) -> float:
        """y = scale · (x + Σ more).

        Parameters
        ----------
        x, *more : float
        scale : float, default 1.0
        """
        return scale * (x + sum(more))

    def g(x: float, scale: float) -> float:
        """What f does with one argument.

        Parameters
        ----------
        scale, x : float
        """
        return scale * x

    def h(x: float) -> float:
        """x²"""
        return x * x

    assert faults(f) == []
    assert faults(g) == [
        "opens with What: a formula, a verb or a noun comes first",
        "describes scale, x; its parameters are x, scale",
    ]
    assert faults(h) == ["describes no parameters; its parameters are x"]


def test_other_defaults_are_found() -> None:
    def f(
        x: float, scale: float = 1.5, low: int = -1, high: int = 3, kind: str = "a", most: int | None = None
    ) -> float:
        """scale · x

        Parameters
        ----------
        x : float
        scale : float, default 1.25. A factor
        low, high : int, default −1 to 2
        kind : {"a", "b"}, default "b"
        """
        return scale * x

    assert other_defaults(f) == ["scale is 1.5, not 1.25", "high is 3, not 2", "kind is 'a', not 'b'"]
