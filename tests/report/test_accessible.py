"""The report in a browser: by axe's rules, on a phone, printed, and with hostile names."""

from pathlib import Path

import pytest
from report.browser import opened
from report.made_run import made_run

HOSTILE = '</script><script>alert("1")</script><img src=x onerror=alert(2)>'
TURNED = "\u202egnp.exe\u2066 שלום @sample $x '{{ 1 }}' \"quoted\" \\u003c"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("made") / "run")


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_and_no_page_scrolls_sideways(made, width):
    axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    source = (Path(axe.__path__[0]) / "axe.min.js").read_text(encoding="utf-8")
    with opened(made.report, width=width) as (page, heard):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.click("#next-image")
        page.locator("summary").evaluate_all("each => each.forEach(one => one.parentElement.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(source)
        found = page.evaluate("axe.run()")["violations"]
        assert [(each["id"], each["impact"], [node["html"][:150] for node in each["nodes"]]) for each in found] == []
        assert heard == []


@pytest.mark.slow
def test_the_keyboard_reaches_the_results_and_the_images(made):
    with opened(made.report) as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        page.focus("#next-image")
        page.keyboard.press("Enter")
        assert page.inner_text("#selected") == "Selected: 0.png"


@pytest.mark.slow
def test_on_paper_stand_the_printed_figures(made):
    with opened(made.report) as (page, _):
        page.emulate_media(media="print")
        assert page.locator("figure.printed").first.is_visible() and not page.locator(".chart").first.is_visible()
        assert page.pdf(format="A4").startswith(b"%PDF")
        assert not page.locator("details.values summary").is_visible()
        page.locator("details.values").evaluate("each => each.open = true")
        assert page.locator("details.values table").first.is_visible()


@pytest.mark.slow
def test_values_of_a_heatmap_open_by_keyboard_and_without_scripts(made):
    with opened(made.report, java_script_enabled=False) as (page, heard):
        page.focus("details.values summary")
        page.keyboard.press("Enter")
        assert page.locator("details.values table").first.is_visible() and heard == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [HOSTILE, TURNED], ids=["markup", "turned"])
def test_hostile_names_do_nothing(tmp_path, name):
    run = made_run(
        tmp_path / "run",
        models=(name, "after"),
        domains=("ct", name),
        labels=(name, "right"),
        extra={"site": name},
        sentence=name,
    )
    with opened(run.report) as (page, heard):
        assert page.evaluate("document.documentElement.dataset.charts") == "ready"
        page.click("#next-image")
        for column in page.locator("#colour-by option").evaluate_all("each => each.map(one => one.value)"):
            page.select_option("#colour-by", column)
        page.locator("#chart-aligned_umap-0").scroll_into_view_if_needed()
        box = page.locator("#chart-aligned_umap-0").bounding_box()
        for step in range(12):
            page.mouse.move(box["x"] + box["width"] * (0.2 + step / 20), box["y"] + box["height"] / 2)
        page.locator("#chart-cka_heatmap_ct-0").hover()
        page.wait_for_selector(".bk-Tooltip")
        assert page.locator("#main img[src='x'], .bk-Tooltip img[src='x']").count() == 0
        assert page.evaluate("document.body.innerText.includes('\u202e')") is False
        assert heard == []
