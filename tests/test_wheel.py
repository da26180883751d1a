"""Wheel and source archive hold rmad, nn and optim, and work where there is nothing else. Needs a package index."""

from __future__ import annotations

import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ("rmad", "nn", "optim")

pytestmark = pytest.mark.slow


def done(*command: str | pathlib.Path, cwd: pathlib.Path) -> str:
    run = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The Python of an empty environment."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    found = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    probe = [found, "-m", "pip", "download", "--no-deps", "--dest", folder, "setuptools>=77"]
    if subprocess.run(probe, cwd=folder, capture_output=True).returncode:
        pytest.skip("no package index at hand")
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A copy of the checkout: a build leaves its traces there."""
    folder = tmp_path_factory.mktemp("tree") / "rmad"
    left_out = shutil.ignore_patterns(".git", ".*venv", ".*_cache", ".hypothesis", "*.egg-info", "__pycache__", "build")
    shutil.copytree(ROOT, folder, ignore=left_out)
    return folder


def files(folder: pathlib.Path) -> set[str]:
    """Those of the packages."""
    found = [path for package in PACKAGES for path in (folder / package).rglob("*") if "__pycache__" not in path.parts]
    return {path.relative_to(folder).as_posix() for path in found if path.is_file()}


def test_the_source_archive_holds_code_tests_and_docs(python: pathlib.Path, tree: pathlib.Path) -> None:
    """All that is in the repository, and its tests run there."""
    done(python, "-m", "pip", "install", "--quiet", "--target", tree.parent / "build", "setuptools>=77", cwd=tree)
    build = f"import sys; sys.path.insert(0, {str(tree.parent / 'build')!r})\n"
    build += "import setuptools.build_meta as b; b.build_sdist('../dist')"
    done(python, "-c", build, cwd=tree)
    (archive,) = (tree.parent / "dist").iterdir()
    with tarfile.open(archive) as file:
        names = {member.name.partition("/")[2] for member in file if member.isfile()}
        file.extractall(tree.parent / "unpacked", filter="data")
    own = {name for name in names if not name.startswith("rmad.egg-info/")}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    if listed:
        assert own == {*listed, "PKG-INFO"}
    assert files(ROOT) <= own
    assert {"tests/conftest.py", "docs/index.md", "docs/conf.py", "Makefile", "CHANGELOG.md"} <= own
    (unpacked,) = (tree.parent / "unpacked").iterdir()
    tests = ["tests/rmad/test_tree.py", "tests/test_floors.py", "tests/test_site.py", "tests/optim/test_fit.py"]
    done(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *tests, cwd=unpacked)


def test_the_readme_runs_on_the_wheel_alone(python: pathlib.Path, tree: pathlib.Path, tmp_path: pathlib.Path) -> None:
    done(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, tree, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if ".dist-info/" not in name}
        (license,) = [name for name in file.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        (metadata,) = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        assert file.read(license) == (ROOT / "LICENSE").read_bytes()
        assert "\nLicense-Expression: MIT\n" in file.read(metadata).decode()
    assert names == files(ROOT)
    done(python, "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    listed = {line.split("==")[0] for line in done(python, "-m", "pip", "freeze", cwd=tmp_path).splitlines()}
    assert {name.split(" ")[0] for name in listed} == {"numpy", "scipy", "threadpoolctl", "rmad"}
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", readme, re.M | re.S))
    code += "\nprint(rmad.__file__, nn.__file__, optim.__file__)"
    out = done(python, "-I", "-W", "error", "-c", code, cwd=tmp_path)
    assert re.search(r"[\d.]+% right", out)
    assert out.count(str(python.parents[1])) == 3
    save = "import nn, numpy as np\nnn.save(nn.Linear(2, 2, rng=np.random.default_rng(0)), 'm')"
    told = subprocess.run([python, "-I", "-c", save], cwd=tmp_path, capture_output=True, text=True).stderr
    assert "needs safetensors: pip install rmad[examples]" in told
