"""Docstrings as plain text: what reStructuredText would read as markup is escaped, but for the headings of sections."""

import re

TERMS = {"Parameters", "Other Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns"}
SECTIONS = TERMS | {"Examples", "Notes", "References", "See Also"}
BULLET = re.compile(r"[*-] ")
NAME = re.compile(r"[A-Za-z]\w*(\.\w+)*")  # a class, a function, a module


def plain(text):
    """`text` with everything escaped that reStructuredText reads as markup; `code` becomes a literal, a name a link."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a span that goes on in the next line
        parts = ["`".join(parts)]
    for k, part in enumerate(parts):
        if k % 2 == 0:
            parts[k] = re.sub(r"[\\*|`]|_(?!\w)", r"\\\g<0>", part)
        else:  # a name that is documented nowhere stays a literal
            parts[k] = f":py:obj:`{part}`" if NAME.fullmatch(part) else f"``{part}``"
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
    return {"parallel_read_safe": True, "parallel_write_safe": True}
