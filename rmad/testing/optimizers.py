"""The checks of an optimizer: make(model, loss) → an object with step(x, t), and what it has of the shared interface.

step          rebinds the model's arrays and never writes into the old ones; x and t stay; the dtype stays
loss          info.loss is f before the step, and some steps lower it
repeats       two runs from one start are equal, bit for bit
resumes       so are a run and one that goes on in a new optimizer from the model and `state_dict`
divides       the same steps on any number of shards and threads (of an `objective`), up to rounding
exceptions    an error in the loss, at any of its evaluations, leaves model and state as they were
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rmad.testing.compare import assert_same, copied
from rmad.testing.losses import HalfSquares
from rmad.types import Array

__all__ = ["OptimizerCheck"]

N, STEPS = 24, 3
DIVISIONS = ((1, 1), (2, 1), (3, 2), (5, 4), (16, 2))  # (shards, threads)


class Net:
    """z = tanh(x W + b) V + c: a model with nothing but the interface that optimizers ask for."""

    def __init__(self, dtype: Any = np.float64) -> None:
        rng = np.random.default_rng(0)
        shapes = {"W": (4, 5), "b": (5,), "V": (5, 3), "c": (3,)}
        self.arrays: dict[str, Array] = {k: (rng.standard_normal(s) / 2).astype(dtype) for k, s in shapes.items()}

    def __call__(self, x: Any) -> Any:
        p = self.arrays
        return np.tanh(x @ p["W"] + p["b"]) @ p["V"] + p["c"]

    def __tree_items__(self) -> dict[str, Any]:
        return self.arrays

    def __tree_replace__(self, items: dict[str, Any]) -> Net:
        other = object.__new__(Net)
        other.arrays = items
        return other

    def __tree_assign__(self, name: str, value: Any) -> None:
        self.arrays = {**self.arrays, name: value}


class Regression(HalfSquares):
    """½ Σ (z − t)² over outputs, averaged over cases; its samples depend on z alone, so not on how a batch divides."""

    def _error(self, z: Array, t: Array) -> Array:
        return z - np.asarray(t, z.dtype)

    def sample(self, z: Array, rng: np.random.Generator) -> Array:
        return (z + 1.5 * np.sin(1e4 * z)).astype(z.dtype)


class Failing:
    """A loss that raises at its k-th evaluation, of whatever it computes."""

    def __init__(self, k: int) -> None:
        self._k, self._calls = k, 0
        self.mean_over_cases = True

    def __getattr__(self, name: str) -> Any:
        method = getattr(Regression(), name)

        def counted(*args: Any) -> Any:
            self._calls += 1
            if self._calls == self._k:
                raise _Planned(name)
            return method(*args)

        return counted


class _Planned(Exception):
    """Raised by a loss on purpose."""


class OptimizerCheck:
    """Checks make(model, loss) on a small problem of regression."""

    def __init__(self, make: Callable[[Any, Any], Any]) -> None:
        self.make, self.loss = make, Regression()
        rng = np.random.default_rng(1)
        self.x = 2 * rng.standard_normal((N, 4))
        self.t = np.sin(self.x[:, :3]) + 0.3 * self.x[:, 1:]

    def run(self) -> None:
        self.one_step()
        self.progress()
        self.repeats()
        self.resumes()
        self.divides()
        self.exceptions()

    def begun(self, dtype: Any = np.float64) -> tuple[Net, Any]:
        model = Net(dtype)
        return model, self.make(model, self.loss)

    def batches(self, first: int, last: int) -> Iterator[tuple[Array, Array]]:
        """Batches of 16 cases, the k-th the same in every run."""
        for k in range(first, last):
            S = np.random.default_rng(k).permutation(N)[:16]
            yield self.x[S], self.t[S]

    def one_step(self) -> None:
        for dtype in (np.float64, np.float32):
            model, opt = self.begun(dtype)
            arrays, kept = dict(model.arrays), copied(model.arrays)
            x, t = self.x.astype(dtype), self.t.astype(dtype)
            given = copied([x, t])
            info = opt.step(x, t)
            assert_same([x, t], given, "step writes into its batch: [x, t]", 0.0)
            assert_same(arrays, kept, "step writes into the model's old arrays, which Jacobians may read: they", 0.0)
            for name, old in kept.items():
                if model.arrays[name].dtype != old.dtype or model.arrays[name].shape != old.shape:
                    new = model.arrays[name]
                    raise AssertionError(f"step turns {name}, {old.dtype}{old.shape}, into {new.dtype}{new.shape}")
            if hasattr(info, "loss"):
                wanted, tolerance = float(self.loss.value(Net(dtype)(x), t)), 1e-9 if dtype == np.float64 else 1e-4
                assert_same(np.float64(info.loss), np.float64(wanted), "info.loss, not f before the step,", tolerance)

    def progress(self) -> None:
        model, opt = self.begun()
        before = float(self.loss.value(model(self.x), self.t))
        for _ in range(20):
            opt.step(self.x, self.t)
        after = float(self.loss.value(model(self.x), self.t))
        if not after < before:
            raise AssertionError(f"20 steps on one batch take the loss from {before:.6g} to {after:.6g}")

    def repeats(self) -> None:
        found = []
        for _ in range(2):
            model, opt = self.begun()
            for x, t in self.batches(0, STEPS):
                opt.step(x, t)
            found.append(model.arrays)
        assert_same(found[1], found[0], f"the same {STEPS} steps from one start end elsewhere: the second time θ", 0.0)

    def resumes(self) -> None:
        """Goes on after every number of steps in a new optimizer."""
        model, opt = self.begun()
        if not hasattr(opt, "state_dict"):
            return
        at = []
        for x, t in self.batches(0, 2 * STEPS):
            at.append((copied(model.arrays), _copied_state(opt.state_dict())))
            held = opt.state_dict()
            opt.step(x, t)
            _same_state(held, at[-1][1], "a later step changes what state_dict gave")
        for k in range(STEPS + 1):
            other = Net()
            other.arrays = copied(at[k][0])
            resumed = self.make(other, self.loss)
            resumed.load_state_dict(_copied_state(at[k][1]))
            _same_state(resumed.state_dict(), at[k][1], "load_state_dict(state), then state_dict()")
            for x, t in self.batches(k, 2 * STEPS):
                resumed.step(x, t)
            what = f"a run that goes on from the model and state_dict after {k} steps ends elsewhere: θ"
            assert_same(other.arrays, model.arrays, what, 0.0)

    def divides(self) -> None:
        found = []
        for shards, threads in DIVISIONS:
            model, opt = self.begun()
            objective: Any = getattr(opt, "objective", None)
            if not hasattr(objective, "shards"):
                return
            objective.shards, objective.threads = shards, threads
            for x, t in self.batches(0, STEPS):
                opt.step(x, t)
            found.append(model.arrays)
            what = f"with {shards} shards on {threads} threads the steps end elsewhere than with one: θ"
            assert_same(found[-1], found[0], what, 1e-6)

    def exceptions(self) -> None:
        """The loss fails at its first, second, … evaluation of a second step, until a step comes through."""
        for k in range(1, 200):
            model, failing = Net(), Failing(0)
            opt = self.make(model, failing)
            opt.step(self.x, self.t)
            failing._k = failing._calls + k
            arrays = copied(model.arrays)
            state = _copied_state(opt.state_dict()) if hasattr(opt, "state_dict") else {}
            try:
                opt.step(self.x, self.t)
            except _Planned as error:
                what = f"after an error in the loss ({error}, its evaluation {k} in a step)"
                assert_same(model.arrays, arrays, f"{what} θ", 0.0)
                _same_state(opt.state_dict() if state else {}, state, f"{what} state_dict()")
            else:
                return


def _copied_state(state: Any) -> dict[str, Any]:
    return {name: value.copy() if hasattr(value, "copy") else value for name, value in state.items()}


def _same_state(found: Any, wanted: dict[str, Any], what: str) -> None:
    for name, value in wanted.items():
        if not isinstance(value, np.ndarray | np.generic | int | float):
            raise AssertionError(f"state_dict()[{name!r}] is a {type(value).__name__}, must be an array or a number")
    assert_same({k: np.asarray(found[k]) for k in found}, {k: np.asarray(v) for k, v in wanted.items()}, what, 0.0)
