"""Mistakes of the first hour with states, files and data, and the message that names each.

A row: the call, the kind of error, and a part of its message.
"""

from __future__ import annotations

import pytest
from first_hour import Refuses, T, X, net, rng

import nn

FILES = {
    "a folder that is not there": (
        lambda: nn.save(net(), "no/such/folder/model.safetensors"),
        FileNotFoundError,
        "No such file or directory: 'no/such/folder/model.safetensors'$",
    ),
    "a state that is a path": (
        lambda: net().load_state_dict("model.safetensors"),
        TypeError,
        r"a state is {name: array}, as state_dict gives it, not str; nn.load\(model, path\) reads a file",
    ),
    "a state that is a model": (
        lambda: net().load_state_dict(net()),
        TypeError,
        r"Sequential; pass its state_dict\(\)",
    ),
    "a state of lists": (
        lambda: net().load_state_dict({name: a.tolist() for name, a in net().state_dict().items()}),
        TypeError,
        "'0.weight' of the state must be an array, not list",
    ),
    "a state that lacks an array": (
        lambda: net().load_state_dict({}),
        ValueError,
        "the state lacks '0.weight' of shape",
    ),
    "PyTorch's names": (
        lambda: nn.load_torch_state_dict(net(), {"fc.weight": X}),
        ValueError,
        r"the state has 'fc.weight' \(5, 4\), which the model does not have. "
        "It takes 0.bias, 0.weight, 2.bias, 2.weight; `rename`",
    ),
    "PyTorch's file": (
        lambda: nn.load_torch_state_dict(net(), "model.pt"),
        TypeError,
        "state must be a state dict, .*, not str; torch.load or safetensors read a file",
    ),
    "state and model swapped": (
        lambda: nn.load_torch_state_dict({}, net()),
        TypeError,
        "model must be an nn.Module, not dict",
    ),
    "half a size of images": (
        lambda: nn.load_torch_state_dict(net(), {}, flattened={"0.weight": (1, 2)}),
        ValueError,
        r"flattened\['0.weight'\] must be \(c, h, w\), not \(1, 2\)",
    ),
    "load with path and model swapped": (
        lambda: nn.load("m.safetensors", net()),
        TypeError,
        r"load: the model comes first, nn.load\(model, path\); it is of type str",
    ),
    "save with path and model swapped": (
        lambda: nn.save("m.safetensors", net()),
        TypeError,
        r"save: the model comes first, nn.save\(model, path\); it is of type str",
    ),
    "save to a model": (lambda: nn.save(net(), net()), TypeError, "the path must be a str or a Path, not Sequential"),
    "a data set in batches": (
        lambda: nn.data.batches(nn.data.Dataset(X, T, X, T), None, 2),
        TypeError,
        r"x must be an array, not a Dataset; batches\(data.x_train, data.t_train, size\)",
    ),
    "a list in batches": (lambda: nn.data.batches(X, [0] * 5, 2), TypeError, "t must be an array, not a list"),
    "a seed for batches": (lambda: nn.data.batches(X, T, 2, 0), TypeError, "batches: rng must be a Generator"),
    "half a case in batches": (lambda: nn.data.batches(X, T, 2.5), TypeError, "size must be whole, not 2.5"),
    "no case in batches": (lambda: nn.data.batches(X, T, 0), ValueError, "batches: size must be positive"),
    "other targets in batches": (lambda: nn.data.batches(X, T[:3], 2), ValueError, "x has 5 cases, t has 3"),
    "bytes for a text": (lambda: nn.data.Text(b"to be"), TypeError, r"must be a str, not bytes; text.decode\(\) makes"),
    "a seed for samples of a text": (
        lambda: nn.data.Text("to be or not to be").sample(2, 3, 0),
        TypeError,
        "Text.sample: rng must be a Generator",
    ),
    "minus one sample of a text": (
        lambda: nn.data.Text("to be or not to be").sample(-1, 3, rng()),
        ValueError,
        "Text.sample: n and length must be positive",
    ),
    "a file for a folder": (
        lambda: nn.data.mnist(__file__),
        FileNotFoundError,
        "data_dir is a file, give the folder that it lies in",
    ),
    "a word for a number of curves": (
        lambda: nn.data.curves("x"),
        TypeError,
        "n_train and n_test must be whole, not 'x'",
    ),
    "a folder without the data": (
        lambda: nn.data.mnist("no/such/folder"),
        FileNotFoundError,
        "mnist: no train-images-idx3-ubyte.gz in no/such/folder/mnist or no/such/folder",
    ),
    "a state of another model": (
        lambda: nn.Linear(4, 8, rng=rng()).load_state_dict({"a": X}),
        ValueError,
        "the state has 'a'",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_states_files_and_data_say_what_is_wrong(refuses: Refuses, case: str) -> None:
    refuses(*FILES[case])
