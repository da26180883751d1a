"""The directive `names`: a table of all public names of a package, each with the first line of its docstring."""

import importlib
import inspect

import markup
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective


def first_line(thing):
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def documented(package, name):
    """The dotted name under which the reference has a name: that of a public module of the package, if it is there."""
    for module in (getattr(package, public) for public in package.__all__):
        if inspect.ismodule(module) and getattr(module, name, None) is getattr(package, name):
            return f"{module.__name__}.{name}"
    home = getattr(getattr(package, name), "__module__", "")
    return f"{home if home == 'rmad.operators.operators' else package.__name__}.{name}"


class Names(SphinxDirective):
    """Rows for the names in `__all__` of a package, but modules, each a link to its place in the reference."""

    required_arguments = 1

    def run(self):
        package = importlib.import_module(self.arguments[0])
        lines = [".. list-table::", "   :class: names", "   :widths: 30 70", ""]
        for name in sorted(package.__all__, key=str.lower):
            thing = getattr(package, name)
            if not inspect.ismodule(thing):
                says = first_line(thing) if inspect.isclass(thing) or inspect.isroutine(thing) else ""
                lines += [f"   * - :py:obj:`{name} <{documented(package, name)}>`", f"     - {markup.plain(says)}"]
        box = nodes.Element()
        self.state.nested_parse(StringList(lines, source=self.env.docname), self.content_offset, box)
        return box.children


def setup(app):
    app.add_directive("names", Names)
    app.add_css_file("fold.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
