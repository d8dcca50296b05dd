"""The page of a report in a real browser: it works with a mouse, a keyboard and a phone, and axe finds nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from navigator.records import Report
from navigator.render.page.page import report_page
from navigator.report import storage
from navigator.report.summary import summarize
from tests.support.peers import MISSING, install, lack

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CASES = Path(__file__).parents[1] / "cases" / "render"
EVERY_STATE = storage.read(CASES / "every_state.yaml")


@pytest.fixture
def show(browser: "Browser", tmp_path: Path) -> Iterator[Any]:
    """Return a function that opens the page of a report; the test fails if the page complains."""
    complaints: list[str] = []

    def opened(report: Report, **options: Any) -> "Page":
        path = tmp_path / "report.html"
        path.write_text(report_page(summarize(report)), encoding="utf-8")
        shown = browser.new_page(**options)
        shown.on("console", lambda message: complaints.append(message.text))
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on("request", lambda request: complaints.append(request.url) if "file:" not in request.url else None)
        shown.goto(path.as_uri())
        return shown

    yield opened
    assert not complaints


def rows(page: "Page") -> list[str]:
    shown = "#results tbody tr:not([hidden])"
    found: list[str] = page.eval_on_selector_all(shown, "rows => rows.map(row => row.innerText)")
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing(show: Any, scheme: str, width: int) -> None:
    modules = install() or lack(MISSING)
    page = show(EVERY_STATE, color_scheme=scheme, viewport={"width": width, "height": 800}, bypass_csp=True)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    page.add_script_tag(path=str(modules / "axe-core" / "axe.min.js"))
    found = page.evaluate("axe.run()")["violations"]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"]]) for each in found] == []


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_no_page_is_wider_than_its_window(show: Any, width: int) -> None:
    page = show(EVERY_STATE, viewport={"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [1280, 390])
def test_no_word_in_a_table_is_broken(show: Any, width: int) -> None:
    page = show(EVERY_STATE, viewport={"width": width, "height": 800})
    lines = """cells => cells.filter(cell => cell.offsetParent && /^[0-9a-z_]+$/.test(cell.innerText)).map(cell => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return [cell.innerText, new Set([...range.getClientRects()].map(each => each.top)).size];
    })"""
    words = page.eval_on_selector_all("td", lines)
    assert ["resnet50", 1] in words
    assert [word for word, count in words if count > 1] == []


def test_conversions_are_found_by_what_is_typed_and_by_their_state(show: Any) -> None:
    page = show(EVERY_STATE)
    everything = rows(page)
    page.keyboard.press("/")
    page.keyboard.type("effnet onnx_op13")
    found = rows(page)
    assert found == [each for each in everything if "effnet" in each and "onnx_op13" in each]
    assert 0 < len(found) < len(everything)
    assert page.inner_text("#found") == f"{len(found)} of {len(everything)}"
    page.fill("#search", "")
    page.select_option("#only", "fails")
    failing = sum(len(each.failed) for each in summarize(EVERY_STATE).models)
    assert len(rows(page)) == failing


def test_the_table_is_sorted_by_number_with_the_keyboard(show: Any) -> None:
    page = show(EVERY_STATE)
    header = page.get_by_role("button", name="Size")
    header.focus()
    page.keyboard.press("Enter")

    def keys() -> list[str]:
        column = page.evaluate(
            "[...document.querySelectorAll('#results th')].findIndex(each => each.innerText.includes('Size'))"
        )
        cells = f"#results tbody td:nth-child({column + 1})"
        found: list[str] = page.eval_on_selector_all(cells, "cells => cells.map(cell => cell.dataset.key)")
        return found

    sizes = [float(key) for key in keys() if key]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 1
    page.keyboard.press("Enter")
    assert [float(key) for key in keys() if key] == sizes[::-1]
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Size")


def test_a_link_opens_the_model_of_its_conversion(show: Any) -> None:
    page = show(storage.read(CASES / "good.yaml"))
    chip = page.locator(".chip").first
    target = chip.get_attribute("href")
    assert not page.locator(target).is_visible()
    chip.click()
    assert page.locator(target).is_visible()


def test_light_and_dark_can_be_chosen(show: Any) -> None:
    page = show(EVERY_STATE, color_scheme="light")
    color = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(color)
    page.click("#theme")
    assert page.evaluate(color) != before
    page.click("#theme")
    assert page.evaluate(color) == before


def test_256_conversions_can_be_used_at_once(show: Any) -> None:
    """Not a measurement: whatever the machine, the table is there and filtered after one event."""
    many = tuple(
        replace(each, model_name=f"{each.model_name}{number}")
        for number in range(32)
        for each in EVERY_STATE.results[:8]
    )
    page = show(replace(EVERY_STATE, results=many))
    page.fill("#search", "resnet507 ")
    assert 0 < len(rows(page)) < len(many)
