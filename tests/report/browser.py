"""A page in the Chromium of this machine, with everything it said and asked for."""

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def opened(file, *, width=1280, height=900, **options):
    """Yield the page of a report whose charts are there, and the list of its errors, dialogs and requests."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is found on the PATH")
    heard = []
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": width, "height": height}, **options)
        page.on("console", lambda each: heard.append(each.text) if each.type in ("error", "warning") else None)
        page.on("pageerror", lambda each: heard.append(str(each)))
        page.on("dialog", lambda each: (heard.append(f"dialog {each.message}"), each.dismiss()))
        page.on(
            "request", lambda each: None if each.url.startswith(("file:", "data:", "blob:")) else heard.append(each.url)
        )
        page.set_default_timeout(120_000)
        page.goto(file.resolve().as_uri())
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-charts]", state="attached")
        yield page, heard
        browser.close()
