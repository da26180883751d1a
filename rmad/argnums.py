"""Which arguments of a function are differentiated: argnums, an int or a tuple, and keywords that pass through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

__all__ = ["Argnums", "chooser"]

Argnums = int | Sequence[int]
Chosen = tuple[Callable[..., Any], Any, Sequence[Any]]  # f, x, args: f(x, *args) is the function at its arguments


def chooser(f: Callable[..., Any], argnums: Argnums) -> Callable[[Sequence[Any], dict[str, Any]], Chosen]:
    """(args, kwargs) → g, x and rest with g(x, *rest) = f(*args, **kwargs), x the arguments that argnums names.

    x is a tuple if argnums is one. Raises TypeError, or ValueError if argnums names an argument twice.
    """
    if argnums == 0 and type(argnums) is int:
        return partial(_first, f)
    several = isinstance(argnums, tuple | list)
    wanted: list[Any] = list(argnums) if isinstance(argnums, tuple | list) else [argnums]
    if not all(isinstance(k, int) and not isinstance(k, bool) for k in wanted):
        raise TypeError(f"argnums must be an int or a tuple of ints, not {argnums!r}")

    def choose(args: Sequence[Any], kwargs: dict[str, Any]) -> Chosen:
        g = partial(f, **kwargs) if kwargs else f
        places = [_place(k, len(args)) for k in wanted]
        if len(set(places)) < len(places):
            raise ValueError(f"argnums={argnums!r} names an argument twice")

        def of_chosen(x: Any) -> Any:
            every = list(args)
            for k, part in zip(places, x if several else (x,), strict=True):
                every[k] = part
            return g(*every)

        x = tuple(args[k] for k in places)
        return of_chosen if callable(f) else f, x if several else x[0], ()

    return choose


def _first(f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Chosen:
    return partial(f, **kwargs) if kwargs else f, args[_place(0, len(args))], args[1:]


def _place(k: int, n: int) -> int:
    if not -n <= k < n:
        raise TypeError(f"argnums names argument {k}, but there are {n} positional arguments")
    return k % n
