"""The check of the English finds what it forbids, where a user meets it, and nothing else."""

import prose
import pytest


def test_nothing_forbidden_is_written() -> None:
    assert list(prose.problems()) == []


@pytest.mark.parametrize(
    "text",
    [
        "2 of 15 cells are not good",
        "Number of days. Without it, what the repository says.",
        "the file that lies beside it",
        "the directory is no repository",
        "1 of 2 is bad",
    ],
)
def test_a_forbidden_phrase_is_found(text: str) -> None:
    assert list(prose.findings(f"first line\n{text}\n"))
    assert {line for line, _ in prose.findings(f"first line\n{text}\n")} == {2}


@pytest.mark.parametrize("text", ["there is no file", "it is no longer there", "a cancelled job", "an excellent model"])
def test_a_phrase_that_looks_like_one_is_left_alone(text: str) -> None:
    assert list(prose.findings(text)) == []


def test_code_of_a_page_is_no_prose_and_keeps_its_lines() -> None:
    text = "One\n\n```yaml\ncells: bad\n```\n\n`cells` and [a link](cells.md)\n<!-- cells -->\nfew cells\n"

    assert list(prose.findings(prose.page(text))) == [(9, "'cells': write conversion")]


def test_sentences_of_a_module_are_its_strings_but_for_docstrings_and_names() -> None:
    source = '"""About cells of ours."""\nKEY = "cells"\ntext = f"{KEY}: two cells of {1}"\n'

    assert [text for _, text in prose.sentences(source)] == [": two cells of "]
    assert [line for line, _ in prose.sentences(source)] == [3]


def test_descriptions_are_found_however_deep() -> None:
    document = {"inputs": {"config": {"description": "a `cell` and more"}}, "steps": [{"description": "b"}]}

    assert list(prose.descriptions(document)) == ["a  and more", "b"]
