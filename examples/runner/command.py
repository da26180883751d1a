"""The command line of a training, and the folder of its results."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nn
from nn import write_whole
from optim import History, RankFailed, StateDoesNotFit, Stop
from optim.training.checks import COUNT, NUMBER, POSITIVE
from runner.arguments import HYPER, Parser, natural, option
from runner.ending import last_checkpoint, one_line, word_and_code
from runner.loop import Config, Record
from runner.ranks import is_first, ranks
from runner.report import as_json, draw_training, read_json, read_records, table
from runner.state import check_checkpoint, check_config, check_drawn


@dataclass
class Job:
    """The parts of an example, for `main`, which calls the functions in this order."""

    parser: Parser
    config: type[Config]
    folder: Callable[[Any], str]  # config -> name of the folder below runs/
    prepare: Callable[[Any], tuple[Any, Any]]  # config -> optimizer, data
    train: Callable[..., History]  # config, optimizer, data, and the keywords of runner.train
    numbers: Callable[[Record], str]  # record -> text for the progress bar
    finish: Callable[[Any, Any, Any, Path], tuple[Record, str]]  # model, config, data, folder -> measures, last words
    drawn: tuple[str, ...]  # entries of a record that the figure shows
    ylabel: str


def main(job: Job) -> int:
    """Runs an example: arguments, data, training, results. Returns the exit code.

    Under mpiexec all ranks run it; rank 0 has the folder, and says what there is to say.
    """
    try:
        return run(job)
    except RankFailed as problem:  # where it was raised it has been told
        if is_first():
            print(f"{job.parser.prog}: {problem}", file=sys.stderr)
        return 1


def run(job: Job) -> int:
    """Runs an example on every rank."""
    p = job.parser
    with p.refusing():
        shared = ranks()
    given = {name: value for name, value in vars(p.parse_args()).items() if value is not None}
    for package in ("matplotlib", "safetensors"):
        if importlib.util.find_spec(package) is None:
            p.error(f"{package} is not installed: pip install -e '.[examples]'")
    with one_line(p.prog), ExitStack() as held:
        with p.refusing():
            given["hyper"] = {name: given.pop(name) for name in HYPER if name in given}
            resume, restart, draw = (given.pop(flag, False) for flag in ("resume", "restart", "draw"))
            out = given.pop("out", None) or Path("runs") / job.folder(job.config(**given))
            if out.is_file():
                raise FileExistsError(f"{out} is a file, results go to a folder")
            if draw:
                print(shared.of_root(lambda: draw_again(job, out)) if is_first() else "", end="\n" * is_first())
                return 0
            checkpoints = nn.Checkpoints(out)

            def opened() -> dict[str, Any] | None:
                held.enter_context(nn.Claim(out))  # before the data are loaded: fails early if the folder is read-only
                return None if restart else found(checkpoints, resume)

            state = shared.of_root(opened)
            config = job.config(**(given if state is None else continued(job.config, given, state["config"])))
            made: list[Any] = []
            shared.gathered(lambda: made.extend(prepared(job, config, resumed=state is not None)))
            optimizer, data = made
            appends: list[Callable[[Record], None]] = []
            shared.of_root(lambda: appends.append(begin(out, config, checkpoints, state)))
            append = appends[0] if appends else lambda record: None
        return carried_out(job, config, optimizer, data, append, checkpoints, state)


def carried_out(
    job: Job,
    config: Config,
    optimizer: Any,
    data: Any,
    append: Callable[[Record], None],
    checkpoints: nn.Checkpoints,
    state: dict[str, Any] | None,
) -> int:
    """Trains and writes the results; returns the exit code."""
    prog = job.parser.prog
    try:
        with Stop(signal.SIGINT, signal.SIGTERM) as stop:
            run = job.train(
                config,
                optimizer,
                data,
                checkpoints=checkpoints,
                state=state,
                on_record=append,
                progress=job.numbers,
                stop=stop,
            )
        code = max((ranks()).gathered(lambda: stop.code))
        if is_first():
            print(results(job, run, config, data, checkpoints.path.parent))
    except KeyboardInterrupt as end:
        word, code = word_and_code(end)
        print(f"{prog}: ended by {word}; {last_checkpoint(checkpoints)}", file=sys.stderr)
        return code
    except StateDoesNotFit as problem:
        job.parser.error(str(problem))
    except OSError as problem:
        print(f"{prog}: {problem}; {last_checkpoint(checkpoints)}", file=sys.stderr)
        return 1
    return code or int(run.failed)


def found(checkpoints: nn.Checkpoints, resume: bool) -> dict[str, Any] | None:
    """Returns the state to continue from; None for a run from the start. Refuses to lose a run that is not over."""
    state = checkpoints.load()
    if checkpoints.refused is not None:
        print(f"{checkpoints.refused}; taking {checkpoints.previous.name}", file=sys.stderr)
    if state is not None and not is_run(state):
        raise StateDoesNotFit(f"{checkpoints.path.parent} has the checkpoint of another program")
    if state is not None:
        read = checkpoints.path if checkpoints.refused is None else checkpoints.previous
        try:
            check_checkpoint(state)
        except ValueError as misfit:
            raise StateDoesNotFit(f"{read} does not fit: {misfit}") from None
    if resume:
        if state is None:
            print(f"{checkpoints.path.parent} has no checkpoint: the run begins", file=sys.stderr)
        return state
    if state is not None and (state["run"]["stopped"] or not state["run"]["end"]):
        update = state["run"]["update"]
        raise ValueError(
            f"{checkpoints.path.parent} has a run that is not over, at update {update}: "
            "--resume continues it, --restart starts over"
        )
    return None


def is_run(state: dict[str, Any]) -> bool:
    """Returns True if a checkpoint was written by runner.train."""
    run, config = state.get("run"), state.get("config")
    known = {"update", "end", "stopped", "records"}
    return isinstance(run, dict) and isinstance(config, dict) and known <= run.keys()


def prepared(job: Job, config: Config, resumed: bool) -> tuple[Any, Any]:
    """Returns optimizer and data. A saved config may name what this program lacks: StateDoesNotFit, then."""
    try:
        return job.prepare(config)
    except (LookupError, TypeError) as misfit:
        if not resumed:
            raise
        raise StateDoesNotFit(f"the run in this folder is not one of this program: {misfit!r}") from None


def config_of(config: type[Config], saved: dict[str, Any]) -> Config:
    """Returns the config that was saved; StateDoesNotFit if this program cannot have saved it."""
    try:
        made = config(**saved)
        kinds = {float: NUMBER, int: POSITIVE, natural: COUNT}
        check_config(made, saved["hyper"], {name: kinds[kind] for name, (kind, _) in HYPER.items()})
        return made
    except Exception as misfit:  # a field of another type may fail anywhere
        raise StateDoesNotFit(
            f"the run in this folder is one of another program, or of another version: {misfit}"
        ) from None


def continued(config: type[Config], given: dict[str, Any], saved: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of the saved config; those that may change have the values given now."""
    whole = config_of(config, saved)
    hyper = given.get("hyper", {})
    for name, value in [*given.items(), *hyper.items()]:
        before = whole.hyper.get(name) if name in hyper else getattr(whole, name)
        if value != before and name != "hyper" and name not in whole.free():
            raise ValueError(f"{option(name)} {value} does not go with --resume: the run began with {before}")
    return saved | {name: value for name, value in given.items() if name != "hyper"}


def begin(
    out: Path, config: Config, checkpoints: nn.Checkpoints, state: dict[str, Any] | None
) -> Callable[[Record], None]:
    """Prepares the folder for the first update, without records later than the checkpoint.

    Returns the function that adds a record.
    """
    if state is None:
        checkpoints.remove()
        (out / "best.safetensors").unlink(missing_ok=True)
    write_json(out / "config.json", asdict(config))
    return record_file(out / "metrics.jsonl", state["run"]["records"] if state else [])


def write_json(path: Path, content: Record) -> None:
    """Writes a JSON file, whole or not at all."""
    text = as_json(content, indent=2) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def record_file(path: Path, records: list[Record]) -> Callable[[Record], None]:
    """Writes records, one JSON line each; returns a function that appends one.

    The folder must be claimed: parts of files that a killed run has left in it are deleted.
    """
    for part in path.parent.glob("*.part"):
        part.unlink()
    lines = "".join(as_json(record) + "\n" for record in records)
    write_whole(path, lambda file: file.write(lines.encode()))

    def append(record: Record) -> None:
        try:
            with open(path, "a") as file:
                print(as_json(record), file=file)
        except OSError as problem:
            problem.filename = str(path)
            raise

    return append


def results(job: Job, run: History, config: Config, data: Any, out: Path) -> str:
    """Writes models, figure and summary; returns the text to print."""
    run.model.eval()
    nn.save(run.model, out / "model.safetensors")
    measures, words = job.finish(run.model, config, data, out)
    last = {"end": run.end, "seconds": run.seconds, "update": run.update, **measures}
    if run.best is not None:
        last |= {f"best_{config.monitored()}": run.best["value"], "best_update": run.best["update"]}
        own = run.model.state_dict()
        run.model.load_state_dict(run.best["model"])
        nn.save(run.model, out / "best.safetensors")
        run.model.load_state_dict(own)
    write_json(out / "summary.json", last | {"config": asdict(config)})
    draw_training(run.records, job.drawn, job.ylabel, job.folder(config), out / "training.png")
    words = words and words + "\n\n"
    unit = "s" if config.cpu_seconds is None else "CPU s"
    counted = f"{run.end}: {run.update} updates, {run.seconds:.0f} {unit} of training; results in {out}"
    return f"{words}{table(run, measures)}\n{counted}"


def draw_again(job: Job, out: Path) -> Path:
    """Draws training.png from the records in the folder."""
    if not (out / "config.json").exists():
        raise ValueError(f"there is no run in {out} to draw")
    config = config_of(job.config, read_json(out / "config.json"))
    records = read_records(out / "metrics.jsonl")
    if not records:
        raise ValueError(f"{out / 'metrics.jsonl'} has no records yet")
    check_drawn(records, job.drawn, str(out / "metrics.jsonl"))
    draw_training(records, job.drawn, job.ylabel, job.folder(config), out / "training.png")
    return out / "training.png"
