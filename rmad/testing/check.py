"""check: every check for a primitive, a function, a layer, a loss or an optimizer, on drawn or given examples."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from rmad.testing.functions import FunctionCheck
from rmad.testing.layers import LayerCheck
from rmad.testing.loss_checks import LossCheck
from rmad.testing.optimizers import OptimizerCheck
from rmad.testing.strategies import arrays, as_strategy
from rmad.tracing.dispatch import Primitive
from rmad.trees import tree as _tree

__all__ = ["check"]

KINDS = ("function", "loss", "layer", "optimizer")


def check(
    f: Any,
    *args: Any,
    kind: str | None = None,
    argnums: int | Sequence[int] | None = None,
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    rtol: float | None = None,
    precision: bool = True,
    max_examples: int | None = None,
) -> None:
    """Checks values, Jv, Jᵀu, second derivatives, plans, layouts, dtypes and threads on drawn or given examples.

    A failure is shrunk by hypothesis. The message has the check that failed, the block of the Jacobian that is wrong
    and the smallest example.

    Parameters
    ----------
    f : what is checked
        A *function* of arrays or trees, a primitive among them; a *layer* or model, which is a tree with
        __tree_items__ and is called layer(x); a *loss* (z, t) → scalar, which has a method `value` or an attribute
        `mean_over_cases`; an *optimizer*: a class with a method `step`, or a partial of one
    *args : per argument of f an array, a tree, or a strategy such as `arrays` (also as a leaf of a tree). A function
        gets arrays() for each argument if none is given, a layer wants x, a loss z and t, an optimizer nothing
    kind : "function", "loss", "layer" or "optimizer", where the object does not tell; a loss that is a plain function
        needs it
    argnums : int or ints, arguments of a function that are differentiated; default all that hold floats
    order : int, the number of derivatives to check; default 2
    modes : sequence of "fwd" (Jv) and "rev" (Jᵀu); default both
    rtol : float, allowed error of Jv against differences; default as for `rmad.check_grads`
    precision : bool, also check in float32; default True
    max_examples : int, the number of examples drawn; default that of hypothesis's profile

    Raises
    ------
    AssertionError
        Something is wrong.
    ValueError
        f has no derivative at any of the examples: the strategy must draw from its domain.
    TypeError
        f or args are not of the kind.

    Examples
    --------
    >>> check(np.tanh)
    >>> check(np.log, arrays(lo=0.1, hi=3))
    """
    kind = _kind(f) if kind is None else kind
    if kind not in KINDS:
        raise TypeError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    if kind == "optimizer":
        if args:
            raise TypeError("an optimizer is checked on a problem of the tester's own: pass the class alone")
        OptimizerCheck(f).run()
        return
    settled = order, modes, rtol, precision
    if kind == "function":
        tester: FunctionCheck = FunctionCheck(*settled)
        args = args or (arrays(),) * _arguments(f)
        example = partial(_on_arguments, tester, f, argnums)
    else:
        tester = LossCheck(*settled) if kind == "loss" else LayerCheck(*settled)
        if not args:
            raise TypeError(f"a {kind} is checked on {'z and t' if kind == 'loss' else 'x'}: none is given")
        example = partial(tester, f)
    _on_examples(example, args, max_examples)
    if not tester.measured and order:
        raise ValueError(
            f"{_name(f)} has no derivative at any of the examples, or none that differences could show: pass a "
            "strategy that draws from its domain, such as rmad.testing.arrays(lo=0.1, hi=3)"
        )


def _kind(f: Any) -> str:
    made = f.func if isinstance(f, partial) else f
    if isinstance(made, type):
        if hasattr(made, "step"):
            return "optimizer"
        raise TypeError(f"{made.__name__} is a class; pass an object, {made.__name__}(…)")
    if hasattr(f, "step") and hasattr(f, "objective"):
        raise TypeError(f"pass the class {type(f).__name__}, or a partial of it: an optimizer is made anew many times")
    if hasattr(f, "value") or hasattr(f, "mean_over_cases"):
        return "loss"
    if not callable(f):
        raise TypeError(f"{type(f).__name__} is neither callable nor a loss with a method value")
    return "layer" if hasattr(type(f), "__tree_items__") else "function"


def _name(f: Any) -> str:
    return str(getattr(f, "__name__", type(f).__name__))


def _arguments(f: Any) -> int:
    """The number of arguments that a function needs."""
    f = f.f if isinstance(f, Primitive) else f
    if isinstance(f, np.ufunc):
        return f.nin
    try:
        parameters = inspect.signature(f).parameters.values()
    except ValueError:
        return 1
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _on_arguments(tester: FunctionCheck, f: Callable[..., Any], argnums: Any, *args: Any) -> None:
    """The check of f as a function of those of its arguments that are differentiated: of one, or of a tuple."""
    if argnums is None:
        chosen = [k for k, a in enumerate(args) if any(_tree.is_differentiable(leaf) for _, leaf in _tree.leaves(a))]
    else:
        chosen = [argnums] if isinstance(argnums, int) else list(argnums)
    if not chosen:
        raise TypeError("nothing to differentiate: no argument holds floats")

    def of_chosen(x: Any) -> Any:
        every = list(args)
        for k, a in zip(chosen, x if len(chosen) > 1 else [x], strict=True):
            every[k] = a
        return f(*every)

    tester(of_chosen, tuple(args[k] for k in chosen) if len(chosen) > 1 else args[chosen[0]])


def _on_examples(test: Callable[..., None], args: Sequence[Any], max_examples: int | None) -> None:
    """Runs the test on the arguments; where one of them is a strategy, on examples, of which a failure is shrunk."""
    drawn = as_strategy(tuple(args))

    def one(example: Any) -> None:
        try:
            with np.errstate(all="ignore"):
                test(*example)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{_shown(example, 'the example' if drawn is None else 'the smallest example')}"
            ) from None

    if drawn is None:
        one(tuple(args))
        return
    profile = settings(max_examples=settings().max_examples if max_examples is None else max_examples)
    run = settings(
        parent=profile,
        deadline=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )(given(drawn)(one))
    try:
        run()
    except AssertionError as error:
        raise AssertionError(*error.args) from None


def _shown(example: Sequence[Any], what: str) -> str:
    with np.printoptions(precision=17, threshold=50):
        return "\n".join(f"{what}, argument {k}: {value!r}" for k, value in enumerate(example))
