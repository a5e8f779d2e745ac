"""A real browser for tests: Debian's Chromium, driven by Playwright.

``browser`` is one for the whole session, ``page`` a fresh page of it that watches: a test fails in the end when its
page asked for anything outside this machine, or when a script of the page failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DESKTOP = {"width": 1280, "height": 800}
TABLET = {"width": 820, "height": 1180}
AT_HOME = ("http://127.0.0.1", "file:", "data:", "blob:", "about:")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium; where it is missing, tests are skipped, but not in CI, which must have it."""
    if not CHROMIUM.exists():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI has no {CHROMIUM}; .ci/run installs it")
        pytest.skip(f"there is no {CHROMIUM} to look at pages with; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of 1280×800 pixels with cookies of its own."""
    with watched_page(browser) as fresh:
        yield fresh


class watched_page:
    """A fresh page; leaving it raises an AssertionError where it went astray or its scripts failed."""

    def __init__(self, browser: Any, viewport: dict[str, int] = DESKTOP, **device: Any):
        self.context = browser.new_context(viewport=viewport, accept_downloads=True, **device)

    def __enter__(self) -> Any:
        self.astray: list[str] = []
        self.failed: list[str] = []
        page = self.context.new_page()
        page.on("request", lambda request: self.astray.append(request.url))
        page.on("pageerror", lambda error: self.failed.append(str(error)))
        page.set_default_timeout(60_000)  # of a machine that does other things too
        return page

    def __exit__(self, kind: Any, *_: Any) -> None:
        astray, failed = [url for url in self.astray if not url.startswith(AT_HOME)], list(self.failed)
        self.context.close()  # which ends what is on its way
        if kind is None:
            assert astray == []
            assert failed == []
