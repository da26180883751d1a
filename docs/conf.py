"""Sphinx: `make docs`, or `make site` for the pages of several versions.

Pages that begin with `file_format: mystnb` are notebooks, and run.
"""

import importlib.metadata
import logging
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_ext"))

project = "rmad"
version = release = importlib.metadata.version("rmad")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
extensions += ["cards", "markup", "names"]  # of _ext/
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"rmad {release}"
html_static_path = ["_static"]
templates_path = ["_templates"]
html_context = {"has_versions": bool(os.environ.get("RMAD_DOCS_SITE"))}  # set by site.py: their list is one folder up
html_sidebars = {
    "**": [f"sidebar/{n}.html" for n in ("brand", "search", "scroll-start", "navigation", "versions", "scroll-end")]
}
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80  # a longer one has a line per argument
highlight_language = "none"  # of formulas and tables in docstrings; the fences of pages name theirs
napoleon_google_docstring = False
napoleon_use_rtype = False  # "Jv (tree like y)", in one line
napoleon_use_ivar = True  # a list: autodoc shows the attributes themselves as members

nb_execution_mode = "force"  # what a page shows is what this version of the packages prints
nb_execution_raise_on_error = True
nb_execution_in_temp = True  # files that they save are thrown away
nb_execution_timeout = 600  # seconds per cell: on a busy machine the longest take minutes
nb_output_stderr = "remove-warn"  # a warning in a notebook is one of the build
nb_merge_streams = True
logging.getLogger("traitlets").setLevel(logging.WARNING)  # "Executing notebook with kernel", for each of them
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"  # also where the shell says Agg
os.environ["RMAD_PROGRESS"] = "off"  # no bars on standard error
os.environ["MATPLOTLIBRC"] = str(pathlib.Path(__file__).parent / "matplotlibrc")
