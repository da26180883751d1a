"""The examples in docstrings are run, as written."""

from __future__ import annotations

import doctest
import importlib
import pathlib

import numpy as np
import pytest

import nn
import rmad
from rmad.tracing import handlers as table

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for floor in ("rmad", "nn", "optim")
    for path in sorted((ROOT / floor).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(name)
    rmad.linearize(np.sin, 1.0)  # what the first trace and deferred modules register must not go with an example
    for deferred in table.DEFERRED:
        importlib.import_module(deferred)
    handlers = dict(table.HANDLERS)
    names = {"np": np, "rmad": rmad, "nn": nn}
    try:
        failed, tried = doctest.testmod(module, extraglobs=names, optionflags=doctest.ELLIPSIS)
    finally:  # the primitives of an example are not those that tests/rmad looks for rows of
        table.HANDLERS.clear()
        table.HANDLERS.update(handlers)
    assert tried
    assert not failed
