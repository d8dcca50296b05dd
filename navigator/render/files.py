"""The files of a report: convert_results.yaml for programs, summary.md and report.html for people."""

from collections.abc import Callable
from pathlib import Path

from navigator import disks
from navigator.errors import FileError, remedy
from navigator.render.markdown import summary_markdown
from navigator.render.page.page import report_page
from navigator.report import storage
from navigator.report.summary import Summary
from navigator.safe_files import replace_file


class UnwrittenError(FileError):
    """A file of the report can't be written, for example because the disk is full."""


def write_files(summary: Summary, directory: Path) -> None:
    """Write the results, the summary and the page of a run into `directory`, which exists.

    Raises:
        UnwrittenError: a file could not be written; the others were.
    """
    markdown = summary_markdown(summary)
    page = report_page(summary)
    results_path, summary_path = directory / storage.RESULTS, directory / storage.SUMMARY
    page_path = directory / storage.PAGE
    writes: tuple[tuple[Path, Callable[[], None]], ...] = (
        (results_path, lambda: storage.write(summary.report, results_path)),
        (summary_path, lambda: replace_file(summary_path, markdown.encode())),
        (page_path, lambda: replace_file(page_path, page.encode())),
    )
    problems, hint = [], ""
    for path, write in writes:
        try:
            write()
        except OSError as error:
            problems.append(f"{path} couldn't be written: {disks.reason(error, path)}")
            hint = remedy(error)
    if problems:
        raise UnwrittenError("; ".join(problems), hint)
