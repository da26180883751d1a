"""Shared code of the training examples: the loop with records and checkpoints, the command line, figures, tables."""

from runner.arguments import Parser, listed, natural, option, positive
from runner.command import Job, as_json, main
from runner.ending import one_line
from runner.loop import Config, Methods, Record, on_cpu, on_device, optimizer_for, train
from runner.ranks import ranks
from runner.report import draw_training, from_json, markdown, progress, read_records, save_figure
from runner.series import Series

__all__ = [
    "Config",
    "Job",
    "Methods",
    "Parser",
    "Record",
    "Series",
    "as_json",
    "draw_training",
    "from_json",
    "listed",
    "main",
    "markdown",
    "natural",
    "on_cpu",
    "on_device",
    "one_line",
    "optimizer_for",
    "option",
    "positive",
    "progress",
    "ranks",
    "read_records",
    "save_figure",
    "train",
]
