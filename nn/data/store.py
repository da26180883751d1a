"""Finds the files of a data set: in a given folder, in $RMAD_DATA, in the cache, or by a download."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeAlias

from nn.data.dataset import cache_dir
from nn.data.sources import SOURCES

__all__ = ["fetch", "find", "folders", "read_up_to", "refuse_foreign", "refuse_other_content", "rest_of", "unpacked"]

Folder: TypeAlias = str | os.PathLike[str] | None
Readable: TypeAlias = BinaryIO | gzip.GzipFile
READ_SIZE = 1 << 20  # bytes read at a time
MOST_SKIPPED = 1 << 26  # bytes read only to tell what is wrong with a file


def find(name: str, *files: str, data_dir: Folder = None) -> Path:
    """Returns the first of these files that is in a folder of the set, else the last one, cached or downloaded.

    Raises FileNotFoundError with the places that were searched if data_dir is given and has none of them.
    """
    for folder in folders(name, data_dir):
        for file in files:
            if (folder / file).is_file():
                refuse_foreign(folder / file, name, file)
                return folder / file
    if data_dir is not None:
        raise missing(name, " or ".join(files), data_dir)
    return fetch(name, files[-1])


def folders(name: str, data_dir: Folder) -> list[Path]:
    """Returns the set's own folder in data_dir, then data_dir itself; $RMAD_DATA replaces a missing data_dir."""
    given = data_dir if data_dir is not None else os.environ.get("RMAD_DATA")
    return [Path(given) / name, Path(given)] if given else []


def missing(name: str, files: str, data_dir: Folder) -> FileNotFoundError:
    """Returns the error that names the places that were searched."""
    hint = "; data_dir is a file, give the folder that it lies in" if data_dir and Path(data_dir).is_file() else ""
    return FileNotFoundError(f"{name}: no {files} in {' or '.join(map(str, folders(name, data_dir)))}{hint}")


def fetch(name: str, file: str) -> Path:
    """Returns the file in the cache, downloaded from the first address with the right bytes if it is not whole."""
    source = SOURCES[name][file]
    path = cache_dir() / name / file
    if path.is_file() and _sha256(path) == source.sha256:
        return path
    try:
        import pooch
    except ImportError:
        raise ImportError(
            f"{name}: downloading {file} needs pooch: pip install rmad[examples]; "
            "or pass data_dir, a folder with the files"
        ) from None
    failures = []
    for url in source.urls:
        try:
            return Path(pooch.retrieve(url, known_hash="sha256:" + source.sha256, fname=file, path=path.parent))
        except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
            failures.append(f"{url}: {error}")
    raise ConnectionError(
        f"{name}: could not download {file}; pass data_dir or set RMAD_DATA to a folder with the files. "
        + "; ".join(failures)
    )


def refuse_foreign(path: Path, name: str, file: str) -> None:
    """Raises ValueError for a file of another set, or a renamed one: several sets use the same names."""
    found = _sha256(path)
    for other, files in SOURCES.items():
        for known, source in files.items():
            if found == source.sha256 and (other, known) != (name, file):
                raise ValueError(f"{path}: this is {known} of {other}, expected {file} of {name}")


def refuse_other_content(path: Path, content: bytes, sha256: str, what: str) -> None:
    """Raises ValueError unless the content has this hash, for formats without a checksum."""
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        hashes = f"sha256 {found[:12]}…, expected {sha256[:12]}…"
        raise ValueError(f"{path}: has the form of {what} but not its content ({hashes})")


@contextmanager
def unpacked(path: Path) -> Iterator[Readable]:
    """Opens a file for reading, decompressed as it is read if its name ends in .gz; ValueError that names its fault."""
    with path.open("rb") as file:
        if path.suffix != ".gz":
            yield file
            return
        start = file.read(4)
        if start[:2] != b"\x1f\x8b":
            raise ValueError(f"{path}: starts with {start.hex(' ') or 'nothing'}, which is no gzip file")
        file.seek(0)
        try:
            with gzip.open(file) as content:
                try:
                    yield content
                except ValueError:
                    rest_of(content)  # the content is wrong if the file is damaged, which its checksum tells
                    raise
        except EOFError:
            raise ValueError(f"{path}: the gzip file is cut short, after {path.stat().st_size} bytes") from None
        except (gzip.BadGzipFile, zlib.error, struct.error) as error:
            raise ValueError(f"{path}: the gzip file is damaged: {error}") from None


def read_up_to(file: Readable, most: int) -> bytes:
    """Reads at most `most` + 1 bytes, with memory for no more than these.

    A compressed file of a few megabytes may unpack to gigabytes, and a damaged header may promise more than exists.
    """
    content = bytearray()
    while len(content) <= most and (chunk := file.read(min(READ_SIZE, most + 1 - len(content)))):
        content += chunk
    return bytes(content)


def rest_of(file: Readable) -> int:
    """Reads to the end, or to MOST_SKIPPED bytes, and returns the number of bytes; keeps none of them."""
    count = 0
    while count < MOST_SKIPPED and (chunk := file.read(READ_SIZE)):
        count += len(chunk)
    return count


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
