"""Trees of arrays: order, structure, constants, objects, ravel, rebind."""

from __future__ import annotations

import gc
import weakref
from typing import NamedTuple

import numpy as np
import pytest

import rmad
from rmad.trees import tree


class Pair(NamedTuple):
    a: object
    b: object


class Layer:
    """An object that joins in by the three methods."""

    def __init__(self, weight, bias, name="layer"):
        self.weight, self.bias, self.name = weight, bias, name

    def __tree_items__(self):
        return {"weight": self.weight, "bias": self.bias}

    def __tree_replace__(self, items):
        return Layer(items["weight"], items["bias"], self.name)

    def __tree_assign__(self, name, sub):
        setattr(self, name, sub)

    def __call__(self, x):
        return x @ self.weight + self.bias


W, B = np.arange(6.0).reshape(2, 3) / 6, np.arange(3.0)

TREES = {
    "array": W,
    "number": 2.0,
    "list": [W, B],
    "tuple": (W, (B,)),
    "empty parts": {"a": [], "b": (), "c": W, "d": {}},
    "none": {"a": None, "b": [None, W]},
    "namedtuple": Pair(W, Pair(B, 1.5)),
    "dict": {"z": W, "a": B, 3: [B]},
    "object": Layer(W, B),
    "nested": [{"layers": [Layer(W, B), Layer(W.T, W[:, 0])], "pair": Pair(None, (W,))}],
    "constants": {"w": W, "n": 3, "mask": np.array([True, False]), "index": np.arange(4)},
    "dtypes": {"f": W.astype(np.float32), "d": B, "z": B * 1j, "c": (B * 1j).astype(np.complex64)},
    "empty arrays": [np.zeros((0, 3)), W, np.zeros(0)],
}
each = pytest.mark.parametrize("t", TREES.values(), ids=TREES)


def floats(t):
    return [(path, leaf) for path, leaf in tree.leaves(t) if tree.is_differentiable(leaf)]


def assert_same_tree(a, b):
    assert type(a) is type(b) or np.shape(a) == np.shape(b)
    for (p, x), (q, y) in zip(tree.leaves(a), tree.leaves(b), strict=True):
        assert p == q
        np.testing.assert_array_equal(x, y)
        assert tree.dtype_of(x) == tree.dtype_of(y)


@each
def test_flatten_and_unflatten(t):
    arrays, treedef = tree.flatten(t)
    assert_same_tree(treedef.unflatten(arrays), t)
    assert treedef.paths == [path for path, _ in floats(t)]
    np.testing.assert_equal([np.shape(a) for a in arrays], treedef.shapes)


@each
def test_ravel_round_trip(t):
    flat, unravel = rmad.ravel(t)
    assert flat.ndim == 1
    assert flat.size == sum(np.size(leaf) for _, leaf in floats(t))
    assert_same_tree(unravel(flat), t)
    doubled = dict(floats(unravel(flat * 2)))
    for path, leaf in floats(t):
        np.testing.assert_array_equal(doubled[path], 2 * leaf)
        assert tree.dtype_of(doubled[path]) == tree.dtype_of(leaf)


def test_ravel_keeps_the_dtype_and_checks_the_length():
    flat, unravel = rmad.ravel({"a": W.astype(np.float32), "n": 1, "b": np.float32(2)})
    assert flat.dtype == np.float32
    assert flat.shape == (7,)
    with pytest.raises(ValueError, match=r"\(7,\), got \(6,\)"):
        unravel(flat[:6])


def test_ravel_does_not_alias():
    """Writing into the flat vector does not reach the tree."""
    for t in ([W], [W, B], W):
        flat, _ = rmad.ravel(t)
        before = W.copy()
        flat += 1
        np.testing.assert_array_equal(W, before)


def test_unravel_does_not_keep_the_arrays():
    array = np.ones(3)
    ref = weakref.ref(array)
    flat, unravel = rmad.ravel({"a": array, "b": [array, 2]})
    del array
    gc.collect()
    assert ref() is None
    assert unravel(flat)["b"][1] == 2


def test_ravel_of_traced_arrays():
    def f(t):
        flat, unravel = rmad.ravel(t)
        back = unravel(flat * 2)
        return np.sum(np.square(back["a"])) + np.sum(back["b"][0])

    t = {"a": B, "b": [W, 4]}
    J = rmad.grad(f)(t)
    np.testing.assert_array_equal(J["a"], 8 * B)
    np.testing.assert_array_equal(J["b"][0], 2 * np.ones_like(W))
    rmad.check_grads(f, t)


@each
def test_derivatives_have_the_structure_of_the_tree(t):
    """Jv of the identity is v, JTu of it u: every kind of tree goes through both sweeps."""
    f = lambda t: tree.map_leaves(lambda leaf: leaf * 2 if tree.is_differentiable(leaf) else leaf, t)  # noqa: E731
    v = tree.map_leaves(lambda leaf: np.ones(np.shape(leaf), tree.dtype_of(leaf)), t)
    y, lin = rmad.linearize(f, t)
    for result in (lin.Jv(v), lin.JTu(v), rmad.jvp(f, t, v)[1], rmad.vjp(f, t)[1](v)):
        assert [p for p, _ in tree.leaves(result)] == [p for p, _ in tree.leaves(t)]
        for (_, r), (_, leaf), (_, w) in zip(tree.leaves(result), tree.leaves(t), tree.leaves(y), strict=True):
            assert np.shape(r) == np.shape(leaf) == np.shape(w)
            if tree.is_differentiable(leaf):
                assert tree.dtype_of(r) == tree.dtype_of(leaf)
                np.testing.assert_array_equal(r, 2 * np.ones_like(leaf))
            else:
                assert not np.any(r)
    rmad.check_grads(f, t)


def test_dicts_match_by_key_and_keep_the_order_of_x():
    x = {"b": W, "a": B}
    f = lambda x: {"y": np.sum(x["b"], 0) * x["a"], "x": x["a"]}  # noqa: E731
    _, lin = rmad.linearize(f, x)
    v = {"b": W + 1, "a": B - 1}
    wanted = lin.Jv(v)
    again = lin.Jv(dict(reversed(v.items())))
    assert list(wanted) == list(again) == ["y", "x"]
    np.testing.assert_array_equal(wanted["y"], again["y"])
    JTu = lin.JTu({"x": B, "y": B + 1})
    assert list(JTu) == ["b", "a"]
    np.testing.assert_array_equal(JTu["a"], lin.JTu({"y": B + 1, "x": B})["a"])


def test_objects():
    layer, x = Layer(W, B, "first"), np.ones((4, 2))
    J = rmad.grad(lambda layer: np.sum(np.tanh(layer(x))))(layer)
    assert isinstance(J, Layer)
    assert J.name == "first"
    rmad.check_grads(lambda layer: layer(x), layer)
    with pytest.raises(ValueError, match="v must be a Layer like x, not dict"):
        rmad.jvp(lambda layer: layer(x), layer, {"weight": W, "bias": B})
    with pytest.raises(ValueError, match=r"v\.weight has shape \(3,\), but x\.weight has shape \(2, 3\)"):
        rmad.jvp(lambda layer: layer(x), layer, Layer(B, B))


def test_objects_inside_a_list_are_checked_too():
    x = [Layer(W, B)]
    with pytest.raises(ValueError, match=r"v\[0\] must be a Layer like x\[0\], not dict"):
        rmad.jvp(lambda t: t[0].bias, x, [{"weight": W, "bias": B}])


def test_paths_name_leaves():
    t = {"layers": [Layer(W, B)], "k": Pair(1.0, (2.0,))}
    assert [p for p, _ in tree.leaves(t, "model")] == [
        "model['layers'][0].weight",
        "model['layers'][0].bias",
        "model['k'][0]",
        "model['k'][1][0]",
    ]


def test_rebind_makes_new_arrays_and_writes_into_none():
    layer, mask = Layer(W.copy(), B.copy()), np.array([True])
    t = {"layer": layer, "list": [B.copy(), mask], "n": 3}
    old, before = layer.weight, layer.weight.copy()
    new = [leaf + 1 for _, leaf in floats(t)]
    tree.rebind(t, new)
    assert layer.weight is new[0]
    assert t["list"][0] is new[2]
    assert t["list"][1] is mask
    assert t["n"] == 3
    np.testing.assert_array_equal(old, before)
    with pytest.raises(TypeError, match=r"x\['p'\]\[0\] sits in a tuple"):
        tree.rebind({"p": (W,)}, [W])


def test_leaves_that_are_no_arrays():
    with pytest.raises(TypeError, match=r"x\['f'\] is of type function"):
        tree.flatten({"f": lambda: None})
    assert not tree.is_differentiable(3)
    assert tree.is_differentiable(3.0)
    assert not tree.is_differentiable(True)


def test_map_and_replace():
    t = {"a": [1.0, None], "b": Pair(2.0, ())}
    doubled = tree.map_leaves(lambda leaf: 2 * leaf, t)
    assert doubled == {"a": [2.0, None], "b": Pair(4.0, ())}
    assert isinstance(doubled["b"], Pair)
