"""A comment as a page of GitHub's: GitHub's markdown, its list of allowed elements, its style sheet."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.support.peers import PEERS

DESKTOP, PHONE = 860, 390
"""Widths of a window whose comments are as wide as those of a pull request there."""

_STYLE = "node_modules/github-markdown-css/github-markdown-light.css"

# The frame is imitated: GitHub's comments have 16 pixels around their text, and a page has 8 more on a phone.
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A comment</title>
<meta name="viewport" content="width=device-width">
<style>{style}
body {{ margin: 8px; background: #fff }}
.comment {{ border: 1px solid #d1d9e0; border-radius: 6px }}
.by {{ padding: 8px 16px; font: 14px/1.5 -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif;
       color: #59636e; background: #f6f8fa; border-bottom: 1px solid #d1d9e0; border-radius: 6px 6px 0 0 }}
.by b {{ color: #1f2328 }}
.markdown-body {{ padding: 16px; font-size: 14px }}
</style></head>
<body><div class="comment"><div class="by"><b>github-actions</b> bot commented</div>
<div class="markdown-body">{body}</div></div></body></html>
"""


def pages(comments: Mapping[str, str], directory: Path) -> dict[str, Path]:
    """Write a page for each comment, by its name, into `directory`; needs the packages of `peers`."""
    arguments = []
    for name, markdown in comments.items():
        (directory / f"{name}.md").write_text(markdown, encoding="utf-8")
        arguments += [str(directory / f"{name}.md"), str(directory / f"{name}.html")]
    subprocess.run(["node", PEERS / "markdown.mjs", *arguments], check=True, timeout=120)
    style = (PEERS / _STYLE).read_text(encoding="utf-8")
    found = {name: directory / f"{name}.html" for name in comments}
    for path in found.values():
        path.write_text(_PAGE.format(style=style, body=path.read_text(encoding="utf-8")), encoding="utf-8")
    return found
