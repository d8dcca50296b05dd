"""The comment as a reviewer sees it on GitHub: its text in each situation, and how much of a screen it takes.

`UPDATE_CASES=1 pytest tests/action/test_comment_page.py` writes the texts anew; look at their diff, and at the pictures
that `python tools/picture.py DIRECTORY` draws of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.github_page import DESKTOP, PHONE, pages
from tests.support.situations import SITUATIONS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CASES = Path(__file__).parents[1] / "cases" / "comments"

# The most pixels that a comment may be high without its frame, on a desktop and on a phone.
HEIGHTS = {
    "nothing_changed": (120, 220),
    "four_of_16": (900, 1000),
    "many": (2500, 2500),
    "many_different": (2500, 2500),
}
USUAL = (900, 1600)
TEXTS = [name for name in SITUATIONS if name != "many_different"]


@pytest.mark.parametrize("name", TEXTS)
def test_text(name: str) -> None:
    path = CASES / f"{name}.md"
    shown = SITUATIONS[name]()
    if os.environ.get("UPDATE_CASES"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")


def test_every_text_is_of_a_situation() -> None:
    assert {path.stem for path in CASES.iterdir()} == set(TEXTS)


@pytest.fixture(scope="session")
def shown(peers: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return a page of each situation, as GitHub would make it."""
    return pages({name: make() for name, make in SITUATIONS.items()}, tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="module")
def page(browser: "Browser") -> Iterator["Page"]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_comment_fits_on_the_screen(page: "Page", shown: dict[str, Path], name: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(shown[name].as_uri())
    body = page.locator(".markdown-body")

    height = body.evaluate("element => element.offsetHeight")
    wide = body.evaluate(
        "element => [...element.querySelectorAll('*')].filter(each => each.checkVisibility())"
        ".filter(each => each.scrollWidth > each.clientWidth && each.clientWidth).map(each => each.outerHTML)"
    )

    assert height <= HEIGHTS.get(name, USUAL)[width == PHONE]
    assert wide == [], "nothing that is open has to be scrolled sideways"


@pytest.mark.parametrize("name", SITUATIONS)
def test_only_what_github_allows_is_in_a_comment(page: "Page", shown: dict[str, Path], name: str) -> None:
    """What GitHub removes, a reader wouldn't see; and nothing of a name has become an element."""
    page.goto(shown[name].as_uri())
    body = page.locator(".markdown-body")
    tags = set(body.evaluate("element => [...element.querySelectorAll('*')].map(each => each.localName)"))
    links = body.evaluate("element => [...element.querySelectorAll('a')].map(each => each.href)")
    said = body.text_content() or ""

    assert tags <= {
        *("h3", "p", "ul", "li", "strong", "code", "pre", "a", "details", "summary", "br", "sub"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert all(link.startswith("https://github.com/org/models/actions/runs/1") for link in links)
    assert "**" not in said.replace("**heading**", "")
    assert "&" not in said
