"""A tape to look at: its nodes, the arrays that they hold, the cost of a sweep over them.

    print(rmad.show(lin))              a table: shapes, residual bytes, multiply-adds of a sweep
    print(rmad.show(lin, repeat=5))    … and the measured time of every node in a push and a pull
    rmad.show(lin).save("tape.svg")    the tape as a graph; with `repeat` every node has bars of its two times

Times are those of the calls that a plan has bound for the node, medians over the repeats (`rmad.plan.timing`).
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmad.machine.turns import turn
from rmad.pictures import drawing
from rmad.plan.timing import measured
from rmad.primitives.matmul import matmul, vector_matmul
from rmad.tapes.blocks import ONE, Block, Diagonal, Linear
from rmad.tapes.residuals import residuals
from rmad.tapes.tape import ArraySpec, Node

__all__ = ["Row", "TapeView", "show"]


DRAWN = 300  # nodes at most that a notebook shows as a graph, and not as a table


@dataclass
class Row:
    """A node: number on the tape, primitives, inputs, result; bytes held; multiply-adds of one sweep; seconds."""

    number: int
    name: str
    inputs: list[int]
    spec: ArraySpec
    role: str  # the path of an input or an output, as x['W']; else empty
    residual: int
    work: float | None  # None: unknown
    push: float | None = None  # None: not measured
    pull: float | None = None


@dataclass
class TapeView:
    """A tape as `show` returns it: prints as a table, and is a picture in a notebook.

    Parameters
    ----------
    title : str, the first line of the table
    rows : list of Row, the nodes as data
    residual : int, bytes held by the whole tape, each array counted once
    profile : {primitive: (push, pull)} in seconds per product; empty if nothing was measured
    """

    title: str
    rows: list[Row]
    residual: int
    profile: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def dot(self) -> str:
        """The tape as a graph in graphviz's language: an arrow from every node to those that read it."""
        lines = ["digraph tape {", "  rankdir=TB; node [shape=box, fontname=monospace, fontsize=10];"]
        for row in self.rows:
            label = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in _lines(row))
            style = ', style=filled, fillcolor="#e8eef7"' if row.role else ""
            lines.append(f'  n{row.number} [label="{label}"{style}];')
        lines += [f"  n{i} -> n{row.number};" for row in self.rows for i in row.inputs]
        return "\n".join([*lines, "}"])

    def svg(self) -> str:
        """The graph, drawn: inputs and outputs shaded, and bars for the times of push and pull, if measured."""
        place = {row.number: k for k, row in enumerate(self.rows)}
        longest = max((max(row.push or 0.0, row.pull or 0.0) for row in self.rows), default=0.0)
        boxes = []
        for row in self.rows:
            bar = None
            if row.inputs and longest and row.push is not None and row.pull is not None:
                bar = drawing.Bar(row.push / longest, row.pull / longest)
            boxes.append(drawing.Box(_lines(row), [place[i] for i in row.inputs if i in place], bool(row.role), bar))
        measured = "; bars: push (blue), pull (orange)" if longest else ""
        return drawing.svg(boxes, self.title + measured)

    def save(self, path: str | Path) -> None:
        """Writes the graph as .dot or .svg, by the ending of the path; ValueError for another one."""
        path = Path(path)
        if path.suffix not in (".dot", ".svg"):
            raise ValueError(f"a tape is saved as .dot or .svg, not as {path.name}")
        path.write_text(self.svg() if path.suffix == ".svg" else self.dot, encoding="utf-8")

    def __str__(self) -> str:
        timed = bool(self.profile)
        head = ["node", "primitive", "of", "result", "holds", "multiply-adds"]
        table = [head + ["push", "pull"] * timed]
        for row in self.rows:
            number = f"{row.number}{f' {row.role}' if row.role else ''}"
            work = "?" if row.work is None else f"{row.work:,.0f}" if row.inputs else ""
            line = [number, row.name, " ".join(map(str, row.inputs)), repr(row.spec), _bytes(row.residual), work]
            table.append(line + [_seconds(row.push), _seconds(row.pull)] * timed)
        work = f"{sum(row.work or 0 for row in self.rows):,.0f}"
        total = ["", "all", "", "", _bytes(self.residual), work]
        pushes, pulls = (sum(getattr(row, sweep) or 0 for row in self.rows) for sweep in ("push", "pull"))
        table.append(total + [_seconds(pushes), _seconds(pulls)] * timed)
        parts = [self.title, _aligned(table)]
        if timed:
            by_cost = sorted(self.profile.items(), key=lambda item: -sum(item[1]))
            rows = [[name, _seconds(push), _seconds(pull)] for name, (push, pull) in by_cost]
            parts += ["\na product, by primitive", _aligned([["primitive", "push", "pull"], *rows])]
        return "\n".join(parts)

    __repr__ = __str__

    def _repr_svg_(self) -> str | None:
        return self.svg() if len(self.rows) <= DRAWN else None

    def _repr_html_(self) -> str | None:
        return None if len(self.rows) <= DRAWN else f"<pre>{html.escape(str(self))}</pre>"


def show(lin: Any, repeat: int = 0) -> TapeView:
    """The tape of a linearization as a table (print it), a graph (`.dot`, `.svg()`, `.save(path)`) and data (`.rows`).

    Before the first product nodes are shown as recorded, then (and with `repeat`) as rewritten for many sweeps: sums
    absorbed, diagonals merged.

    Parameters
    ----------
    lin : Linearization that `rmad.linearize` returned, or one of the operators
    repeat : int, how often every planned call is timed; default 0 measures nothing

    Returns
    -------
    view : TapeView

    Raises
    ------
    TypeError
        lin is neither.
    ValueError
        A tape within a tape has no plan to time.

    Examples
    --------
    >>> y, lin = rmad.linearize(np.tanh, np.zeros(3))
    >>> print(show(lin))
    3 numbers to 3, 1 nodes, as recorded
    node    primitive  of  result      holds  multiply-adds
    0 x     input          float64[3]
    1 f(x)  tanh       0   float64[3]  24 B   3
            all                        24 B   3
    """
    lin = getattr(lin, "_lin", lin)
    record = getattr(lin, "_record", None)
    if record is None or not hasattr(lin, "JTu"):
        raise TypeError(
            f"show takes what rmad.linearize returns second, or an operator, not {type(lin).__name__}: "
            "y, lin = rmad.linearize(f, x); rmad.show(lin)"
        )
    if repeat and record.tape.nested:
        raise ValueError("a tape within another tape has no plan to measure; show(lin) without repeat draws it")
    with turn(lin):
        timed = measured(lin.plan, repeat) if repeat else None
        view = _view(record, "as rewritten" if lin._plan is not None else "as recorded")
    if timed is not None:
        for row in view.rows:
            row.push, row.pull = (times.by_node.get(row.number, 0.0) for times in timed)
        names = sorted({name for times in timed for name in times.by_primitive})
        view.profile = {n: (timed[0].by_primitive.get(n, 0.0), timed[1].by_primitive.get(n, 0.0)) for n in names}
    return view


def _view(record: Any, state: str) -> TapeView:
    tape, n_inputs = record.tape, record.n_inputs
    roles = dict(enumerate(record.x.paths))
    for path, k in zip(record.out.paths, record.outputs, strict=True):
        if k is not None:
            roles[k] = f"{roles[k]} = {path}" if k in roles else path
    rows: list[Row] = []
    every: dict[Any, int] = {}
    for j, node in enumerate(tape.nodes):
        if j >= n_inputs and not node.inputs:
            continue  # dead, or absorbed by a later node
        held = {key: size for block in node.blocks for key, size in _residuals(block)}
        every |= held
        spec, inputs = node.spec, list(node.inputs)
        rows.append(Row(j, _name(node), inputs, spec, roles.get(j, ""), sum(held.values()), _work_of_node(node)))
    p, q = (sum(int(np.prod(shape)) for shape in tree.shapes) for tree in (record.x, record.out))
    title = f"{p:,} numbers to {q:,}, {len(rows) - n_inputs} nodes, {state}"
    return TapeView(title, rows, sum(every.values()))


def _lines(row: Row) -> list[str]:
    """The text of a node."""
    text = [f"{row.number}  {row.name}", repr(row.spec)]
    if row.role:
        text.insert(0, row.role)
    if row.residual:
        text.append(f"holds {_bytes(row.residual)}")
    if row.push is not None and row.pull is not None and row.inputs:
        text.append(f"push {_seconds(row.push) or '0'}, pull {_seconds(row.pull) or '0'}")
    return text


def _name(node: Node) -> str:
    if node.primitive is None:
        return "input"
    names = dict.fromkeys(str(block.primitive.name) for block in node.blocks)
    return " + ".join(names)


# -- the arrays that a block holds, and its cost --------------------------------------------------------------------


def _residuals(block: Block) -> Iterator[tuple[Any, int]]:
    """(address, bytes) of the arrays that a block keeps alive."""
    return ((_address(a), _nbytes(a)) for a in residuals(block))


def _address(array: Any) -> Any:
    """A key that two views of the same elements share."""
    where = getattr(array, "__array_interface__", None) or getattr(array, "__cuda_array_interface__", None)
    return (where["data"][0], array.shape) if where else id(array)


def _nbytes(array: Any) -> int:
    """The bytes of an array; of a broadcast view, those of its base."""
    return int(min(array.nbytes, getattr(array.base, "nbytes", array.nbytes)))


def _work_of_node(node: Node) -> float | None:
    """Multiply-adds of one push of the node; None if the shapes of a block do not tell."""
    if node.joint is not None:
        parts = [_work_of_node(inner) for inner in node.joint.tape.nodes]
    else:
        parts = [_work(block) for block in node.blocks]
    return None if None in parts else sum(part for part in parts if part is not None)


def _work(block: Block) -> float | None:
    """Multiply-adds of one push (a pull has as many); None if the shapes do not tell."""
    if isinstance(block, Diagonal):
        return 0.0 if block.d is ONE else float(block.y.size)
    if isinstance(block, Linear) and block.primitive in (matmul, vector_matmul):
        return float(block.y.size * block.args[0].shape[-1])
    if hasattr(block.primitive, "kernels") and hasattr(block.primitive.kernels, "work"):
        return float(block.primitive.kernels.work(block))
    if isinstance(block, Linear) and len(getattr(block.primitive, "transposes", ())) == 1:
        return 0.0  # moves and adds, and multiplies nothing
    return None if type(block).__name__ != "Part" else 0.0


# -- text -----------------------------------------------------------------------------------------------------------


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return "\n".join("  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip() for row in table)


def _bytes(n: int) -> str:
    if not n:
        return ""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.3g} {unit}"
    return f"{n} B"


def _seconds(t: float | None) -> str:
    if not t:
        return ""
    return f"{t * 1e3:.3g} ms" if t >= 1e-3 else f"{t * 1e6:.3g} µs"
