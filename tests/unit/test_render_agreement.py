"""What a reduced precision keeps, the user's limits for it, and steps of a state, as readers see them."""

import pytest

from navigator.records import Agreement, Comparison, Decisions, Gate, State
from navigator.render.markdown import summary_markdown
from navigator.render.plain import summary_lines
from navigator.render.results import agreement
from navigator.report.summary import summarize
from tests.support.builders import a_comparison, a_report, a_result

BEYOND = Gate(measure="cosine", limit=0.999, value=0.99, kept=False)


def shown(*comparisons: Comparison) -> tuple[str, str]:
    """Return a mismatch as Markdown and as plain text."""
    summary = summarize(a_report(a_result(State.MISMATCHED, comparisons=comparisons)))
    return summary_markdown(summary), "\n".join(line.text for line in summary_lines(summary))


def test_a_limit_that_is_not_kept_is_shown_with_its_value() -> None:
    kept = Gate(measure="sqnr_db", limit=20.0, value=30.0, kept=True)
    failing = a_comparison(passed=False, mismatched=0, agreement=Agreement(cosine=0.99), gates=(BEYOND, kept))
    for text in shown(failing):
        assert "cosine is 0.99, beyond your limit of 0.999" in text
        assert "sqnr_db" not in text


@pytest.mark.parametrize(("steps", "said"), [((2, 4, 300), "y after 2 to 300 steps"), ((5,), "y after 5 steps")])
def test_an_output_says_after_how_many_steps_it_was_compared(steps: tuple[int, ...], said: str) -> None:
    markdown, plain = shown(a_comparison(passed=False, steps=steps))
    assert said in plain
    assert said in markdown.replace("`", "")


def test_the_output_with_the_fewest_decisions_kept_is_shown() -> None:
    many = Decisions(count=40, flips=4, flips_at_most=0.21, top_k=5, top_k_kept=0.98, divergence=0.1)
    few = Decisions(count=40, flips=1, flips_at_most=0.12, top_k=5, top_k_kept=0.9)
    comparisons = [a_comparison(agreement=Agreement(sqnr_db=20.0, decisions=each)) for each in (many, few)]
    assert agreement(comparisons) == ("SQNR 20 dB, 4 of 40 top-1 flipped (95 % sure: at most 21 %), 90 % of top-5 kept")
