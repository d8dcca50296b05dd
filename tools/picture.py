"""Draws comments as a pull request shows them, on a desktop and on a phone; run `make peers` before.

`python tools/picture.py RESULTS.yaml BASELINE.yaml PICTURE.png` draws that of a run. The README's is of three examples;
the base has them as they are, and the run an `atol` of 2e-7 for `pooled__1`, one of 3e-3 for mobilenetv2, and resnet50
without opset 14.
`python tools/picture.py DIRECTORY` draws those of the situations in `tests/support/situations.py`, to be looked at.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from navigator.changes.base import read as read_base
from navigator.changes.compare import compare
from navigator.render.comment import ArtifactLink, Links, comment
from navigator.report.storage import read
from navigator.report.summary import summarize
from tests.support.browser import chromium
from tests.support.github_page import DESKTOP, PHONE, pages
from tests.support.situations import SITUATIONS

_RUN = "https://github.com/org/models/actions/runs/1"


def main() -> None:
    """Draw the pictures."""
    if len(sys.argv) == 2:
        directory = Path(sys.argv[1])
        directory.mkdir(parents=True, exist_ok=True)
        texts = {name: make() for name, make in SITUATIONS.items()}
        places = {(name, width): directory / f"{name}-{width}.png" for name in texts for width in (DESKTOP, PHONE)}
    else:
        results, baseline, picture = map(Path, sys.argv[1:])
        texts = {"comment": _comment(results, baseline)}
        places = {("comment", DESKTOP): picture}
    _draw(texts, places)


def _comment(results: Path, baseline: Path) -> str:
    """Return the comment on a run, compared with another one."""
    report, base = read(results), read_base(baseline)
    told = replace(base.told, label="main", relation="merge base", run_url=_RUN)
    size_bytes = sum(each.output_model.size_bytes for each in report.results if each.output_model is not None)
    links = Links(
        run_url=_RUN,
        log_url=_RUN,
        models=(ArtifactLink(name="models", url=f"{_RUN}/artifacts/2", size_bytes=size_bytes),),
        results_url=f"{_RUN}/artifacts/1",
    )
    changes = compare(report, replace(base, told=told))
    return comment(summarize(report, changes), key="Models/navigator.yaml", links=links)


def _draw(texts: Mapping[str, str], places: Mapping[tuple[str, int], Path]) -> None:
    with tempfile.TemporaryDirectory() as directory, chromium() as browser:
        shown = pages(texts, Path(directory))
        for (name, width), picture in places.items():
            page = browser.new_page(viewport={"width": width, "height": 100})
            page.goto(shown[name].as_uri())
            page.screenshot(path=picture, full_page=True)
            page.close()


if __name__ == "__main__":
    main()
