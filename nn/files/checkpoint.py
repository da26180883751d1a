"""Checkpoints: the state from which a run continues, in one file that is read whole or not at all.

The file is a safetensors file with the arrays of the state. Its metadata hold the rest as JSON, a format version and
a BLAKE2 checksum of everything. Nothing in it is code: no pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nn.files.io import header_of, on_host, packed, safetensors_package, unpacked, write_whole
from rmad.extend import Array

__all__ = ["Checkpoints", "DamagedCheckpoint"]

FORMAT, VERSION = "rmad checkpoint", "1"
ARRAY = "array in this file"  # the key that stands for an array in the JSON


class DamagedCheckpoint(ValueError):
    """A checkpoint is damaged or of another format; the message names the file and the fault."""


class Checkpoints:
    """The last two checkpoints of a run: checkpoint.safetensors in `folder`, and checkpoint.previous.safetensors.

    A state is a dict of arrays, numbers, strings, bools, None, and lists and dicts of such: the state_dicts of model
    and optimizer, `rng.bit_generator.state`, `Batches.state_dict()`, and the counters of the run. After `load`,
    `refused` names the damaged file, if the previous one was taken in its place.

    Parameters
    ----------
    folder : str or Path
        Folder of the two files; made by `save` if it does not exist.

    Examples
    --------
    >>> import nn, numpy as np, tempfile
    >>> folder, rng = tempfile.TemporaryDirectory(), np.random.default_rng(0)
    >>> checkpoints = nn.Checkpoints(folder.name)
    >>> checkpoints.save({"update": 3, "velocity": np.ones(2), "rng": rng.bit_generator.state})
    >>> state = checkpoints.load()
    >>> state["update"], state["velocity"], state["rng"] == rng.bit_generator.state
    (3, array([1., 1.]), True)
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / "checkpoint.safetensors"
        self.previous = Path(folder) / "checkpoint.previous.safetensors"
        self.refused: DamagedCheckpoint | None = None

    def save(self, state: Mapping[str, Any]) -> None:
        """Writes a checkpoint and keeps the one before it. A crash at any moment leaves at least one whole file.

        Parameters
        ----------
        state : dict
            The state of the run.

        Raises
        ------
        TypeError
            Names the entry that cannot be saved.
        OSError
            If the file cannot be written. After either error the last checkpoint is as it was.
        """
        content = _content(state)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._clear()
        # a damaged file must not push out the whole one
        write_whole(
            self.path, lambda file: file.write(content), previous=self.previous if self.refused is None else None
        )
        self.refused = None

    def load(self) -> dict[str, Any] | None:
        """Reads the newest checkpoint that is whole.

        Returns
        -------
        dict, or None if there is no checkpoint

        Raises
        ------
        DamagedCheckpoint
            If there are files, but none is whole.
        """
        self.refused = None
        for path in (self.path, self.previous):
            if not path.exists():
                continue
            try:
                return _state(path)
            except DamagedCheckpoint as damage:
                if self.refused is not None:
                    raise DamagedCheckpoint(f"{self.refused}; {damage}") from damage
                self.refused = damage
        if self.refused is not None:
            raise self.refused
        return None

    def exist(self) -> bool:
        """Returns True if there is a file, whole or not."""
        return self.path.exists() or self.previous.exists()

    def remove(self) -> None:
        """Deletes both files."""
        self._clear()
        for path in (self.path, self.previous):
            path.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Deletes the parts that killed writers have left."""
        for part in self.path.parent.glob(f"{self.path.name}.*.part"):
            part.unlink(missing_ok=True)


def _content(state: Mapping[str, Any]) -> bytes:
    """Returns the bytes of the file."""
    if not isinstance(state, Mapping):
        raise TypeError(f"checkpoint: a state is a dict, not {type(state).__name__}{_instead(state)}")
    found: dict[str, Array] = {}
    text = json.dumps(_without_arrays(state, "", found))
    arrays = packed(found, "checkpoint")
    metadata = {"format": FORMAT, "version": VERSION, "state": text, "blake2b": _digest(text, arrays)}
    return safetensors_package().numpy.save(arrays, metadata)


def _state(path: Path) -> dict[str, Any]:
    """Returns the state in a file; DamagedCheckpoint if it is not whole."""
    if path.is_dir():
        raise DamagedCheckpoint(f"{path} is a folder, not a checkpoint")
    st = safetensors_package()
    try:
        metadata = header_of(path)["__metadata__"]
        form = metadata["format"], metadata["version"]
        arrays = unpacked(st.deserialize(path.read_bytes()))
        whole = metadata["blake2b"] == _digest(metadata["state"], arrays)
        state = _with_arrays(json.loads(metadata["state"]), arrays)
        if not isinstance(state, dict):
            raise ValueError(f"its state is a {type(state).__name__}")
    except OSError:
        raise
    except Exception as error:  # whatever the bytes happen to be
        raise DamagedCheckpoint(f"{path} is no checkpoint, or a damaged one: {error}") from error
    if form != (FORMAT, VERSION):
        raise DamagedCheckpoint(f"{path} is a {' '.join(form)}, and this program reads {FORMAT} {VERSION}")
    if not whole:
        raise DamagedCheckpoint(f"{path} is damaged: its checksum does not fit its content")
    return state


def _digest(text: str, arrays: Mapping[str, Array]) -> str:
    """Returns the checksum of the JSON, and of name, type, shape and numbers of every array."""
    blake = hashlib.blake2b(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        blake.update(f"{name}\0{array.dtype.str}{array.shape}".encode())
        blake.update(array.reshape(-1).view(np.uint8).data)
    return blake.hexdigest()


def _without_arrays(value: Any, name: str, arrays: dict[str, Array]) -> Any:
    """Returns `value` in the types of JSON, with its arrays moved to `arrays`."""
    if isinstance(value, Mapping):
        _check_keys(value, name)
        return {key: _without_arrays(sub, f"{name}/{key}" if name else key, arrays) for key, sub in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(sub, f"{name}/{k}", arrays) for k, sub in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return {ARRAY: _moved(value, name, arrays)}


def _check_keys(value: Mapping[Any, Any], name: str) -> None:
    """Raises TypeError for a key that JSON or this format cannot hold."""
    for key in value:
        if not isinstance(key, str) or key == ARRAY:
            raise TypeError(f"checkpoint: {name or 'the state'} has the key {key!r}, which cannot be saved")


def _moved(value: Any, name: str, arrays: dict[str, Array]) -> str:
    """Puts an array into `arrays` and returns its name there; TypeError unless it is one."""
    array = on_host(value)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"checkpoint: {name} is a {type(value).__name__}, which cannot be saved{_instead(value)}")
    while name in arrays or name == "__metadata__":  # "a/b" may be a key of its own; the format keeps the other name
        name += "'"
    arrays[name] = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return name


def _instead(value: Any) -> str:
    """Names the part of an object that can be saved."""
    if isinstance(value, np.random.Generator):
        return "; save its bit_generator.state"
    return "; save its state_dict()" if hasattr(value, "state_dict") else ""


def _with_arrays(value: Any, arrays: Mapping[str, Array]) -> Any:
    """Returns the state: the inverse of _without_arrays."""
    if isinstance(value, dict):
        return arrays[value[ARRAY]].copy() if ARRAY in value else {k: _with_arrays(v, arrays) for k, v in value.items()}
    return [_with_arrays(sub, arrays) for sub in value] if isinstance(value, list) else value
