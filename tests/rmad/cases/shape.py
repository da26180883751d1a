"""Rows of rmad/primitives/shape.py, join.py, pad.py and diagonal.py."""

import numpy as np

from . import Case, made, real

X = [real(3, 4)]
NUMPY = np.lib.NumpyVersion(np.__version__)


def row(name, f, *covers, args=X, complex=True, **options):
    return Case(name, f, args=args, complex=complex, covers=covers, **options)


CASES = [
    row(
        "reshape",
        lambda x: (np.reshape(x, (4, 3)), x.reshape(2, -1), x.reshape(-1), np.reshape(x, (12,), "F")),
        np.reshape,
    ),
    row(
        "reshape in the order of memory",
        lambda x: (np.reshape(x, -1, order="A"), np.ravel(x, "K"), x.T.ravel("K")),
        np.reshape,
        layouts=False,  # what it returns depends on the layout
    ),
    row("ravel", lambda x: (np.ravel(x), x.ravel("F"), x.flatten(), x.flatten("F")), np.ravel),
    row(
        "squeeze",
        lambda x: (np.squeeze(x[:, None]), np.squeeze(x[None], 0), x[None, :, None].squeeze((0, 2))),
        np.squeeze,
    ),
    row("expand_dims", lambda x: (np.expand_dims(x, -1), np.expand_dims(x, (0, 3))), np.expand_dims),
    row(
        "atleast_1d, 2d, 3d",
        lambda x: (
            np.atleast_1d(x[0, 0], x),
            np.atleast_2d(x[0, 0], x[0], x),
            np.atleast_3d(x[0, 0], x[0], x, x[None]),
            np.atleast_1d(x[1, 1]),
        ),
        np.atleast_1d,
        np.atleast_2d,
        np.atleast_3d,
    ),
    row(
        "transpose",
        lambda x: (np.transpose(x), x.T, x.transpose(1, 0), np.transpose(x[None], (1, -1, 0))),
        np.transpose,
    ),
    row("permute_dims", lambda x: np.permute_dims(x[None], (2, 0, 1)), np.permute_dims),
    row(
        "matrix_transpose",
        lambda x: (np.matrix_transpose(x), np.linalg.matrix_transpose(x[None]), x[None].mT),
        np.matrix_transpose,
        np.linalg.matrix_transpose,
    ),
    row("swapaxes", lambda x: (np.swapaxes(x, 0, -1), x[None].swapaxes(0, 1)), np.swapaxes),
    row("moveaxis", lambda x: (np.moveaxis(x, 0, -1), np.moveaxis(x[None], [0, 1], [-1, 0])), np.moveaxis),
    row(
        "rollaxis", lambda x: (np.rollaxis(x, 1), np.rollaxis(x[None], 0, 2), np.rollaxis(x[None], 2, -1)), np.rollaxis
    ),
    row("flip", lambda x: (np.flip(x), np.flip(x, 0), np.flip(x, (0, -1))), np.flip),
    row("fliplr and flipud", lambda x: (np.fliplr(x), np.flipud(x)), np.fliplr, np.flipud),
    row(
        "roll",
        lambda x: (
            np.roll(x, 2),
            np.roll(x, 1, axis=0),
            np.roll(x, (1, -2), axis=(0, 1)),
            np.roll(x, [1, 2], axis=[0, 0]),
        ),
        np.roll,
    ),
    row("rot90", lambda x: [np.rot90(x, k) for k in (-1, 0, 1, 2, 3)] + [np.rot90(x, 1, (1, 0))], np.rot90),
    row("broadcast_to", lambda x: (np.broadcast_to(x, (2, 3, 4)), np.broadcast_to(x[:, :1], (3, 5))), np.broadcast_to),
    row("broadcast_arrays", lambda x: np.broadcast_arrays(x, x[0], x[0, 0]), np.broadcast_arrays),
    row(
        "meshgrid",
        lambda x: (
            np.meshgrid(x[0], x[1, :2]),
            np.meshgrid(x[0], x[1], x[2, :2], indexing="ij"),
            np.meshgrid(x[0], x[1], sparse=True),
        ),
        np.meshgrid,
    ),
    row("tile", lambda x: (np.tile(x, 2), np.tile(x, (2, 1, 3)), np.tile(x[0], (2, 2))), np.tile),
    row("repeat", lambda x: (np.repeat(x, 2), x.repeat(3, axis=1), np.repeat(x, [1, 0, 2], axis=0)), np.repeat),
    row("resize", lambda x: (np.resize(x, (5, 5)), np.resize(x, (2, 2)), np.resize(x, 7)), np.resize),
    row("full_like", lambda x: (np.full_like(x, x[0, 0]), np.full_like(x, x[0], shape=(2, 4))), np.full_like),
    row("full", lambda x: (np.full((2, 4), x[0], like=x), np.full(3, x[0, 0]), np.full(4, [*x[0]])), np.full),
    row(
        "linspace",
        lambda a, b: (
            np.linspace(a, b, 5),
            np.linspace(a[0], b[0], 4, endpoint=False),
            np.linspace(a, 2.0, 3, axis=-1),
            np.linspace(a, b, 5, retstep=True),
            np.linspace(a, b, 1),
        ),
        np.linspace,
        args=[real(2, 3), real(3)],
    ),
    row(
        "arange",
        lambda a, b: (np.arange(a, 3), np.arange(0, 2 * b, b), np.arange(a, 5, b), np.arange(stop=5, step=b)),
        np.arange,
        args=[made(lambda rng: np.array(rng.uniform(0.1, 0.4))), made(lambda rng: np.array(rng.uniform(0.6, 0.7)))],
        complex=False,
        float32=False,
    ),
    row("copy", lambda x: np.copy(x) * x.copy(), np.copy),
    # several into one
    row(
        "concatenate",
        lambda x, y: (
            np.concatenate([x, y]),
            np.concatenate([x, np.ones((3, 2), np.float32), x], axis=1),
            np.concatenate((x, y), axis=None),
            np.concatenate(x),
            np.concatenate([y.T, x.T], -1),
        ),
        np.concatenate,
        args=[real(3, 4), real(2, 4)],
    ),
    row("concatenate, mixed precision", lambda x: np.concatenate([x, np.ones((1, 4))]), np.concatenate, float32=False),
    row(
        "concatenate, dtype",
        lambda x: (
            np.concatenate([x, x], dtype=complex),
            np.stack([x, x], dtype=complex),
            np.concatenate([x, 1j * x, x[:1]]),
        ),
        float32=False,
    ),
    row(
        "stack",
        lambda x, y: (np.stack([x, y]), np.stack([x, np.zeros((3, 4), np.float32), y], axis=-1), np.stack(x, axis=1)),
        np.stack,
        args=[real(3, 4), real(3, 4)],
    ),
    row("array", lambda x: np.array([[x[0], x[1]], [x[2], x[0] * 2]])),
    row("outer product with a list", lambda x: np.outer(x[:, 0], [x[0, 0], x[0, 1]])),
    row("hstack", lambda x: (np.hstack([x, x[:, :1]]), np.hstack([x[0], x[0, 0]])), np.hstack),
    row("vstack", lambda x: np.vstack([x, x[0]]), np.vstack),
    row("dstack", lambda x: (np.dstack([x, x]), np.dstack([x[0], x[1]])), np.dstack),
    row(
        "column_stack", lambda x: (np.column_stack([x, x[:, 0]]), np.column_stack([x[:, 0], x[:, 1]])), np.column_stack
    ),
    row("append", lambda x: (np.append(x, x[0]), np.append(x, x, axis=0), np.append(x, x, axis=-1)), np.append),
    row(
        "block",
        lambda x: (
            np.block([[x, x], [x, np.ones((3, 4), np.float32)]]),
            np.block([x, x[:, :1]]),
            np.block([x[0], x[1, 1]]),
            np.block([[x[0]], [x[1]]]),
            np.block(x),
        ),
        np.block,
    ),
    # one into several
    row(
        "split", lambda x: (np.split(x, 2, axis=1), np.split(x, [1], axis=0), np.split(x, [3, 1, 7], axis=1)), np.split
    ),
    row("array_split", lambda x: (np.array_split(x, 3, axis=1), np.array_split(x, [1, 2])), np.array_split),
    row(
        "hsplit, vsplit, dsplit",
        lambda x: (np.hsplit(x, 2), np.hsplit(x[0], [1]), np.vsplit(x, [1, 2]), np.dsplit(x[None], 2)),
        np.hsplit,
        np.vsplit,
        np.dsplit,
    ),
    # padding
    row(
        "pad, constant",
        lambda x: (np.pad(x, 1), np.pad(x, ((1, 2), (0, 3))), np.pad(x, (1, 2), constant_values=3)),
        np.pad,
    ),
    *[
        row("pad, widths per axis", lambda x: (np.pad(x, {-1: (1, 2)}), np.pad(x, {0: 2, 1: (0, 1)})), np.pad)
        for _ in range(NUMPY >= "2.2.0")  # older versions take no dict
    ],
    *[
        row(f"pad, {mode}", lambda x, m=mode: (np.pad(x, 1, m), np.pad(x, ((5, 2), (0, 7)), m)), np.pad)
        for mode in ("edge", "reflect", "symmetric", "wrap", "mean")
    ],
    *[
        row(
            f"pad, {mode}, odd",
            lambda x, m=mode: (np.pad(x, 1, m, reflect_type="odd"), np.pad(x, ((5, 2), (0, 7)), m, reflect_type="odd")),
            np.pad,
        )
        for mode in ("reflect", "symmetric")
    ],
    *[
        row(
            f"pad, {mode}",
            lambda x, m=mode: (np.pad(x, ((2, 1), (0, 3)), m), np.pad(x, 2, m, stat_length=((2, 3), (1, 2)))),
            np.pad,
            complex=False,
            distinct=True,
        )
        for mode in ("maximum", "minimum", "median")
    ],
    row(
        "pad, linear_ramp",
        lambda x: (np.pad(x, 2, "linear_ramp"), np.pad(x, 3, "linear_ramp", end_values=((1, 2), (3, 4)))),
        np.pad,
        complex=False,
    ),
    # diagonals and triangles
    row("diagonal", lambda x: (np.diagonal(x, -1), np.diagonal(x[:, None], 1, 0, 2), x.diagonal()), np.diagonal),
    row("diag", lambda x: (np.diag(x), np.diag(x, 1), np.diag(x[0]), np.diag(x[0], -2), np.diag(x[0], 1)), np.diag),
    row("diagflat", lambda x: np.diagflat(x, 1), np.diagflat),
    row("triu and tril", lambda x: (np.triu(x), np.triu(x, 1), np.tril(x[None], -1), np.tril(x[0])), np.triu, np.tril),
    row(
        "linalg.diagonal, linalg.trace",
        lambda x: (np.linalg.diagonal(x[None], offset=1), np.linalg.trace(x[None])),
        np.linalg.diagonal,
        np.linalg.trace,
    ),
]
if hasattr(np, "unstack"):
    CASES.append(row("unstack", lambda x: (np.unstack(x), np.unstack(x, axis=-1)), np.unstack))
