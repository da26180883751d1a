"""The counts of calls to a GPU in docs/benchmarks.md are those of today."""

from __future__ import annotations

import importlib
import pathlib

import numpy as np
import pytest

import nn

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
    assert launches <= products
    of_cg = device_counts.iteration()
    assert of_cg[device_counts.COLUMNS.index("copies_to_host")] == 1
    assert of_cg[device_counts.COLUMNS.index("allocations")] == 0
    assert of_cg[0] - launches <= 5  # three passes over the vectors and two sums


MOST_LAUNCHES = {"a convolutional net with batch normalization": 2.1}  # of a product: four passes in a layer


@pytest.mark.parametrize(
    "net",
    [
        "a convolutional net",
        "a convolutional net with batch normalization",
        "a transformer's block",
        "an RNN, 20 steps of time",
        "an LSTM, 20 steps of time",
        "a GRU, 20 steps of time",
    ],
)
def test_products_of_other_nets_stay_on_the_device(device_counts, net):
    launches, products, *others = device_counts.ROWS[f"GGN product of {net}"]()
    assert not any(others)  # nothing is copied to the host or allocated
    assert launches <= MOST_LAUNCHES.get(net, 1.5) * products


@pytest.mark.parametrize("cell", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_step_of_time_asks_for_the_same_whatever_comes_before(device_counts, cell):
    at = {steps: np.array(device_counts.recurrent(cell, steps)) for steps in (4, 8, 16)}
    np.testing.assert_array_equal(at[16] - at[8], 2 * (at[8] - at[4]))
    np.testing.assert_array_equal(device_counts.recurrent(cell, 8, cases=40, units=30), at[8])
    launches, products, *others = at[8] - at[4]
    assert launches <= 5 * 4
    assert products <= 8 * 4
    assert not any(others)  # nothing is copied to the host or allocated


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
