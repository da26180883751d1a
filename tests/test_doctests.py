"""The examples in docstrings are run, as written."""

from __future__ import annotations

import doctest
import importlib
import pathlib

import numpy as np
import pytest

import nn
import rmad

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
    failed, tried = doctest.testmod(module, extraglobs={"np": np, "rmad": rmad, "nn": nn}, optionflags=doctest.ELLIPSIS)
    assert tried
    assert not failed
