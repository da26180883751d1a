"""The code in the README is run as written; the pages of docs/ are run in test_docs.py."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


def test_the_python_of_the_readme_runs_and_its_network_learns(tmp_path: pathlib.Path) -> None:
    code = "\n".join(blocks("README.md", "python"))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    right = re.search(r"([\d.]+)% right", done.stdout)
    assert right, done.stdout
    assert float(right[1]) > 95


def test_the_readme_has_one_line_for_the_main_job_and_one_for_the_tests() -> None:
    job, tests = blocks("README.md", "sh")
    for line in (job, tests):
        assert line.count("\n") == 1
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
    assert job.rstrip().endswith("examples/autoencoder.py")
    assert tests.rstrip().endswith("-m pytest -n 2 --dist worksteal")


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        assert "://" in target or (ROOT / target).exists(), f"{page} links to {target}"
