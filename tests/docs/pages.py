"""The pages of the documentation and the code blocks in them."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r'^( *)```(\w*)(?: title="(.*?)")?\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A code block: its language, the file that its title names or "", and its text."""

    language: str
    title: str
    text: str

    @property
    def is_workflow(self) -> bool:
        """Whether it is a workflow of GitHub, or the jobs of one."""
        return self.language == "yaml" and re.search(r"^jobs:", self.text, re.MULTILINE) is not None


def name(page: Path) -> str:
    """Return the page's path as tests show it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page, in its order."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        _, language, title, text = found.groups()
        yield Block(language=language, title=title or "", text=textwrap.dedent(text))
