"""The checks of a layer or a model: a tree of arrays that can be called, layer(x) → y.

function      all that is asked of a function, of the layer's arrays and of x
state         a call changes no array of the layer, and keeps no traced array
cases         y of some cases is the same in any company, unless `couples_cases` is True
threads       several calls at once do not disturb each other
precision     a float32 layer maps float32 to float32
copies        a tree of copies, and `state_dict` loaded into another one, give the same y
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rmad.batch import cases_from
from rmad.testing.compare import assert_same, assert_specs, at_once, copied
from rmad.testing.functions import THREADS, FunctionCheck, as_single, is_pure
from rmad.testing.loss_checks import SHARDS, parts, rows
from rmad.trees import tree as _tree

__all__ = ["LayerCheck"]


class LayerCheck(FunctionCheck):
    """Checks a layer on as many x as are given, in training mode or as it is."""

    def __call__(self, layer: Any, x: Any) -> None:
        if hasattr(layer, "begin_step"):
            layer.begin_step()
        super().__call__(lambda pair: pair[0](pair[1]), (layer, x))
        y = layer(x)
        self.cases(layer, x, y)
        for found in at_once(lambda k: layer(x), THREADS):
            assert_same(found, y, f"on {THREADS} threads at once, layer(x)")
        self.copies(layer, x, y)
        if self.precision:
            of_single = _tree.map_leaves(as_single, layer)(_tree.map_leaves(as_single, x))
            assert_specs(of_single, _tree.map_leaves(as_single, of_single), "of a float32 layer and x, layer(x)")
        if hasattr(layer, "eval") and hasattr(layer, "training"):
            still = copied(layer).eval()
            self.cases(still, x, is_pure(lambda pair: pair[0](pair[1]), (still, x)))

    def cases(self, layer: Any, x: Any, y: Any) -> None:
        if getattr(layer, "couples_cases", False):
            return
        n, says = rows(x), "couples_cases is not True, but"
        for leaf in (leaf for _, leaf in _tree.leaves(y)):
            if not np.ndim(leaf) or len(leaf) != n:
                raise AssertionError(f"{says} y of shape {np.shape(leaf)} has no row for each of the {n} cases of x")
        for k in SHARDS:
            for s in parts(n, k):
                with cases_from(s.start):  # a layer may need to know which cases these are, as Dropout does
                    few, whole = layer(_rows_of(x, s)), _rows_of(y, s)
                assert_same(few, whole, f"{says} of the cases {s.start} to {s.stop} alone, layer(x)", _company(y))

    def copies(self, layer: Any, x: Any, y: Any) -> None:
        other = copied(layer)
        assert_same(other(x), y, "of a tree of copies, layer(x)")
        if hasattr(layer, "state_dict") and hasattr(layer, "load_state_dict"):
            state = layer.state_dict()
            other = _tree.map_leaves(lambda a: a + 1 if _tree.is_differentiable(a) else a, copied(layer))
            other.load_state_dict(state)
            assert_same(other(x), y, "after load_state_dict(state_dict()), layer(x)")


def _rows_of(tree: Any, s: slice) -> Any:
    return _tree.map_leaves(lambda a: a[s], tree)


def _company(y: Any) -> float:
    """The tolerance of rows in another company: products of matrices sum in another order."""
    single = any(leaf.dtype.itemsize < 8 for _, leaf in _tree.leaves(y) if leaf.dtype.kind == "f")
    return 1e-4 if single else 1e-10
