"""A headless Chromium for tests of what people look at: that of the machine, driven by Playwright.

`pip install playwright` brings no browser. GitHub's runners have one; elsewhere it's `apt-get install chromium`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

MISSING = "no Chromium is installed: apt-get install chromium"
_NAMES = ("chromium", "chromium-browser", "google-chrome")


class NoBrowserError(Exception):
    """What is missing, and how to get it."""


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Give a browser without windows, which asks no network.

    Raises:
        NoBrowserError: there is none here.
    """
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        raise NoBrowserError(MISSING)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise NoBrowserError("Playwright is not installed: pip install --requirement requirements-dev.txt") from error
    with sync_playwright() as playwright:
        # In a container there are no namespaces for its sandbox, and little shared memory.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()
