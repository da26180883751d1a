"""Sphinx: `sphinx-build -W docs docs/_build`. Pages that begin with `file_format: mystnb` are notebooks, and run."""

import importlib.metadata
import logging
import os
import pathlib

project = "rmad"
release = importlib.metadata.version("rmad")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes, which say more

nb_execution_mode = "force"  # what a page shows is what this version of the packages prints
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # what they save is nobody's
nb_execution_timeout = 120
nb_output_stderr = "remove-warn"  # a warning in a notebook is one of the build
nb_merge_streams = True
logging.getLogger("traitlets").setLevel(logging.WARNING)  # "Executing notebook with kernel", for each of them
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # also where the shell says Agg
os.environ["MATPLOTLIBRC"] = str(pathlib.Path(__file__).parent / "matplotlibrc")


def as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text, formulas and all: shown as they stand, not read as reStructuredText."""
    if any(line.strip() for line in lines):
        lines[:] = ["::", "", *(f"    {line}" for line in lines), ""]


def setup(app):
    app.connect("autodoc-process-docstring", as_written)
