"""examples/pictures.py: every picture is drawn."""

from __future__ import annotations

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def pictures(*args: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "examples" / "pictures.py")
    return subprocess.run([sys.executable, script, *args], capture_output=True, text=True, timeout=300)


def test_every_picture_is_drawn(tmp_path: pathlib.Path) -> None:
    done = pictures("--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    names = {"cg", "spectrum", "along", "steps", "run", "cosines"}
    assert {path.stem for path in tmp_path.iterdir()} == names
    assert all(path.stat().st_size > 10_000 for path in tmp_path.iterdir())


def test_an_unknown_name() -> None:
    done = pictures("hologram")
    assert done.returncode == 2
    assert "there is no picture hologram; there are cg, spectrum" in done.stderr
