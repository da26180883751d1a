"""Many runs under one command, each with checkpoints and records in a folder of its own."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

import nn
from optim import History, StateDoesNotFit, Stop
from runner.arguments import add_device, positive
from runner.command import found, record_file
from runner.ending import word_and_code
from runner.loop import Config, Record, train
from runner.ranks import job_size
from runner.state import check_entries

__all__ = ["Series"]


class Series:
    """with Series(prog, folder, arguments) as series: series.train(name, …) for every run, in the same order each time.

    With --resume a finished run is read, not repeated, and an interrupted one continues. Ctrl-C and SIGTERM end
    the program after the present update, with one line, and so does a full disk.
    """

    def __init__(self, prog: str, folder: Path, arguments: argparse.Namespace) -> None:
        self.prog, self.folder = prog, folder
        if job_size() > 1:
            self._end(f"many small trainings, each in one process: start it without mpiexec ({job_size()} ranks)", 2)
        self.resume, self.checkpoint_every = bool(arguments.resume), arguments.checkpoint_every
        self.device = arguments.device
        self.clock = arguments.clock
        self.stop = Stop(signal.SIGINT, signal.SIGTERM)

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Adds the options that a series has."""
        text = "continue an interrupted run of the same command, bit for bit"
        parser.add_argument("--resume", action="store_true", help=text)
        add_device(parser, "cpu")
        every, text = Config.checkpoint_every, "seconds of training between checkpoints"
        parser.add_argument(
            "--checkpoint-every", type=positive(float), metavar="SECONDS", default=every, help=f"{text} ({every:g})"
        )
        text = "wall-clock seconds, or CPU seconds of all cores, which do not depend on other processes (wall)"
        parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help=text)

    def train(
        self,
        name: str,
        config: Config,
        optimizer: Any,
        batches: Any,
        errors: Callable[[Any], Record],
        entries: Sequence[str] = (),
        over: Callable[[Record], str] = lambda record: "",
    ) -> History:
        """Calls runner.train, in the folder `name`; `entries` are those of its records that the script reads.

        over(record) says why the run ends with that record, or "".
        """
        folder = self.folder / name
        with nn.Claim(folder):
            run = self._train(folder, config, optimizer, batches, errors, entries, over)
        if run.stopped:
            self._end(f"{run.end}, at update {run.update} of {name}", self.stop.code)
        return run

    def _train(
        self,
        folder: Path,
        config: Config,
        optimizer: Any,
        batches: Any,
        errors: Callable[[Any], Record],
        entries: Sequence[str],
        over: Callable[[Record], str],
    ) -> History:
        config.checkpoint_every, config.device = self.checkpoint_every, self.device
        checkpoints = nn.Checkpoints(folder)
        state = found(checkpoints, True) if self.resume and checkpoints.exist() else None
        if state is None:
            checkpoints.remove()
        elif changed := [
            n for n, v in asdict(config).items() if v != state["config"].get(n) and n not in config.free()
        ]:
            raise StateDoesNotFit(f"{checkpoints.path} is of a run with another {changed[0]}")
        else:
            check_entries(state["run"]["records"], entries, f"{checkpoints.path}, record")
        append = record_file(folder / "metrics.jsonl", state["run"]["records"] if state else [])

        def on_record(record: Record) -> str:
            append(record)
            return over(record)

        return train(
            config,
            optimizer,
            batches,
            errors,
            checkpoints=checkpoints,
            state=state,
            on_record=on_record,
            stop=self.stop,
            clock=self.clock,
        )

    def __enter__(self) -> Series:
        self.stop.__enter__()
        return self

    def __exit__(self, kind: object, problem: BaseException | None, traceback: object) -> None:
        self.stop.__exit__()
        if isinstance(problem, KeyboardInterrupt):
            word, code = word_and_code(problem)
            self._end(f"ended by {word}", code)
        if isinstance(problem, OSError | nn.DamagedCheckpoint | StateDoesNotFit):
            self._end(str(problem), 1, resume=isinstance(problem, OSError) and not isinstance(problem, nn.FolderInUse))

    def _end(self, words: str, code: int, resume: bool = True) -> NoReturn:
        if resume and any(self.folder.glob("*/checkpoint*.safetensors")):
            words += f"; --resume continues from the checkpoints in {self.folder}"
        print(f"{self.prog}: {words}", file=sys.stderr)
        raise SystemExit(code)
