"""Pages of several versions side by side: `python docs/site.py SITE` builds this one into SITE/VERSION.

SITE/index.html lists all versions there, the newest first; every page has a link to that list. A server that gives out
SITE as it is needs nothing else.
"""

from __future__ import annotations

import html
import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>rmad: documentation by version</title>
<body style="font-family: sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em">
<h1>rmad</h1>
<p>Documentation by version:</p>
<ul>
{items}
</ul>
"""


def versions(site: pathlib.Path) -> list[str]:
    """The versions that were built into a site, the newest first; a release comes before its candidates."""
    found = [path.parent.name for path in site.glob("*/index.html")]

    def age(name: str) -> list[tuple[int, int, str]]:
        parts = re.findall(r"\d+|[a-z]+", name)
        return [(1, int(part), "") if part.isdigit() else (-1, 0, part) for part in parts] + [(0, 0, "")]

    return sorted(found, key=age, reverse=True)


def index(site: pathlib.Path) -> str:
    """The page that lists the versions."""
    names = [html.escape(name) for name in versions(site)]
    return PAGE.format(items="\n".join(f'<li><a href="{name}/index.html">{name}</a></li>' for name in names))


def main(folder: str) -> int:
    """Builds the pages of the version that is installed."""
    site = pathlib.Path(folder)
    version = importlib.metadata.version("rmad")
    source = pathlib.Path(__file__).parent
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", source, site / version]
    code = subprocess.run(command, env=os.environ | {"RMAD_DOCS_SITE": "1"}, check=False).returncode
    if code == 0:
        (site / "index.html").write_text(index(site), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
