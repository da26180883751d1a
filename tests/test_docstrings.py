"""Docstrings of public names have NumPy-style sections, and their parameters are those of the signature."""

from __future__ import annotations

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
