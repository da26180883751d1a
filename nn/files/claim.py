"""One process per folder: a file that names it, locked by the system for as long as that process lives."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Claim", "FolderInUse"]

FOREIGN = errno.EEXIST, "this is no lock file of nn.Claim, which needs the name"
TEXT_SIZE = 1000  # characters of a lock file that are read
TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


class FolderInUse(OSError):
    """Another process uses the folder; the message names it."""


class Claim:
    """with Claim(folder): no other Claim gets the folder meanwhile. A folder that does not exist is made.

    The system drops the lock with the process, however that ends: the file `lock` that a killed process leaves blocks
    no other. On a system or a file system without locks the claim has no effect.

    Parameters
    ----------
    folder : str or Path
        The folder.

    Raises
    ------
    FolderInUse
        If another claim has the folder.
    OSError
        If the folder or the file cannot be made, or another file has its name: a link, or other content.

    Examples
    --------
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
            with suppress(OSError):  # a full disk refuses the rest of the text again
                self._file.close()
            self._file = None
        for folder in self._made:  # only empty ones can be removed
            with suppress(OSError):
                folder.rmdir()
        self._made = []

    def _locked(self) -> IO[str] | None:
        """Returns the file, locked; None if its last holder has just deleted it, or the folder."""
        try:
            file = open(self.path, "a+", encoding="utf-8", errors="replace", opener=_open)  # noqa: SIM115 (it stays open)
        except FileNotFoundError:
            if self.path.parent.exists():
                raise
            return None
        except OSError as problem:
            if problem.errno != errno.ELOOP:  # of a symbolic link
                raise
            raise FileExistsError(*FOREIGN, str(self.path)) from None
        try:
            held = not _lock(file)
            file.seek(0)
            text = file.read(TEXT_SIZE)
            if text and not text.startswith("process "):
                raise FileExistsError(*FOREIGN, str(self.path))
            if held:
                raise FolderInUse(f"{self.path.parent} is in use by {text or 'another process'}")
            if _is_at(file, self.path):
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        return None


def _open(path: str, flags: int) -> int:
    """Opens no target of a symbolic link, which would be overwritten, and does not wait for the reader of a pipe."""
    handle = os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_nlink <= 1:  # what has another name is not ours to write
        return handle
    os.close(handle)
    raise FileExistsError(*FOREIGN, path)


def _lock(file: IO[Any]) -> bool:
    """Locks the file; returns False if another process has the lock."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as problem:
        return problem.errno not in TAKEN  # other errors come from a file system without locks
    return True


def _is_at(file: IO[Any], path: Path) -> bool:
    """Returns True if the open file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
