"""The counts of calls to a GPU in docs/benchmarks.md are those of today."""

from __future__ import annotations

import importlib
import pathlib

import numpy as np
import pytest

import nn
import optim
import rmad

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
    assert launches <= 1.5 * products


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


@pytest.mark.parametrize(("make", "most"), [(optim.Adam, 2), (optim.KFAC, 8), (optim.SGN, 10), (optim.HessianFree, 10)])
def test_labels_are_read_on_the_device(make, most, stand_in):
    """The checks of labels wait once for each array, and the gradient of a sure case does not ask if it is one."""
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(3, 4, 3, rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5, rng=rng)]
    model = rmad.map_leaves(cupy.asarray, nn.Sequential(*layers))
    x, t = cupy.asarray(rng.random((16, 8, 8, 3), dtype=np.float32)), cupy.asarray(rng.integers(0, 5, 16))
    opt = make(model, nn.SoftmaxCrossEntropy())
    for _ in range(4):
        with stand_in.recorded() as counts:
            info = opt.step(x, t)
    assert counts.copies_to_host - (info.cg_iterations or 0) <= most, counts.lines
