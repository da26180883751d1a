"""Every entry of every optimizer's state replaced: ValueError (TypeError if it is no dict), and nothing is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nn
import optim

METHODS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9},
    "Adam": {},
    "BFGS": {},
    "LevenbergMarquardt": {},
    "HessianFree": {},
    "CurveBall": {},
    "SGN": {},
    "KFAC": {},
    "KFRA": {},
    "EKFAC": {},
}
ODD: list[Any] = [None, "a", -1, np.nan, np.inf, 10**40, [], {}, [1, "b"], np.full(3, np.nan), np.array("a"), object()]
X, T = np.random.default_rng(0).normal(size=(20, 4)), np.random.default_rng(1).normal(size=(20, 2))


def trained(name: str) -> Any:
    first, last = (nn.Linear(i, o, rng=np.random.default_rng(i)) for i, o in ((4, 3), (3, 2)))
    model = nn.Sequential(first, nn.Tanh(), last)
    opt = getattr(optim, name)(model, nn.SquaredError(), **METHODS[name])
    for _ in range(3):
        opt.step(X.astype(np.float32), T.astype(np.float32))
    return opt


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", METHODS)
def test_a_tampered_state_is_refused_as_a_whole(name: str) -> None:
    opt = trained(name)
    good = opt.state_dict()
    changed = [good | {key: value} for key in good for value in ODD]
    changed += [{a: b for a, b in good.items() if a != key} for key in good]
    changed += [good | {"more": 1}, good | {3: 1}, {}]
    refused = 0
    for state in changed:
        try:
            opt.load_state_dict(state)
        except ValueError:
            refused += 1
        else:  # a number where one may be
            opt.step(X.astype(np.float32), T.astype(np.float32))
            opt.load_state_dict(good)
        assert same(opt.state_dict(), good)
    assert refused > 0.97 * len(changed)
    for state in (None, [1]):
        with pytest.raises(TypeError, match="a state is a dict"):
            opt.load_state_dict(state)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda state: None, TypeError, "a state is {name: array}"),
        (lambda state: dict.fromkeys(state, 3), TypeError, r"params\['W'\] of the state must be an array, not int"),
        (lambda state: {key: a * np.nan for key, a in state.items()}, ValueError, "of the state holds NaN"),
        (lambda state: {3: 1}, ValueError, r"the state has the entries \['3'\]"),
    ],
)
def test_states_of_functions(change: Any, error: type[Exception], told: str) -> None:
    function = optim.Function(lambda params, x: x @ params["W"], {"W": np.ones((4, 2))})
    with pytest.raises(error, match=told):
        function.load_state_dict(change(function.state_dict()))
    np.testing.assert_array_equal(function.params["W"], np.ones((4, 2)))
