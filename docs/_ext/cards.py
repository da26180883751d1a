"""Cards for the gallery: each link in a list of links to pages of gallery/ gets the last picture of its page.

In the Markdown it is a plain list, which reads well without a build.
"""

import copy
import posixpath

from docutils import nodes

INDEX = "gallery"


def last_picture(env, page):
    """The picture that a page ends with, as a node that another page may hold; None if there is none."""
    pictures = list(env.get_doctree(page).findall(nodes.image))
    if not pictures:
        return None
    picture = copy.deepcopy(pictures[-1])
    for name in ("width", "height", "scale", "align", "ids", "names"):
        picture.attributes.pop(name, None)
    picture["alt"] = ""  # the link next to it says what it shows
    return picture


def add_pictures(app, doctree, page):
    if page != INDEX or app.builder.format != "html":
        return
    for items in doctree.findall(nodes.bullet_list):
        links = [link for link in items.findall(nodes.reference) if link.get("refuri", "").startswith(f"{INDEX}/")]
        if len(links) != len(items):
            continue
        items["classes"].append("cards")
        for link in links:
            target = posixpath.splitext(link["refuri"].partition("#")[0])[0]
            if picture := last_picture(app.env, target):
                link.insert(0, picture)


def outdated(app, env, added, changed, removed):
    """The index is read again when a page of the gallery is, whose picture it shows."""
    return [INDEX] if any(page.startswith(f"{INDEX}/") for page in added | changed | removed) else []


def setup(app):
    app.connect("doctree-resolved", add_pictures)
    app.connect("env-get-outdated", outdated)
    app.add_css_file("cards.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
