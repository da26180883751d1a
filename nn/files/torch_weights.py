"""Weights of PyTorch in the layouts of this package."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from nn.attention import MultiHeadAttention, TransformerBlock
from nn.conv import Conv2d, ConvTranspose2d
from nn.layer_norm import LayerNorm
from nn.linear import Linear
from nn.module import Module, _children, _places, _with_buffers
from nn.recurrent import GRU, LSTM, RNN
from rmad.extend import Array

__all__ = ["load_torch_state_dict"]

Rename: TypeAlias = Mapping[str, str | None] | Callable[[str], str | None]
ImageShape: TypeAlias = tuple[int, int, int]

# torch's names for the modules inside a module of ours
INSIDE = {
    TransformerBlock: {"attention": "self_attn", "mlp.0": "linear1", "mlp.2": "linear2"},
    MultiHeadAttention: {"projection.weight": "in_proj_weight", "projection.bias": "in_proj_bias", "out": "out_proj"},
}


class _Source(NamedTuple):
    """The recipe of one array of ours: names and shapes of torch's arrays, and the function of them that makes it."""

    ours: str
    layer: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    made: Callable[..., Array]


def load_torch_state_dict(
    model: Module,
    state: Mapping[str, Any],
    *,
    rename: Rename | None = None,
    flattened: Mapping[str, ImageShape] | None = None,
) -> None:
    """Rebinds the arrays of the model to those of a PyTorch state dict, with the layouts changed.

    =====================  ====================================================  =========================
    layer                  torch                                                 here
    =====================  ====================================================  =========================
    Linear                 weight (o, i)                                         (i, o)
    Conv2d                 weight (o, i / groups, kh, kw)                        (kh, kw, i / groups, o)
    ConvTranspose2d        weight (i, o / groups, kh, kw)                        (kh, kw, o / groups, i)
    BatchNorm              weight, bias, running_mean, running_var               the same
    LayerNorm, Embedding   weight, bias                                          the same
    LayerNorm of images    weight, bias (c, h, w)                                (h, w, c)
    RNN, LSTM, GRU         weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0    weight, recurrent_weight, bias
    MultiHeadAttention     those of torch's MultiheadAttention                   projection, out
    TransformerBlock       those of torch's TransformerEncoderLayer              attention, mlp, norm1, norm2
    =====================  ====================================================  =========================

    num_batches_tracked is left out; arrays of other modules are taken as they are; dtypes become those of the model.

    Parameters
    ----------
    model : Module
        The model, whose tree has the names of the state as in the table, or as `rename` makes them.
    state : dict of arrays or tensors
        `torch_model.state_dict()`, or NumPy arrays, for example from a safetensors file.
    rename : dict or function, optional
        Leads from names in the state, or their beginnings ("features.0" → "0"), to ours; None leaves an array out.
    flattened : dict, optional
        {"4.weight": (c, h, w)} for a Linear after a Flatten of such images, whose pixels torch orders (c, h, w).

    Raises
    ------
    ValueError
        Names the parameter that does not fit and both shapes, that NumPy cannot hold, or that has NaN or numbers too
        large for the model's dtype; the model is as it was.
    TypeError
        Unless model is a Module, state a state dict, and rename and flattened are as above; the model is as it was.

    Examples
    --------
    >>> import nn, numpy as np
    >>> model = nn.Sequential(nn.Linear(3, 2, rng=np.random.default_rng(0)))
    >>> nn.load_torch_state_dict(model, {"0.weight": np.ones((2, 3)), "0.bias": np.zeros(2)})
    """
    _check_kinds(model, state)
    _check_options(rename, flattened)
    given = _renamed(state, rename)
    sources = list(_sources(model, flattened or {}))
    _check_names(sources, given, flattened or {})
    model.load_state_dict({source.ours: _converted(source, given) for source in sources})


def _check_names(sources: list[_Source], given: Mapping[str, Array], flattened: Mapping[str, ImageShape]) -> None:
    """Raises ValueError for a name in `given` or `flattened` that belongs to no array of the model."""
    known = {source.ours for source in sources}
    for name in flattened:
        if name not in known:
            raise ValueError(f"load_torch_state_dict: flattened names {name!r}, which the model does not have")
    wanted = {name for source in sources for name in source.names}
    for name, array in given.items():
        if name not in wanted:
            takes = ", ".join(sorted(wanted)[:4]) + (", …" if len(wanted) > 4 else "")
            raise ValueError(
                f"load_torch_state_dict: the state has {name!r} {np.shape(array)}, which the model does not have. "
                f"It takes {takes}; `rename` leads from one to the other"
            )


def _check_kinds(model: Any, state: Any) -> None:
    """Raises TypeError unless the arguments are a module and a mapping."""
    if not isinstance(model, Module):
        raise TypeError(f"load_torch_state_dict: model must be an nn.Module, not {type(model).__name__}")
    if not isinstance(state, Mapping):
        hint = "; torch.load or safetensors read a file" if isinstance(state, str) else ""
        hint = "; pass its state_dict()" if hasattr(state, "state_dict") else hint
        found = f"{type(state).__name__}{hint}"
        raise TypeError(f"load_torch_state_dict: state must be a state dict, {{name: array}}, not {found}")


def _check_options(rename: Any, flattened: Any) -> None:
    """Raises TypeError unless the arguments are of the types that lead from torch's names and pixels to ours."""
    if not (rename is None or callable(rename) or isinstance(rename, Mapping)):
        raise TypeError(f"load_torch_state_dict: rename must be a dict or a function, not {type(rename).__name__}")
    if not (flattened is None or isinstance(flattened, Mapping)):
        raise TypeError(
            f"load_torch_state_dict: flattened must be a dict {{name: (c, h, w)}}, not {type(flattened).__name__}"
        )


def _converted(source: _Source, given: Mapping[str, Array]) -> Array:
    """Returns an array of ours, made of torch's."""
    arrays = []
    for name, shape in zip(source.names, source.shapes):
        what = f"{source.ours!r} of {source.layer}, here {source.shape},"
        if name not in given:
            raise ValueError(f"load_torch_state_dict: {what} needs {name!r} {shape}, which the state lacks")
        array = given[name]
        if array.shape != shape:
            raise ValueError(f"load_torch_state_dict: {what} needs {name!r} {shape}, the state has {array.shape}")
        arrays.append(array)
    return source.made(*arrays)


# -- the state ------------------------------------------------------------------------------------------


def _renamed(state: Mapping[str, Any], rename: Rename | None) -> dict[str, Array]:
    """Returns {name: NumPy array} under the new names."""
    given: dict[str, Array] = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(f"load_torch_state_dict: the names in a state dict are texts, not {name!r}")
        new = _new_name(name, rename)
        if not (new is None or isinstance(new, str)):
            raise TypeError(f"load_torch_state_dict: rename leads from {name!r} to {new!r}, which is no name")
        if new is None or new.rpartition(".")[2] == "num_batches_tracked":
            continue
        if new in given:
            raise ValueError(f"load_torch_state_dict: two arrays of the state are renamed to {new!r}, {name!r} is one")
        given[new] = _as_numpy(name, value)
    return given


def _new_name(name: str, rename: Rename | None) -> str | None:
    """Returns the name that `rename` gives to an array of the state; None leaves it out."""
    if rename is None:
        return name
    if callable(rename):
        return rename(name)
    parts = name.split(".")
    for k in range(len(parts), 0, -1):  # the longest beginning that has a new name
        beginning = ".".join(parts[:k])
        if beginning in rename:
            new = rename[beginning]
            return ".".join(filter(None, [new, *parts[k:]])) if isinstance(new, str) else new
    return name


def _as_numpy(name: str, value: Any) -> Array:
    """Returns a tensor of torch as an array, and an array as it is; ValueError for one without numbers of NumPy's."""
    try:
        array = _numpy_of_torch(value) if hasattr(value, "detach") else value
        if hasattr(array, "dtype") and not hasattr(array, "__array_function__"):
            array = np.asarray(array)
    except Exception as error:  # torch raises NotImplementedError, RuntimeError and TypeError, by the kind of tensor
        raise ValueError(f"load_torch_state_dict: {name!r} has no numbers that NumPy can hold: {error}") from error
    if hasattr(array, "dtype") and getattr(array.dtype, "kind", "?") not in "biufc":
        raise ValueError(f"load_torch_state_dict: {name!r} holds {array.dtype}, which are no numbers")
    if not hasattr(array, "shape") or not hasattr(array, "dtype"):
        raise TypeError(
            f"load_torch_state_dict: {name!r} is a {type(value).__name__}, not an array; of a checkpoint that holds "
            "more than the weights, pass the state dict in it"
        )
    return array


def _numpy_of_torch(tensor: Any) -> Array:
    """Returns the numbers of a tensor of torch, which need not be imported for this."""
    tensor = tensor.detach().cpu()
    if str(tensor.dtype).startswith(("torch.bfloat16", "torch.float8")):  # not in NumPy; float32 holds all of them
        tensor = tensor.float()
    if hasattr(tensor, "resolve_conj"):  # applies the marks that torch leaves on a tensor until its numbers are used
        tensor = tensor.resolve_conj().resolve_neg()
    return tensor.numpy()


# -- layouts --------------------------------------------------------------------------------------------


def _sources(model: Module, flattened: Mapping[str, ImageShape]) -> Iterator[_Source]:
    """Yields the recipe of every array of the model."""
    renamed = [
        (prefix + ours, prefix + theirs)
        for prefix, module in _named_modules(model, "")
        for kind, names in INSIDE.items()
        if isinstance(module, kind)
        for ours, theirs in names.items()
    ]
    for name, array, owner, key in _places(model, _with_buffers):
        layer = f"{type(owner).__name__}({owner.describe()})" if isinstance(owner, Module) else type(owner).__name__
        theirs = name
        for ours, new in reversed(renamed):  # from the inside out
            if theirs == ours or theirs.startswith(ours + "."):
                theirs = new + theirs[len(ours) :]
        if isinstance(owner, RNN | LSTM | GRU):
            names, shapes, made = _recurrent(owner, key)
            beginning = theirs.removesuffix(key)
            yield _Source(name, layer, array.shape, tuple(beginning + n for n in names), shapes, made)
        else:
            shape, made = _layout(owner, key, array.shape, name, flattened)
            yield _Source(name, layer, array.shape, (theirs,), (shape,), made)


def _named_modules(node: Any, prefix: str) -> Iterator[tuple[str, Module]]:
    """Yields (name and a dot, module) for every module, those inside after the one around them."""
    if isinstance(node, Module):
        yield prefix, node
    if isinstance(node, Module | list | tuple | dict):
        for key, child in _children(node):
            yield from _named_modules(child, f"{prefix}{key}.")


def _layout(
    owner: Any, key: str, shape: tuple[int, ...], name: str, flattened: Mapping[str, ImageShape]
) -> tuple[tuple[int, ...], Callable[..., Array]]:
    """Returns torch's shape for an array of ours, and the function that makes ours of torch's."""
    if name in flattened:
        return _pixels_permuted(owner, key, shape, name, flattened[name])
    if isinstance(owner, Linear) and key == "weight":
        return shape[::-1], np.transpose
    if isinstance(owner, Conv2d | ConvTranspose2d) and key == "weight":
        kh, kw, i, o = shape
        return (o, i, kh, kw), lambda W: W.transpose(2, 3, 1, 0)
    if isinstance(owner, LayerNorm) and len(shape) == 3:
        h, w, c = shape
        return (c, h, w), lambda a: a.transpose(1, 2, 0)
    return shape, lambda a: a


def _pixels_permuted(
    owner: Any, key: str, shape: tuple[int, ...], name: str, image: ImageShape
) -> tuple[tuple[int, ...], Callable[..., Array]]:
    """Returns the layout of a Linear's weight on images (h, w, c), which torch flattens in the order (c, h, w)."""
    try:
        c, h, w = map(operator.index, image)
        if min(c, h, w) < 1:
            raise ValueError
    except (TypeError, ValueError):
        raise ValueError(f"load_torch_state_dict: flattened[{name!r}] must be (c, h, w), not {image!r}") from None
    if not isinstance(owner, Linear) or key != "weight" or c * h * w != shape[0]:
        raise ValueError(
            f"load_torch_state_dict: flattened gives {name!r} {(c, h, w)}, which is for the weight of a Linear "
            f"with {c * h * w} features; {name!r} belongs to a {type(owner).__name__} and is {shape}"
        )
    o = shape[1]
    return (o, c * h * w), lambda W: W.reshape(o, c, h, w).transpose(2, 3, 1, 0).reshape(h * w * c, o)


def _recurrent(
    layer: RNN | LSTM | GRU, key: str
) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...], Callable[..., Array]]:
    """Returns names and shapes of torch's arrays for one of ours, and the function that makes ours of them.

    torch has a bias for either product.
    """
    i, h = layer.in_features, layer.hidden_size
    rows = layer.gates * h
    if key == "weight":
        return ("weight_ih_l0",), ((rows, i),), np.transpose
    if key == "recurrent_weight":
        return ("weight_hh_l0",), ((rows, h),), np.transpose
    if key == "recurrent_bias":  # GRU's candidate, whose reset gate acts on the product and its bias
        return ("bias_hh_l0",), ((rows,),), lambda b: b[2 * h :]
    alone = slice(2 * h, None) if isinstance(layer, GRU) else slice(0, 0)  # the part of recurrent_bias

    def summed(b_ih: Array, b_hh: Array) -> Array:
        b_hh = b_hh.copy()
        b_hh[alone] = 0
        return b_ih + b_hh

    return ("bias_ih_l0", "bias_hh_l0"), ((rows,), (rows,)), summed
