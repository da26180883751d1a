"""One process in a folder: a file that says who has it, locked by the system for as long as that process lives."""

from __future__ import annotations

import errno
import os
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Claim", "FolderInUse"]

TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


class FolderInUse(OSError):
    """Another process has the folder; the message says which."""


class Claim:
    """with Claim(folder): no other Claim gets the folder meanwhile. A folder that is not there is made.

    The system holds the lock and drops it with the process, however that ends: what a killed process leaves, the file
    `lock`, is in nobody's way. Where the system or the file system has no locks, nobody is kept out.
    Raises FolderInUse, OSError.

    >>> import nn, tempfile
    >>> with tempfile.TemporaryDirectory() as folder, nn.Claim(folder):
    ...     with nn.Claim(folder):
    ...         pass
    Traceback (most recent call last):
    nn.files.claim.FolderInUse: ... is in use by process ... on ..., since ...
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.path = Path(folder) / "lock"
        self._file: IO[str] | None = None
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        folder = self.path.parent
        if self._file is not None:
            raise FolderInUse(f"{folder} is in use by this very Claim")
        self._made = [f for f in (folder, *folder.parents) if not f.exists()]
        try:
            while self._file is None:
                folder.mkdir(parents=True, exist_ok=True)
                self._file = self._locked()
            self._file.truncate(0)
            self._file.write(
                f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
            )
            self._file.flush()
        except BaseException as problem:
            self.__exit__()
            if isinstance(problem, OSError) and problem.errno and problem.filename is None:
                problem.filename = str(self.path)
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            with suppress(OSError):
                self.path.unlink()  # before others can lock it: they see that it is gone
            with suppress(OSError):  # what a full disk refused is refused again
                self._file.close()
            self._file = None
        for folder in self._made:  # where nothing was written, nothing stays
            with suppress(OSError):
                folder.rmdir()
        self._made = []

    def _locked(self) -> IO[str] | None:
        """The file, locked; None where its last holder took it, or the folder, away meanwhile."""
        try:
            file = open(self.path, "a+", encoding="utf-8")  # noqa: SIM115 (it stays open while the claim lasts)
        except FileNotFoundError:
            if self.path.parent.exists():
                raise
            return None
        try:
            if not _lock(file):
                file.seek(0)
                raise FolderInUse(f"{self.path.parent} is in use by {file.read() or 'another process'}")
            if _is_at(file, self.path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        return None


def _lock(file: IO[Any]) -> bool:
    """Whether the file is ours now."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        return problem.errno not in TAKEN  # all else: a file system without locks
    return True


def _is_at(file: IO[Any], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
