"""The output of a training: a line, a table, a figure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nn import write_whole
from optim import History, StateDoesNotFit
from optim.training.checks import check_record
from runner.loop import Record
from runner.state import check_entries


def progress(record: Record, text: str) -> str:
    """Returns the text of a record for the progress bar: `text`, followed by the numbers of the optimizer."""
    if record.get("cg_iterations"):
        return f"{text}, λ {record['damping']:.2g}, {record['cg_iterations']} CG"
    return f"{text}, {record['updates_per_second']:.0f} updates/s" if "loss" in record else text


def table(run: History, final: Record) -> str:
    """Returns a table of the measures: at the start, at the end, at the best record, and `final`, on all cases."""
    first, last = run.records[0], run.records[-1]
    best = next((r for r in run.records if run.best and r["update"] == run.best["update"]), None)
    columns = [("", None), ("start", first), ("end", last)]
    columns += [(f"best, update {best['update']}", best)] if best else []
    columns += [("end, all cases", final)]
    rows = [[head for head, _ in columns]]
    for name in dict.fromkeys([*first, *final, "loss"]):
        if name not in ("seconds", "update"):
            values = [record.get(name) for _, record in columns[1:] if record is not None]
            rows.append([name.replace("_", " "), *("" if v is None else f"{v:.4g}" for v in values)])
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table; its first row is the head."""
    widths = [max(len(row[j]) for row in rows) for j in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def draw_training(records: list[Record], names: tuple[str, ...], ylabel: str, title: str, path: Path) -> None:
    """Draws the measures against seconds, and below them the damping, or the loss if there is none."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 6), layout="constrained")
    top, bottom = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    for name, style in zip(names, ("-", "--", ":", "-.")):
        if name in records[0]:
            values = [r[name] for r in records]
            top.semilogy([r["seconds"] for r in records], values, style, label=name.replace("_", " "))
    top.set(ylabel=ylabel, title=title)
    top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    top.yaxis.set_major_formatter("{x:g}")
    top.yaxis.set_minor_formatter("")
    top.legend()
    later = [r for r in records if "loss" in r]
    name = "damping" if any(r["damping"] for r in later) else "loss"
    bottom.semilogy([r["seconds"] for r in later], [r[name] for r in later], "C2", label=name)
    bottom.set(ylabel=name, xlabel="seconds of training")
    for axes in (top, bottom):
        axes.grid(True, alpha=0.3)
    save_figure(figure, path, dpi=120)


def save_figure(figure: Any, path: Path, dpi: float) -> None:
    """Writes the figure, whole or not at all, in the format of its suffix; the error of a full disk names the file."""
    write_whole(path, lambda file: figure.savefig(file, format=path.suffix[1:] or "png", dpi=dpi))


def as_json(record: Record, indent: int | None = None) -> str:
    """Returns the JSON text of a record, with null for NaN and infinity, which JSON does not have."""
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(finite, indent=indent)


def from_json(text: str) -> Record:
    """Returns the record in a text of `as_json`, with NaN for null. ValueError for any other text."""
    record = _parsed(text)
    return {k: math.nan if v is None else v for k, v in record.items()}


def read_json(path: Path) -> Record:
    """Reads the object in a JSON file. Raises StateDoesNotFit that names the file for any other content."""
    try:
        return _parsed(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise StateDoesNotFit(f"{path}: {problem}") from None


def _parsed(text: str) -> Record:
    try:
        found = json.loads(text)
    except RecursionError as problem:
        raise ValueError(str(problem)) from None
    if not isinstance(found, dict):
        raise ValueError(f"holds a {type(found).__name__}, expected an object")
    return found


def read_records(path: Path, entries: Sequence[str] = ()) -> list[Record]:
    """Reads the records of a file, one per line; an incomplete last line, which is being written, is left out.

    Raises StateDoesNotFit, a ValueError, that names the file and the line for any other damage, or for a record that
    lacks one of the entries.
    """
    records: list[Record] = []
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), 1):
        try:
            if line.endswith(b"\n"):
                records.append(from_json(line.decode()))
                check_record(records[-1], records[0])
        except ValueError as problem:
            raise StateDoesNotFit(f"{path}, line {number}: {problem}") from None
    check_entries(records, entries, f"{path}, line")
    return records
