"""Every page of docs/gallery/ is a question, short code that fits a screen, one picture and what one learns.

Sphinx runs the pages where they are built; the slow test here also takes their time.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[1] / "docs"
PAGES = sorted((DOCS / "gallery").glob("*.md"))
SHORT, LONG = 20, 60  # lines of code
SECONDS = 10.0  # 5 of CPU time wanted on a quiet machine; where others share its caches it takes up to twice that

TIMED = """
import matplotlib, time
matplotlib.rc_file({style!r})
import rmad, nn, optim, matplotlib.pyplot as plt
begin = time.process_time()
exec(compile({code!r}, {page!r}, "exec"), {{"__name__": "__main__"}})
print("\\n", len(plt.get_fignums()), time.process_time() - begin)
"""


def cells(page: pathlib.Path) -> list[str]:
    return re.findall(r"^```\{code-cell\}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_a_question_with_short_code_and_what_one_learns(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    title = re.search(r"^# (.*)$", text, re.M)
    assert title
    assert title[1].endswith("?")
    lines = [line for cell in cells(page) for line in cell.splitlines() if line.strip()]
    assert SHORT <= len(lines) <= LONG
    assert "**What you learn.**" in text
    assert "\nNext: " in text


def test_the_index_lists_every_page_once_by_its_title() -> None:
    index = (DOCS / "gallery.md").read_text(encoding="utf-8")
    listed = dict(reversed(link) for link in re.findall(r"^\* \[(.*?)\]\(gallery/(\w+)\.md\)$", index, re.M))
    titles = {page.stem: re.findall(r"^# (.*)$", page.read_text(encoding="utf-8"), re.M)[0] for page in PAGES}
    assert listed == titles
    assert re.findall(r"^gallery/(\w+)$", index, re.M) == list(listed)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_in_seconds_and_draws_one_picture(page: pathlib.Path, tmp_path: pathlib.Path) -> None:
    code = TIMED.format(style=str(DOCS / "matplotlibrc"), code="\n".join(cells(page)), page=page.name)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    pictures, seconds = done.stdout.splitlines()[-1].split()
    assert pictures == "1"
    assert float(seconds) < SECONDS
