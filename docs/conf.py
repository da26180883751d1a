"""Sphinx: `make docs`, or `make site` for the pages of several versions.

Pages that begin with `file_format: mystnb` are notebooks, and run.
"""

import importlib.metadata
import logging
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_ext"))

project = "rmad"
version = release = importlib.metadata.version("rmad")
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "cards"]
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
autodoc_typehints = "none"  # the docstrings give shapes, which say more
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


TERMS = {"Parameters", "Other Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns"}
SECTIONS = TERMS | {"Examples", "Notes", "References", "See Also"}
BULLET = re.compile(r"[*-] ")


def plain(text):
    """`text` with everything escaped that reStructuredText reads as markup; `code` becomes a literal."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a span that goes on in the next line
        parts = ["`".join(parts)]
    for k, part in enumerate(parts):
        parts[k] = re.sub(r"[\\*|`]|_(?!\w)", r"\\\g<0>", part) if k % 2 == 0 else f"``{part}``"
    return re.sub(r"^(?=[:+]|\.\. |\(?\w+[.)] )", r"\\", "".join(parts))


def term(line):
    """`name : type` of a section: the name stays as it is."""
    name, colon, kind = line.partition(" : ")
    return name + colon + plain(kind) if colon else line


def paragraphs(lines):
    """Prose: text and bullets are escaped, other indented lines (formulas, tables) become literal blocks."""
    out, literal, bullet = [], False, False
    for line in lines:
        text, indented = line.strip(), line.startswith(" ")
        if not text:
            bullet = False
        elif BULLET.match(text) and not literal and (bullet or not indented):
            line = "* " + plain(text[2:])
            out += [""] * (not bullet)
            bullet = True
        elif bullet:
            line = "  " + plain(text)
        elif indented and not literal:
            out += ["", "::", ""]
            literal = True
        elif not indented:
            out += [""] * literal
            literal = False
            line = line if text.startswith((">>> ", "... ")) else plain(line)
        out.append(line)
    return [*out, ""]


def escaped(app, what, name, obj, options, lines):
    """Docstrings are plain text: only the headings of their sections are markup, which napoleon then renders."""
    out, section, body = [], None, []

    def flush():
        if section in TERMS:
            out.extend(f"    {plain(line.strip())}" if line.startswith(" ") else term(line) for line in body)
        else:
            out.extend(body if section == "Examples" else paragraphs(body))
        body.clear()

    for line, after in zip(lines, [*lines[1:], ""]):
        if line.strip() in SECTIONS and re.fullmatch(r"-{3,}", after.strip()):
            flush()
            section = line.strip()
            out += ["", section]
        elif section and not body and re.fullmatch(r"-{3,}", line.strip()):
            out.append("-" * len(section))
        else:
            body.append(line)
    flush()
    lines[:] = out


def setup(app):
    app.connect("autodoc-process-docstring", escaped, priority=400)  # before napoleon's
