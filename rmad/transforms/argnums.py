"""Which arguments of a function are differentiated: argnums, an int or a tuple, and keywords that pass through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

__all__ = ["Argnums", "chooser", "places", "several", "with_keywords"]

Argnums = int | Sequence[int]
Chosen = tuple[Callable[..., Any], Any, Sequence[Any]]  # f, x, args: f(x, *args) is the function at its arguments


def chooser(f: Callable[..., Any], argnums: Argnums) -> Callable[[Sequence[Any], dict[str, Any]], Chosen]:
    """(args, kwargs) → g, x and rest with g(x, *rest) = f(*args, **kwargs), x the arguments that argnums names.

    x is a tuple if argnums is one, or a list or a range. Raises TypeError, or ValueError if argnums names an argument
    twice.
    """
    if not callable(f):
        raise TypeError(
            f"the function comes first, and {type(f).__name__} is none: rmad.grad(f)(x), rmad.jacobian(f)(x)"
        )
    if type(argnums) is int and argnums == 0:
        return partial(_first, f)
    wanted = several(argnums)
    one = isinstance(argnums, int)

    def choose(args: Sequence[Any], kwargs: dict[str, Any]) -> Chosen:
        g = with_keywords(f, kwargs)
        chosen = places(wanted, len(args))
        if len(set(chosen)) < len(chosen):
            raise ValueError(f"argnums={argnums!r} names an argument twice")

        def of_chosen(x: Any) -> Any:
            every = list(args)
            for k, part in zip(chosen, (x,) if one else x, strict=True):
                every[k] = part
            return g(*every)

        x = tuple(args[k] for k in chosen)
        return of_chosen, x[0] if one else x, ()

    return choose


def with_keywords(f: Callable[..., Any], kwargs: dict[str, Any]) -> Callable[..., Any]:
    """f with keyword arguments bound."""
    return partial(f, **kwargs) if kwargs else f


def several(argnums: Any, name: str = "argnums") -> list[int]:
    """The numbers of arguments as a list; TypeError if they are no ints."""
    wanted: list[Any] = list(argnums) if isinstance(argnums, tuple | list | range) else [argnums]
    if not all(isinstance(k, int) and not isinstance(k, bool) for k in wanted):
        instead = "; the arguments of f come after it, rmad.grad(f)(x)" if hasattr(argnums, "shape") else ""
        raise TypeError(f"{name} must be an int or a tuple of ints, not {argnums!r}{instead}")
    return wanted


def places(wanted: Sequence[int], n: int, name: str = "argnums") -> list[int]:
    """Numbers from 0 to n − 1 for those that may count from the end; TypeError if there is no such argument."""
    for k in wanted:
        if not -n <= k < n:
            raise TypeError(f"{name} names argument {k}, but there are {n} positional arguments")
    return [k % n for k in wanted]


def _first(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Chosen:
    if not args:
        raise TypeError("f is differentiated in its first positional argument, and there is none: rmad.grad(f)(x)")
    return with_keywords(f, kwargs), args[0], args[1:]
