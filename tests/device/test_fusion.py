"""Passes of a sweep that become parts of the passes that read them: results are those of the calls one by one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from moving import assert_equal, to_device

import nn
import optim
import rmad
from rmad.machine.fused import Pass, Total, sum_of
from rmad.plan.calls import Bound
from rmad.plan.fusion import fuse

cupy = pytest.importorskip("cupy")
pytestmark = pytest.mark.gpu

N, M, BUFFERS = 3, 4, 6  # the buffers are matrices side by side in one array


def copied(x: Any, y: Any) -> Bound:
    def call() -> None:
        y[...] = x

    return Bound(call, [x], [y])


def run(call: Any) -> None:
    """The call, a pass by CuPy's operators: a kernel for each of so many expressions would take minutes to compile."""
    if isinstance(call, Bound):
        call()
        return
    value = eval(call.code.format(*(f"x[{k}]" for k in range(len(call.inputs)))), {"x": call.inputs})
    if isinstance(call, Total):
        value = cupy.broadcast_to(value, call.shape).sum(call.axes) / (N if call.mean else 1) + (
            call.y if call.add else 0
        )
    call.y[...] = value


def call(rng: np.random.Generator, buffers: list[Any], constants: list[Any], sums: list[Any]) -> Any:
    x, z, y = (buffers[k] for k in rng.integers(0, BUFFERS, 3))
    d, total, (add, mean) = constants[rng.integers(3)], sums[rng.integers(2)], rng.integers(0, 2, 2).astype(bool)
    kinds = [
        lambda: sum_of([(d, x)], y),
        lambda: sum_of([(d, x)], x),
        lambda: sum_of([(d, x), (1, x)], y, True),
        lambda: Pass("{0} * (1 - {1})", [x, z], y),
        lambda: Pass("{0} - {1} / 7", [x, total], y),
        lambda: Total("{0} * {1}", [x, d], total, (0,), add, mean=mean),
        lambda: copied(x, y) if x is not y else sum_of([(2.0, x)], y),
        lambda: sum_of([(1, x[1:])], y[:-1], add) if x is not y else copied(x, x),
        lambda: sum_of([(2.5, x[:, :2])], y[:, ::3]) if x is not y else sum_of([(1, x)], y, True),
    ]
    return kinds[rng.integers(len(kinds))]()


def program(rng: np.random.Generator, memory: Any) -> list[Any]:
    """Random calls: passes, also in place and over vectors, sums, and calls that are no passes."""
    buffers = [memory[k : k + N * M].reshape(N, M) for k in range(0, BUFFERS * N * M, N * M)]
    constants = [cupy.asarray(rng.uniform(-1, 1, shape)) for shape in ((N, M), (M,), (N, 1))]
    sums = [memory[BUFFERS * N * M :][k * M : (k + 1) * M] for k in range(2)]
    return [call(rng, buffers, constants, sums) for _ in range(rng.integers(3, 12))]


def test_random_programs():
    spared = 0
    for seed in range(300):
        start = np.random.default_rng(seed).uniform(-1, 1, (BUFFERS * N + 2) * M)
        found = []
        for fused in (False, True):
            rng, memory = np.random.default_rng(seed), cupy.asarray(start)
            calls = program(rng, memory)
            number = len(calls)
            kept = [memory[k : k + N * M] for k in rng.choice(BUFFERS, 2, replace=False) * N * M]
            kept.append(memory[BUFFERS * N * M :])
            if fused:
                calls = fuse(SimpleNamespace(on_gpu=True, calls=calls), kept)  # type: ignore[arg-type]
                spared += number - len(calls)
            for call in calls:
                run(call)
            found.append([a.get() for a in kept])
        for one, other in zip(*found, strict=True):
            np.testing.assert_allclose(other, one, rtol=1e-12, atol=1e-12, err_msg=str(seed))
    assert spared > 100


def test_a_call_of_which_nothing_is_known_is_no_reader():
    memory = cupy.zeros(8)
    x, y = memory[:4], memory[4:]
    calls = [sum_of([(2.0, x)], x), lambda: None, sum_of([(1, x)], y)]
    assert fuse(SimpleNamespace(on_gpu=True, calls=calls), [y]) == calls  # type: ignore[arg-type]


def test_a_network_takes_fewer_launches(stand_in):
    """Convolution, batch normalization and ReLU: one kernel gathers patches, two are all the rest, in each sweep."""
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(3, 4, 3, rng=rng), nn.BatchNorm(4), nn.ReLU()]
    model = rmad.map_leaves(cupy.asarray, nn.Sequential(*layers, nn.GlobalAvgPool2d()))
    x = cupy.asarray(rng.random((5, 6, 6, 3), dtype=np.float32))
    q = optim.Objective(model, nn.SquaredError()).quadratic(x, model(x) * 0.5)
    v = rmad.ravel(model)[0]
    out = v.copy()
    q.ggn_product(v, out)
    with stand_in.recorded() as counts:
        q.ggn_product(v, out)
    assert counts.launches <= 9, counts.calls


# -- functions with many passes next to each other ---------------------------------------------------------------------


def normalized(q):
    x = q["x"]
    mean = x.mean((0, 1), keepdims=True)
    y = (x - mean) / np.sqrt(((x - mean) ** 2).mean((0, 1), keepdims=True) + 1e-5) * q["s"] + q["b"]
    r = y / np.sqrt((y * y).mean(-1, keepdims=True) + 1e-6)
    return nn.functional.softmax(y, axis=1) * r + np.maximum(y, 0).sum(-1, keepdims=True)


def shared(q):
    W, b = q["x"][0], q["b"]
    y = np.tanh(b + b @ W.T) * b - b
    z = (y[:, None] * W.T + b).sum(1)[:4] + y[:4] * 2 - (-b[:4])
    return z * y[:4], y[:4] - z


def skipped(q):
    h, s = q["x"], q["s"] * 0
    for _ in range(4):
        a = np.tanh(h * q["s"] + q["b"])
        h = h + a * q["s"]
        s = s + h.sum((0, 1)) * a.mean((0, 1))
    return np.stack([h.mean((0, 1)), s, (h * h).sum((0, 1))])


@pytest.mark.parametrize("f", [normalized, shared, skipped], ids=lambda f: f.__name__)
def test_products_of_a_function(f):
    rng = np.random.default_rng(1)
    q = {"x": rng.standard_normal((3, 5, 5)), "s": rng.standard_normal(5), "b": rng.standard_normal(5)}
    (y, lin), (y_there, there) = rmad.linearize(f, q), rmad.linearize(f, to_device(q))
    for _ in range(3):  # in one sweep, and by a plan
        assert_equal(there.Jv(to_device(q)), lin.Jv(q))
        assert_equal(there.JTu(y_there), lin.JTu(y))
