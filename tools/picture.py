"""Draws the comment of a run as a pull request shows it: `python tools/picture.py RESULTS.yaml PICTURE.png`.

The markdown and the style are GitHub's, see `tests/support/github_page.py`; run `make peers` before. The README's
picture is of some examples, with the absolute tolerance of `pooled__1` at 2e-7.
"""

import sys
import tempfile
from pathlib import Path

from navigator.render.comment import ArtifactLink, Links, comment
from navigator.report.storage import read
from navigator.report.summary import summarize
from tests.support.browser import chromium
from tests.support.github_page import DESKTOP, pages

_RUN = "https://github.com/org/models/actions/runs/1"


def main() -> None:
    """Draw the picture."""
    results, picture = map(Path, sys.argv[1:])
    summary = summarize(read(results))
    size_bytes = sum(each.output_model.size_bytes for each in summary.report.results if each.output_model is not None)
    links = Links(
        run_url=_RUN,
        models=(ArtifactLink(name="models", url=f"{_RUN}/artifacts/2", size_bytes=size_bytes),),
        results_url=f"{_RUN}/artifacts/1",
    )
    markdown = comment(summary, key="Models/navigator.yaml", links=links)
    with tempfile.TemporaryDirectory() as directory, chromium() as browser:
        shown = pages({"comment": markdown}, Path(directory))["comment"]
        page = browser.new_page(viewport={"width": DESKTOP, "height": 100})
        page.goto(shown.as_uri())
        page.screenshot(path=picture, full_page=True)


if __name__ == "__main__":
    main()
