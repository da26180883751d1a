"""A table of the layers of a model, with shapes and numbers of parameters."""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nn.module import Module
from rmad.extend import Array, arrays, tree

__all__ = ["Summary", "SummaryRow", "summary"]


@dataclass
class SummaryRow:
    """One module of a summary.

    Attributes
    ----------
    name : str
        Name in the tree; "" is the model.
    layer : str
        The repr of the layer.
    n_parameters : int
        Numbers in the float arrays that belong to it and to no module below it.
    output : tuple, dict or None
        Shape of the result of its first call, a tuple of shapes for a tuple; None if it was never called.
    calls : int
        Number of calls in one run of the model.
    """

    name: str
    layer: str
    n_parameters: int
    output: Any = None
    calls: int = 0


@dataclass
class Summary:
    """The table as text (`str`, `print`) and as numbers.

    Attributes
    ----------
    rows : list of SummaryRow
        One per module, in the order of the tree.
    inputs : tuple of tuples of int
        Shapes of the inputs.
    dtype : dtype
        Type of the inputs.
    n_parameters : int
        Numbers in float arrays.
    n_buffers : int
        Numbers in buffers.
    parameter_bytes : int
        Bytes of parameters and buffers.
    activation_bytes : int
        Bytes of the results of all modules for this input; an array that several share counts once.
    """

    rows: list[SummaryRow]
    inputs: tuple[tuple[int, ...], ...]
    dtype: np.dtype[Any]
    n_parameters: int
    n_buffers: int
    parameter_bytes: int
    activation_bytes: int

    def __str__(self) -> str:
        table = [("name", "layer", "output", "parameters")]
        for row in self.rows:
            output = "not called" if not row.calls else f"{row.output}" + (f" ×{row.calls}" if row.calls > 1 else "")
            table.append((row.name or "(model)", row.layer, output, f"{row.n_parameters:,}"))
        name, layer, out, parameters = (max(map(len, column)) for column in zip(*table))
        lines = [f"{a:{name}}  {b:{layer}}  {c:{out}}  {d:>{parameters}}" for a, b, c, d in table]
        rule = "─" * max(map(len, lines))
        buffers = f", {self.n_buffers:,} numbers in buffers" if self.n_buffers else ""
        inputs = ", ".join(map(str, self.inputs))
        last = (
            f"{self.n_parameters:,} parameters{buffers}, {_bytes(self.parameter_bytes)}",
            f"activations {_bytes(self.activation_bytes)} for an input {inputs} {self.dtype}",
        )
        return "\n".join([lines[0], rule, *lines[1:], rule, *last])

    __repr__ = __str__


def summary(
    model: Module, input_shape: Sequence[int] | Sequence[Sequence[int]], *, dtype: DTypeLike | None = None
) -> Summary:
    """Returns a table of the model's layers: names as in the tree, shapes of outputs, numbers of parameters.

    A copy of the model runs once on zeros, in use (`eval`): the model itself and its random numbers stay as they are,
    even after an error. A module counts as called when it is called as a function; nothing is printed.

    Parameters
    ----------
    model : Module
        Any model.
    input_shape : tuple of int, or tuple of such tuples for several inputs
        (n, 28, 28, 1), or (28, 28, 1): n = 1 is put first if the model refuses the shape, or it has a single axis.
    dtype : dtype, optional
        Type of the input, int for tokens; that of the model's first parameter unless given.

    Returns
    -------
    Summary

    Raises
    ------
    ValueError
        Shows the model's own error, if it does not take such an input.

    Examples
    --------
    >>> import nn
    >>> model = nn.Sequential(nn.Linear(784, 100, rng=np.random.default_rng(0)), nn.Sigmoid())
    >>> print(nn.summary(model, (784,)))
    name     layer             output    parameters
    ───────────────────────────────────────────────
    (model)  Sequential()      (1, 100)           0
    0        Linear(784, 100)  (1, 100)      78,500
    1        Sigmoid()         (1, 100)           0
    ───────────────────────────────────────────────
    78,500 parameters, 314 kB
    activations 800 B for an input (1, 784) float32
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary: the model must be an nn.Module, not {type(model).__name__}")
    shapes = _shapes(input_shape)
    first = next((array for _, array in model.named_parameters()), np.empty(0, np.float32))
    return _run(model, shapes, first, first.dtype if dtype is None else np.dtype(dtype))


def _run(model: Module, shapes: tuple[tuple[int, ...], ...], like: Array, dtype: np.dtype[Any]) -> Summary:
    """Runs the model on zeros of these shapes, else of the same with a case in front; ValueError if neither fits."""
    with_case = tuple((1, *shape) for shape in shapes)
    attempts = [with_case] if all(len(shape) < 2 for shape in shapes) else [shapes, with_case]
    failures: list[str] = []
    for inputs in attempts:
        watch = _Watch(model)
        try:
            with np.errstate(all="ignore"):  # zeros may lead to a division by zero
                watch.model(*(arrays.zeros(like, shape, dtype) for shape in inputs))
        except Exception as error:  # a model may raise anything
            failures.append(f"{' and '.join(map(str, inputs))}: {type(error).__name__}: {error}")
            cause = error
        else:
            return watch.summary(inputs, dtype)
    hint = "; for a model of tokens: dtype=int" if dtype.kind == "f" and "must hold integers" in str(cause) else ""
    raise ValueError(
        f"summary: the model does not take zeros of {dtype} of shape " + "; nor ".join(failures) + hint
    ) from cause


def _shapes(input_shape: Any) -> tuple[tuple[int, ...], ...]:
    """Returns the shapes of the inputs; TypeError unless input_shape is one shape or a tuple of them."""
    try:
        several = any(isinstance(part, tuple | list) for part in input_shape)
        shapes = tuple(tuple(map(operator.index, shape)) for shape in (input_shape if several else [input_shape]))
    except TypeError:
        found = f"an array; pass x.shape, {np.shape(input_shape)}" if np.ndim(input_shape) > 1 else repr(input_shape)
        raise TypeError(
            f"summary: input_shape must be a shape, as (28, 28, 1), or a tuple of shapes, not {found}"
        ) from None
    if any(m < 0 for shape in shapes for m in shape):
        raise ValueError(f"summary: input_shape {input_shape} has a negative length")
    return shapes


@dataclass
class _Watch:
    """A copy of a model whose modules record the shapes of their results."""

    original: Module
    rows: list[SummaryRow] = field(default_factory=list)
    row_of: dict[int, SummaryRow] = field(default_factory=dict)  # by the id of the module in the copy
    held: dict[int, Array] = field(default_factory=dict)  # arrays that own memory, by id: held, so that ids stay unique
    given: dict[int, int] = field(default_factory=dict)  # bytes of those that are results of a module

    def __post_init__(self) -> None:
        self.model = self._copied(self.original, "")

    def _copied(self, node: Any, name: str) -> Any:
        """Returns a copy of the tree that shares the arrays, and the states of layers, which `eval` does not change."""
        below = f"{name}." if name else ""
        if isinstance(node, Module):
            row = SummaryRow(name, f"{type(node).__name__}({node.describe()})", sum(a.size for a in _own(node)))
            self.rows.append(row)
            new = node.__tree_replace__({k: self._copied(v, below + k) for k, v in node.__tree_items__().items()})
            vars(new)["training"] = False
            for key, value in vars(new).items():
                if isinstance(value, np.random.Generator):
                    vars(new)[key] = copy.deepcopy(value)
            new.__class__ = self._watched(type(node))
            self.row_of[id(new)] = row
            return new
        if isinstance(node, list | tuple):
            subs = [self._copied(sub, f"{below}{k}") for k, sub in enumerate(node)]
            return type(node)(*subs) if hasattr(node, "_fields") else type(node)(subs)
        if isinstance(node, dict):
            return {key: self._copied(sub, f"{below}{key}") for key, sub in node.items()}
        return node

    def _watched(self, kind: type[Module]) -> type[Module]:
        """Returns a subclass whose call records shapes and bytes."""

        def call(module: Module, *args: Any, **kwargs: Any) -> Any:
            for array in _arrays((args, list(kwargs.values()))):
                self.held.setdefault(id(_owner(array)), _owner(array))
            y = kind.__call__(module, *args, **kwargs)
            row = self.row_of[id(module)]
            row.calls += 1
            if row.calls == 1:
                row.output = _shape(y)
            for array in _arrays(y):
                owner = _owner(array)
                if id(owner) not in self.held:  # a view of the input, or the result of a module below, is not new
                    self.held[id(owner)] = owner
                    self.given[id(owner)] = array.nbytes
            return y

        return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__, "__doc__": kind.__doc__})

    def summary(self, inputs: tuple[tuple[int, ...], ...], dtype: np.dtype[Any]) -> Summary:
        """Returns the table, after the model has run."""
        state = self.original.state_dict()
        parameters = dict(self.original.named_parameters())
        buffers = [getattr(m, b) for m in self.original.modules() for b in m.buffers if getattr(m, b) is not None]
        return Summary(
            rows=self.rows,
            inputs=inputs,
            dtype=dtype,
            n_parameters=sum(int(a.size) for a in parameters.values()),
            n_buffers=sum(int(a.size) for a in buffers),
            parameter_bytes=sum(int(a.nbytes) for a in state.values()),
            activation_bytes=sum(self.given.values()),
        )


def _own(module: Module) -> Iterator[Array]:
    """Yields the float arrays that belong to the module and to no module below it."""

    def walk(node: Any) -> Iterator[Array]:
        if isinstance(node, Module):
            return
        if isinstance(node, list | tuple):
            for sub in node:
                yield from walk(sub)
        elif isinstance(node, dict):
            yield from walk(list(node.values()))
        elif hasattr(node, "dtype") and tree.is_differentiable(node):
            yield node

    return walk(list(module.__tree_items__().values()))


def _arrays(y: Any) -> list[Array]:
    return [leaf for _, leaf in tree.leaves(y) if hasattr(leaf, "nbytes")]


def _owner(array: Any) -> Array:
    """Returns the array that owns the memory of this one."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array


def _shape(y: Any) -> Any:
    """Returns the shape of an array, and the same tuple or dict of shapes for a tuple or dict."""
    if isinstance(y, list | tuple):
        return tuple(_shape(part) for part in y)
    if isinstance(y, dict):
        return {key: _shape(part) for key, part in y.items()}
    return tuple(np.shape(y))


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n < 999.5:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} GB"
