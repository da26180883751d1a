"""Random programs that write into arrays and take views of them: the same steps on plain and on traced arrays.

    run(seed, x)    f(x) of the program with that seed, a vector

What a step does depends on the seed and on shapes only, so a program is one function, of traced arrays, of plain ones
and of complex ones: with x + i h v, h = 1e-30, the imaginary part of the plain run is h · J v without any rounding.
"""

from __future__ import annotations

import numpy as np

STEPS = 12


def run(seed, x, steps=STEPS):
    rng = np.random.default_rng(seed)
    program = Program(rng, x)
    for _ in range(steps):
        program.step()
    return program.result()


class Program:
    def __init__(self, rng, x) -> None:
        self.rng, self.x = rng, x
        self.arrays = [x]

    def step(self) -> None:
        kinds = [self.view, self.view, self.write, self.write, self.in_place, self.new, self.function, self.writer]
        kinds[self.rng.integers(len(kinds))]()

    def any(self):
        return self.arrays[self.rng.integers(len(self.arrays))]

    def keep(self, y) -> None:
        if np.ndim(y) and y.size and len(self.arrays) < 9:
            self.arrays.append(y)

    def number(self) -> float:
        return float(self.rng.integers(-3, 4)) / 4

    def value(self, shape):
        """Something that fits an array of this shape: a number, plain numbers, or a part of another array."""
        kind = self.rng.integers(5)
        if kind == 0:
            return self.number()
        if kind == 1:
            return self.rng.integers(-3, 4, shape) / 4
        source = np.ravel(self.any())
        if kind == 2:
            return source[self.rng.integers(source.size)]
        inner = shape[self.rng.integers(len(shape) + 1) :] if shape else shape
        picked = source[self.rng.integers(source.size, size=int(np.prod(inner)))]
        return np.reshape(picked, inner)

    # -- keys ------------------------------------------------------------------------------------------------

    def index(self, n):
        kind = self.rng.integers(4)
        if kind == 0 and n:
            return int(self.rng.integers(-n, n))
        ends = [None if self.rng.integers(3) == 0 else int(self.rng.integers(-n - 1, n + 2)) for _ in range(2)]
        step = [None, 1, 2, -1, -2][self.rng.integers(5)]
        return slice(*ends, step)

    def basic(self, shape):
        parts = [self.index(n) for n in shape[: self.rng.integers(len(shape) + 1)]]
        if self.rng.integers(4) == 0:
            parts.append(Ellipsis)
        if self.rng.integers(6) == 0:
            parts.append(None)
        return parts[0] if len(parts) == 1 and self.rng.integers(2) else tuple(parts)

    def key(self, shape):
        kind = self.rng.integers(6)
        if kind == 0:
            return self.rng.integers(2, size=shape).astype(bool)
        if kind == 1 and shape[0]:
            return self.rng.integers(-shape[0], shape[0], size=self.rng.integers(4))
        if kind == 2 and len(shape) > 1 and all(shape):
            rows = self.rng.integers(shape[0], size=3)
            return (
                (rows, self.rng.integers(shape[1], size=3)) if self.rng.integers(2) else (slice(None), rows % shape[1])
            )
        return self.basic(shape)

    # -- steps -----------------------------------------------------------------------------------------------

    def view(self) -> None:
        y = self.any()
        n = y.ndim
        kind = self.rng.integers(9)
        if kind <= 2:
            self.keep(y[self.basic(y.shape)])
        elif kind == 3:
            self.keep(y.T)
        elif kind == 4:
            self.keep(y.reshape(-1) if self.rng.integers(2) else y.ravel())
        elif kind == 5:
            self.keep(np.flip(y, int(self.rng.integers(n))))
        elif kind == 6 and y.size % 2 == 0:
            self.keep(y.reshape(2, -1))
        elif kind == 7 and n > 1:
            self.keep(np.swapaxes(y, 0, -1) if self.rng.integers(2) else np.moveaxis(y, 0, -1))
        else:
            self.keep(np.expand_dims(y, 0) if n < 3 else np.squeeze(y))

    def write(self) -> None:
        y = self.any()
        key = self.key(y.shape)
        shape = np.zeros(y.shape)[key].shape
        y[key] = self.value(shape)

    def in_place(self) -> None:
        y = self.any()
        if self.rng.integers(2):
            key = self.key(y.shape)
            value = self.value(np.zeros(y.shape)[key].shape)
            if self.rng.integers(2):
                y[key] += value
            else:
                y[key] *= value
        elif self.rng.integers(2):
            y += self.value(y.shape)
        else:
            y *= self.number()

    def new(self) -> None:
        y = self.any()
        kind = self.rng.integers(5)
        if kind == 0:
            self.keep(np.zeros_like(self.x, shape=(2, 3)))
        elif kind == 1:
            self.keep(np.ones_like(y.T))
        elif kind == 2:
            self.keep(y.copy())
        elif kind == 3:
            self.keep(np.full_like(y, self.number()))
        else:
            self.keep(y.flatten())

    def function(self) -> None:
        y = self.any()
        kind = self.rng.integers(6)
        if kind == 0:
            self.keep(np.sin(y))
        elif kind == 1:
            self.keep(y * self.number() + self.value(y.shape))
        elif kind == 2:
            self.keep(np.cumsum(y) / 4)
        elif kind == 3:
            self.keep(np.concatenate([np.ravel(y), np.ravel(self.any())])[:12] / 2)
        elif kind == 4:
            self.keep(np.mean(y, axis=0, keepdims=True))
        else:
            self.keep(y[self.key(y.shape)])

    def writer(self) -> None:
        y = self.any()
        kind = self.rng.integers(8)
        places = self.rng.integers(y.size, size=3)
        if kind == 0:
            np.put(y, places, self.value((3,)))
        elif kind == 1:
            np.copyto(y, self.value(y.shape), where=self.rng.integers(2, size=y.shape).astype(bool))
        elif kind == 2:
            np.putmask(y, self.rng.integers(2, size=y.shape).astype(bool), self.value((2,)))
        elif kind == 3 and y.ndim == 2:
            np.fill_diagonal(y, self.value(()))
        elif kind == 4:
            rows = self.rng.integers(y.shape[0], size=3)
            np.add.at(y, rows, self.value(np.zeros(y.shape)[rows].shape))
        elif kind == 5:
            np.add(y, self.value(y.shape), out=y)
        elif kind == 6:
            np.multiply(y, self.number(), out=y, where=self.rng.integers(2, size=y.shape).astype(bool))
        else:
            y.flat[int(places[0])] = self.value(())

    def result(self):
        return np.concatenate([np.ravel(a) for a in self.arrays])
