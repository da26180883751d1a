"""The counts of calls to a GPU in docs/benchmarks.md are those of today."""

from __future__ import annotations

import importlib
import pathlib

import pytest

cupy = pytest.importorskip("cupy")
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("stand_in")]


@pytest.fixture
def device_counts(monkeypatch):
    monkeypatch.syspath_prepend(str(pathlib.Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("device_counts")


def rows(table):
    """Per row its name and numbers."""
    cells = [line.strip("|").split("|") for line in table.splitlines()[2:]]
    return {name.strip(): [int(n) for n in numbers] for name, *numbers in cells}


def test_the_table_in_the_documentation(device_counts):
    """Copies exactly, and the rest to a tenth: a line more in a loss or a layer is no news."""
    found = {name: count() for name, count in device_counts.ROWS.items()}
    stated = rows(device_counts.in_page())
    assert found.keys() == stated.keys()
    copies = device_counts.COLUMNS.index("copies_to_host")
    for name, counts in found.items():
        assert counts[copies] == stated[name][copies], f"{name}: run benchmarks/device_counts.py --write"
        assert counts == pytest.approx(stated[name], rel=0.1), f"{name}: run benchmarks/device_counts.py --write"


def test_a_product_and_an_iteration_of_cg(device_counts):
    launches, products, solvers, copies, allocations = device_counts.product()
    assert (solvers, copies, allocations) == (0, 0, 0)
    assert launches <= 1.5 * products
    assert device_counts.iteration()[device_counts.COLUMNS.index("copies_to_host")] == 1


MOST_COPIES = {  # of a step; 10 of those of SGN and HessianFree are CG's iterations
    "Adam": 2,
    "CurveBall": 4,
    "KFAC": 8,
    "KFAC that renews the inverses": 8,
    "SGN": 20,
    "HessianFree": 20,
}


@pytest.mark.parametrize("name", MOST_COPIES)
def test_a_step_waits_seldom(device_counts, name):
    counts = device_counts.ROWS[f"step of {name}"]()
    assert counts[device_counts.COLUMNS.index("copies_to_host")] <= MOST_COPIES[name]
