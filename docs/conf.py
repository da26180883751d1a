"""Sphinx: `sphinx-build -W docs docs/_build`."""

import importlib.metadata

project = "rmad"
release = importlib.metadata.version("rmad")
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say shapes, which say more


def as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text, formulas and all: shown as they stand, not read as reStructuredText."""
    if any(line.strip() for line in lines):
        lines[:] = ["::", "", *(f"    {line}" for line in lines), ""]


def setup(app):
    app.connect("autodoc-process-docstring", as_written)
