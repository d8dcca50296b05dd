"""The documentation is built without a warning, and a browser needs nothing from elsewhere to show it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, ROOT

# What a browser loads on its own; a link that is followed is the reader's choice.
_LOADED = re.compile(r"""<(?:script|img|iframe)\b[^>]*\bsrc=["']?([^"'\s>]+)|<link\b[^>]*\bhref=["']?([^"'\s>]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of the built site."""
    directory = tmp_path_factory.mktemp("site")
    program = Path(sys.executable).with_name("mkdocs")
    # Not --quiet: with it, mkdocs counts no warning, and --strict fails at none.
    ran = subprocess.run(
        [program, "build", "--strict", "--site-dir", directory],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return directory


def test_every_page_is_built(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs").with_suffix(".html") for page in PAGES if page != README]

    assert [page for page in pages if not (site / page).is_file()] == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = [path for path in site.rglob("*.html") if path.name != "404.html"]  # which is of a server
    html = {path: path.read_text(encoding="utf-8") for path in pages}
    loaded = [(path, found[1] or found[2]) for path, text in html.items() for found in _LOADED.finditer(text)]

    assert len(loaded) > len(html)
    assert [target for _, target in loaded if re.match(r"(\w+:)?//", target)] == []
    assert [target for path, target in loaded if not (path.parent / re.sub(r"[?#].*", "", target)).exists()] == []
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)]*", styles) == []


def test_it_can_be_searched_as_a_file(site: Path) -> None:
    """A browser starts no worker from a file: the search has its words, and what stands in for one, in scripts."""
    front = (site / "index.html").read_text(encoding="utf-8")

    assert "assets/iframe-worker.js" in front
    assert "launch_mode" in (site / "search/search_index.js").read_text(encoding="utf-8")
