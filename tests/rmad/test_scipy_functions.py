"""The page on SciPy's functions says what they do."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

import pytest
import scipy

import rmad
from rmad.errors.scipy_names import WITH_THE_VARIABLE

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "scipy_functions.md"
SAMPLE = """
    special.expit special.gammainc special.hyp2f1 special.logsumexp special.lqn special.ellip_harm special.round
    fft.rfft fft.dct linalg.bandwidth linalg.expm integrate.trapezoid integrate.tanhsinh constants.lambda2nu
"""

pytestmark = pytest.mark.skipif(
    f"SciPy {scipy.__version__} " not in PAGE.read_text("utf-8"), reason="the page is that of another version of SciPy"
)


def tried(*arguments):
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(rmad.__file__).parents[1])}
    script = str(ROOT / "benchmarks" / "scipy_functions.py")
    return subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT / "benchmarks"
    )


def test_a_sample_is_as_the_page_says():
    found = tried("--check", str(PAGE), *SAMPLE.split())
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.slow
def test_a_page_that_is_wrong_is_found(tmp_path):
    wrong = tmp_path / "page.md"
    wrong.write_text(PAGE.read_text("utf-8").replace("`lambda2nu`, ", ""), "utf-8")
    found = tried("--check", str(wrong), "constants.lambda2nu")
    assert found.returncode == 1
    assert found.stderr.strip() == "constants.lambda2nu: ('error', 'gradient'), not None"


def test_errors_name_the_variable_where_it_helps():
    """The table behind the errors has the functions that run with the variable, and with it only."""
    for section in PAGE.read_text("utf-8").split("\n## scipy.")[1:]:
        module, _, rest = section.partition("\n")
        found = re.search(r"\*Gradient with the variable, an error without it:\*([^*]*)", rest)
        names = re.findall(r"`(\w+)`", found[1]) if found else []
        assert WITH_THE_VARIABLE.get(module, "").split() == names, module


@pytest.mark.slow
def test_everything_is_as_the_page_says(tmp_path):
    again = tmp_path / "page.md"
    assert tried("--write", str(again)).stderr == ""
    assert again.read_text("utf-8") == PAGE.read_text("utf-8")
    assert not {"broken", "unclear", "WRONG"} & set(again.read_text("utf-8").split())
