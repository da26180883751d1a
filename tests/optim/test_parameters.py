"""Parameters are rebound, never written to; arrays outside a batch of plain arrays."""

from __future__ import annotations

import numpy as np
import pytest
from divided import LOSSES, batch, everything, mlp

import nn
import optim
import rmad


def test_assign_rebinds_and_keeps_the_old_arrays():
    model = mlp()
    objective = optim.Objective(model, nn.SquaredError())
    arrays = model.parameters()
    kept = [a.copy() for a in arrays]
    theta = objective.flat()
    new = theta + 1
    objective.assign(new)
    for old, copy, now in zip(arrays, kept, model.parameters(), strict=True):
        assert now is not old
        np.testing.assert_array_equal(old, copy)
        np.testing.assert_array_equal(now, copy + 1)
    new[:] = np.nan  # the caller's vector stays the caller's
    np.testing.assert_array_equal(objective.flat(), theta + 1)
    flat = objective.flat()
    flat[:] = 0
    np.testing.assert_array_equal(objective.flat(), theta + 1)
    with pytest.raises(ValueError, match=r"expected a flat vector of shape \(51,\), got \(50,\)"):
        objective.assign(theta[1:])


def test_other_parameters_leave_the_model_alone():
    model, (x, t) = mlp(), batch()
    objective = optim.Objective(model, nn.SquaredError())
    arrays, theta = model.parameters(), objective.flat()
    other = objective.model_at(2 * theta)
    objective.value_at(3 * theta, x, t)
    assert all(a is b for a, b in zip(arrays, model.parameters(), strict=True))
    np.testing.assert_array_equal(rmad.ravel(other)[0], 2 * theta)


def test_parameters_that_do_not_matter():
    x, t = batch()
    model = optim.Function(lambda p, x: x @ p["W"], {"W": np.ones((4, 3)), "unused": np.ones(2)})
    for shards in (1, 2):
        found = everything(optim.Objective(model, nn.SquaredError(), shards=shards), x, t)
        for name in ("gradient", "gradient of the model", "Gv", "Hv"):
            np.testing.assert_array_equal(found[name][-2:], 0, err_msg=name)
    assert not np.any(optim.Objective(model, nn.SquaredError()).quadratic(x, t).squared_gradients()[-2:])


@pytest.mark.parametrize("name", LOSSES)
def test_an_output_that_depends_on_no_parameter(name):
    (x, t), (loss, target) = batch(), LOSSES[name]
    objective = optim.Objective(optim.Function(lambda p, x: x[:, :3], {"W": np.ones(2)}), loss, shards=2)
    for key, found in everything(objective, x, target(t)).items():
        assert key.startswith("value") or not np.any(found), key


def test_a_layer_in_two_places_is_refused():
    """Each place would get an update of its own, and the second undo the first."""
    layer = nn.Linear(3, 3, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"model\.0 and model\.2 are one and the same object"):
        optim.Objective(nn.Sequential(layer, nn.Tanh(), layer), nn.SquaredError())
