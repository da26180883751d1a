"""The transforms of a function: linearize, jvp, vjp, grad, value_and_grad, hvp; and stop_gradient.

    linearize   y, lin     lin.Jv(v) and lin.JTu(u) as often as wanted, from one run of f
    jvp         y, Jv      forward mode, one tangent
    vjp         y, pull    reverse mode, pull(u) = Jᵀu
    grad        ∇f         the pull of 1 for a real scalar f
    hvp         ∇²f v      the push of the gradient

The first argument of a differentiated function is differentiated: a tree of float arrays. Further positional arguments
pass through. `grad` and `value_and_grad` take other arguments too: `argnums`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, overload

import numpy as np

from rmad.machine.arrays import one
from rmad.record import Record
from rmad.tracing.traced import Traced, stop
from rmad.tracing.weak import Weak
from rmad.transforms.argnums import Argnums, chooser
from rmad.transforms.linearization import Linearization
from rmad.trees import tree as _tree
from rmad.types import Out, P, Tree

__all__ = [
    "Linearization",
    "grad",
    "hvp",
    "jvp",
    "linearize",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]


def linearize(f: Callable[Concatenate[Tree, P], Out], x: Tree, *args: Any) -> tuple[Out, Linearization[Tree, Out]]:
    """y = f(x, *args) and its Jacobian J = ∂f/∂x at x, from one run of f: lin.Jv(v), lin.JTu(u).

    Parameters
    ----------
    f : callable (x, *args) → y, a tree of arrays
    x : tree of float arrays
    *args : passed to f, not differentiated

    Returns
    -------
    y : f(x, *args). A large array in it may be part of the tape (exp is its own derivative): if you write into it, a
        product that needs it raises an error
    lin : Linearization; its products never run f again

    Raises
    ------
    TypeError
        x holds no float array, or f returns no tree of arrays.
    ValueError
        f, or later its caller, writes into a large array that the derivative needs; the message names it. Small ones
        are copied.

    References
    ----------
    Martens & Sutskever (2012), algorithm 1 and section 5.

    Examples
    --------
    >>> y, lin = linearize(np.tanh, np.zeros(3))
    >>> lin.Jv(np.ones(3))
    array([1., 1., 1.])
    """
    record = Record(f, x, args)
    return record.give_y(), Linearization(record)


def jvp(f: Callable[Concatenate[Tree, P], Out], x: Tree, v: Tree, *args: Any) -> tuple[Out, Out]:
    """y = f(x, *args) and Jv, the derivative of f along v, by one forward sweep.

    Parameters
    ----------
    f : callable (x, *args) → y, a tree of arrays
    x : tree of float arrays
    v : tree like x
    *args : passed to f, not differentiated

    Returns
    -------
    y : f(x, *args)
    Jv : tree like y

    Raises
    ------
    TypeError
        x holds no float array, or f returns no tree of arrays.
    ValueError
        v does not fit x.

    Examples
    --------
    >>> jvp(np.square, np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    (array([1., 4.]), array([ 2., 40.]))
    """
    record = Record(f, x, args)
    return record.y, record.push(v)


def vjp(f: Callable[Concatenate[Tree, P], Out], x: Tree, *args: Any) -> tuple[Out, Callable[[Any], Tree]]:
    """y = f(x, *args) and pull with pull(u) = Jᵀu, each by one backward sweep.

    Parameters
    ----------
    f : callable (x, *args) → y, a tree of arrays
    x : tree of float arrays
    *args : passed to f, not differentiated

    Returns
    -------
    y : f(x, *args), which may share memory with the tape, as that of `linearize`
    pull : u, a tree like y → Jᵀu, a tree like x

    Raises
    ------
    TypeError
        x holds no float array, or f returns no tree of arrays.

    Examples
    --------
    >>> y, pull = vjp(np.square, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    array([ 2., 40.])
    """
    record = Record(f, x, args)

    def pull(u: Any) -> Tree:
        record.verify()
        return record.pull(u)

    return record.give_y(), pull


@overload
def value_and_grad(
    f: Callable[Concatenate[Tree, P], Out], argnums: Literal[0] = 0
) -> Callable[Concatenate[Tree, P], tuple[Out, Tree]]: ...
@overload
def value_and_grad(f: Callable[..., Out], argnums: Argnums) -> Callable[..., tuple[Out, Any]]: ...
def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., tuple[Any, Any]]:
    """(x, *args, **kwargs) → (f, ∇f), for a real scalar f.

    For a complex x, ∇f is the gradient under ⟨u, v⟩ = Re uᴴv: ∂f/∂Re x + i ∂f/∂Im x.

    Parameters
    ----------
    f : callable (x, *args, **kwargs) → real scalar, or an array of one number; x: a tree of float arrays
    argnums : int or tuple of int, default 0
        Another argument to differentiate instead of the first, or several; ∇f is then a tuple.

    Returns
    -------
    evaluate : callable (x, *args, **kwargs) → (f, tree like x); it raises TypeError if f returns no real scalar

    Examples
    --------
    >>> value_and_grad(lambda x: x**3)(2.0)
    (np.float64(8.0), np.float64(12.0))
    """
    choose = chooser(f, argnums)

    def evaluate(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        record = Record(*choose(args, kwargs))
        y = record.y
        return y, record.pull_arrays(_one_like(y, record.out))

    return evaluate


def _one_like(y: Any, out: _tree.TreeDef) -> list[Any]:
    """1 in the dtype of y, as the arrays of a tree like it; TypeError if y is no real scalar, nor an array of one."""
    if getattr(y, "size", 1) != 1 or isinstance(y, tuple | list | dict) or y is None:
        kind = f"shape {y.shape}" if hasattr(y, "shape") else type(y).__name__
        raise TypeError(f"the gradient is of a scalar, but f returned {kind}; use rmad.vjp or rmad.linearize")
    if out.dtypes and out.dtypes[0].kind == "c":
        raise TypeError("the gradient is of a real scalar, but f returned a complex one; use rmad.vjp")
    if not out.dtypes:
        return []
    u = one(y, out.dtypes[0])
    return [np.reshape(u, out.shapes[0]) if out.shapes[0] else u]


@overload
def grad(f: Callable[Concatenate[Tree, P], Any], argnums: Literal[0] = 0) -> Callable[Concatenate[Tree, P], Tree]: ...
@overload
def grad(f: Callable[..., Any], argnums: Argnums) -> Callable[..., Any]: ...
def grad(f: Callable[..., Any], argnums: Argnums = 0) -> Callable[..., Any]:
    """(x, *args, **kwargs) → ∇f, for a real scalar f. See `value_and_grad`.

    Parameters
    ----------
    f : callable (x, *args, **kwargs) → real scalar, or an array of one number; x: a tree of float arrays
    argnums : int or tuple of int, default 0
        Another argument to differentiate instead of the first, or several; ∇f is then a tuple.

    Returns
    -------
    gradient : callable (x, *args, **kwargs) → tree like x, zeros of their own dtype at integer leaves; it raises
        TypeError if f returns no real scalar

    Examples
    --------
    >>> grad(lambda x: x**3)(2.0)
    np.float64(12.0)
    >>> grad(lambda a, b: a * b, argnums=(0, 1))(2.0, 5.0)
    (np.float64(5.0), np.float64(2.0))
    """
    evaluate = value_and_grad(f, argnums)
    return lambda *args, **kwargs: evaluate(*args, **kwargs)[1]


def hvp(f: Callable[Concatenate[Tree, P], Any], x: Tree, v: Tree, *args: Any) -> Tree:
    """∇²f v = d/dε ∇f(x + εv) at ε = 0, for a real scalar f: the push of the gradient.

    For many v at the same x, `linearize(grad(f), x)[1].Jv` or a HessianOperator runs f once.

    Parameters
    ----------
    f : callable (x, *args) → real scalar
    x : tree of float arrays
    v : tree like x
    *args : passed to f, not differentiated

    Returns
    -------
    Hv : tree like x

    Raises
    ------
    TypeError
        f returns no real scalar.
    ValueError
        v does not fit x.

    References
    ----------
    Pearlmutter (1994).

    Examples
    --------
    >>> hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """
    return jvp(grad(f), x, v, *args)[1]


def stop_gradient(x: Tree) -> Tree:
    """y = x with ∂y/∂x = 0: x as a constant.

    Parameters
    ----------
    x : array or tree

    Returns
    -------
    y : x with its traced arrays replaced by their values

    Examples
    --------
    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    return _value(x) if isinstance(x, Traced) else _tree.map_leaves(_value, x)


def _value(x: Any) -> Any:
    """The plain value of a traced array, which blocks may hold: the caller must not write into theirs."""
    if not isinstance(x, Traced):
        return stop(x)
    if isinstance(x, Weak):
        return stop(x).item()
    while isinstance(x, Traced):
        x, tape = x.value, x.tape
    return x if tape.closed else tape.captured.keep(x, "stop_gradient", own=True)
