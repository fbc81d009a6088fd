"""What several rooms' tests share: one thread, and a real browser, where there is one."""

from __future__ import annotations

import shutil

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Tensors here are small, and the tests of several workers share the cores: threads would only wait."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def browser():
    """One headless Chromium for all tests; they are skipped where none is installed."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} is on PATH")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def browser_page(browser):
    """A fresh page that keeps, as lists of text, what it ``requested`` and what it ``complained`` about."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, has_touch=True)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.requested, page.complained = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.complained.append(str(error)))
    page.on(
        "console",
        lambda message: (
            page.complained.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    yield page
    context.close()
