"""Selection: y = x[key], in every form that NumPy knows."""

import numpy as np
from rmad.rules import Linear, LinearPrimitive, linear
from rmad.tape import ArraySpec
from rmad.traced import Traced, register, stop


def is_basic(key):
    """True where x[key] is a view: integers, slices, None and Ellipsis only."""
    parts = key if isinstance(key, tuple) else (key,)
    return all(p is None or p is Ellipsis or isinstance(p, int | np.integer | slice) for p in parts)


def scatter_add(total, key, u):
    """total[key] += u in place; an element that the key names several times gets every share."""
    if is_basic(key):
        total[key] += u
    else:
        np.add.at(total, key, u)


class Index(Linear):
    """Adds its share into a sum that the engine made, so that T slices of one array cost T slices, not T arrays."""

    def pull_add(self, u, total, owned):
        if isinstance(u, Traced) or isinstance(total, Traced):
            return super().pull_add(u, total, owned)
        if total is None:
            total = np.zeros_like(u, shape=self.x.shape, dtype=self.x.dtype)
        elif not owned:
            total = total.copy()
        scatter_add(total, self.args[1], u)
        return total, True


class _GetItem(LinearPrimitive):
    def blocks(self, argnums, y, args, kwargs):
        x, key = args
        return [Index(self, 0, ArraySpec.of(x), ArraySpec.of(y), _scatter, (x, key), {})] if argnums == [0] else []


def _scatter(u, x, key):
    """The transpose of x[key]: zeros of the shape of x, plus u at the key."""
    return scatter(u, key, x.shape)


def _zeros_plus(u, key, shape):
    total = np.zeros_like(u, shape=shape)
    scatter_add(total, key, u)
    return total


scatter = linear(_zeros_plus, lambda u, x, key, shape: u[key], name="scatter")
_getitem = _GetItem(lambda x, key: x[key], (_scatter,), "getitem")


def getitem(x, key):
    return _getitem(x, stop(key))


register("getitem", getitem)
