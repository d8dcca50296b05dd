"""The page of a report as text: what is in it, and that nothing in it runs or asks a network."""

import base64
import hashlib
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from navigator.records import Report, State
from navigator.render.page.page import report_page
from navigator.render.values import word
from navigator.report import storage
from navigator.report.summary import summarize
from tests.unit.test_printed_text import HOSTILE, hostile

CASES = Path(__file__).parents[1] / "cases" / "render"
REPORTS = {name: storage.read(CASES / f"{name}.yaml") for name in ("every_state", "gpu", "good")}

# What begins a request, and what runs, in HTML and in SVG.
_ADDRESSES = ("src", "href", "xlink:href", "action", "data", "poster", "srcset")
_ASKING = {"iframe", "object", "embed", "img", "image", "link", "base", "form", "use"}
_EMPTY = {"meta", "input", "br", "link", "img", "hr"}


class _Elements(HTMLParser):
    """Collects elements, text, and whether every element ends."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)


def parsed(page: str) -> _Elements:
    found = _Elements()
    found.feed(page)
    found.close()
    assert not found.open
    return found


def page(report: Report) -> str:
    return report_page(summarize(report))


@pytest.mark.parametrize("name", REPORTS)
def test_every_conversion_is_on_the_page_with_its_state_and_message(name: str) -> None:
    shown = " ".join(" ".join(parsed(page(REPORTS[name])).texts).split())
    for each in REPORTS[name].results:
        assert each.conversion in shown
        assert word(each.status.state) in shown
        assert each.status.message in shown


def test_columns_without_a_number_are_left_out() -> None:
    heads = {name: re.findall(r'aria-sort="none">(.*?)</th>', page(report)) for name, report in REPORTS.items()}
    assert ["Convert" in heads[name] for name in ("good", "gpu")] == [True, False]
    assert ["Latency" in heads[name] for name in ("good", "gpu")] == [False, True]


def test_a_conversion_that_was_not_compared_has_no_part_of_a_tolerance() -> None:
    shown = " ".join(" ".join(parsed(page(REPORTS["every_state"])).texts).split())
    assert "onnx_op14 mismatched output 'logits': 12 of 4,000 elements differ" in shown


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_is_the_same_every_time(name: str) -> None:
    assert page(REPORTS[name]) == page(REPORTS[name])


@pytest.mark.fault(
    "A name or a message holds a script, a link or characters that hide text", "`report.html` shows it as text"
)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_on_the_page_runs_or_asks_a_network(text: str) -> None:
    for report in REPORTS.values():
        shown = page(hostile(report, text))
        elements = parsed(shown).elements
        (script,) = [attributes for tag, attributes in elements if tag == "script"]
        assert not script
        assert not _ASKING & {tag for tag, _ in elements}
        for tag, attributes in elements:
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
            for name in _ADDRESSES:
                assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", shown)


def test_only_its_own_script_may_run() -> None:
    shown = page(REPORTS["every_state"])
    (script,) = re.findall("<script>(.*?)</script>", shown, re.DOTALL)
    (policy,) = [attributes["content"] or "" for _, attributes in parsed(shown).elements if "http-equiv" in attributes]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_a_page_of_256_conversions_is_small() -> None:
    report = REPORTS["every_state"]
    many = [
        replace(each, model_name=f"{each.model_name}{number}") for number in range(32) for each in report.results[:8]
    ]
    assert len(many) == 256
    assert len(page(replace(report, results=tuple(many))).encode()) < 3 * 2**20


def test_of_many_models_those_that_do_not_fail_are_folded() -> None:
    known = {each.status.state: each for each in REPORTS["every_state"].results}

    def shown(state: State, amount: int) -> str:
        many = tuple(replace(known[state], model_name=f"model{number}") for number in range(amount))
        return page(replace(REPORTS["every_state"], results=many))

    assert "10 more, none of which fails" in shown(State.PASSED, 30)
    assert "more, none of which fails" not in shown(State.PASSED, 20)
    assert "more, none of which fails" not in shown(State.MISMATCHED, 30)


def test_a_report_without_results_has_a_page() -> None:
    shown = parsed(page(replace(REPORTS["good"], results=(), timeline=())))
    assert "Conversions" not in shown.texts


def test_drawing_leaves_later_imports_alone() -> None:
    code = (
        "import importlib.metadata, warnings; warnings.simplefilter('error')\n"
        "from navigator.render.page.charts import Bar, sizes\n"
        "assert sizes([Bar(name='a', value=1), Bar(name='b', value=2)], 'sizes') is not None\n"
        "assert importlib.metadata.version('numpy')\n"
        "try: import no_such_module\n"
        "except ModuleNotFoundError: print('missing')"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "missing\n"
