"""What the interactive report holds, and what a browser makes of it."""

import json
import re

import pytest
from report.browser import opened
from report.made_run import K, N, made_run

from featurespace.report.interactive import as_script
from featurespace.report.write import write_report


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return made_run(tmp_path_factory.mktemp("made") / "run")


@pytest.fixture(scope="module")
def text(made):
    return made.report.read_text(encoding="utf-8")


def page_data(text):
    return json.loads(re.search(r'<script type="application/json" id="chart-data">(.*?)</script>', text, re.DOTALL)[1])


def test_every_model_has_a_chart_and_every_chart_a_printed_figure(text):
    data = page_data(text)
    elements = [element for item in data["items"] for element in item["roots"].values()]
    assert {"chart-aligned_umap-0", "chart-aligned_umap-1", "chart-cka_heatmap_ct-2"} <= set(elements)
    assert all(f'<div id="{element}">' in text for element in elements)
    assert text.count('<figure class="printed">') == 2 and text.count("<figure>") == 1
    assert [model["name"] for model in data["embedding"]["models"]] == ["before", "after"]


def test_every_square_of_a_heatmap_stands_in_a_table(made, text):
    (values,) = re.findall(r'<details class="values">.*?</details>', text, re.DOTALL)
    tables = re.findall(r"<table>.*?</table>", values, re.DOTALL)
    rows = made.tables["similarity"]
    rows = rows[rows["data"] == "ct"]
    assert len(tables) == 3 and sum(table.count("<td>") for table in tables) == len(rows)
    row = rows[(rows["model_a"] == "before") & (rows["model_b"] == "after") & (rows["layer_a"] == "stem")].iloc[2]
    cell = f"<td>{row['value']:.3f} ({row['ci_low']:.3f} to {row['ci_high']:.3f})</td></tr>"
    assert f"layers of before in rows, of after in columns; n = {N} images</caption>" in tables[1]
    assert f"{cell}\n" in tables[1].split('<th scope="row">')[1]
    assert "figures/cka_heatmap_ct.csv" in values and "Too large" not in values


def test_tables_of_many_layers_are_left_out_and_said(made, monkeypatch):
    from featurespace.report import heatmap_chart

    monkeypatch.setattr(heatmap_chart, "MOST_VALUES", 10)
    (found,) = heatmap_chart.heatmap_tables(made).values()
    assert len(found["tables"]) == 1 and found["left_out"] == "before / after (9 values), after / after (9 values)"


def test_values_without_an_interval_and_pairs_that_are_missing():
    import pandas as pd

    from featurespace.report.heatmap_chart import _matrix

    row = {
        "data": "ct",
        "layer_a": "x",
        "layer_b": "x",
        "value": 0.5,
        "ci_low": 0.4,
        "ci_high": 0.6,
        "n": 9,
        "unit": "group",
        "n_groups": 3,
    }
    pair = pd.DataFrame([row, row | {"layer_b": "y", "ci_low": None, "ci_high": None, "value": -0.25}])
    table = _matrix(pair, "a", "b", ["x", "z"], ["x", "y"])
    assert table["rows"] == [
        ["x", "0.500 (0.400 to 0.600)", "-0.250 (no interval)"],
        ["z", "not computed", "not computed"],
    ]
    assert table["caption"].endswith("n = 9 images in 3 groups")
    other = _matrix(pair.assign(n=[9, 8]), "a", "b", ["x"], ["x", "y"])
    assert other["rows"][0][1] == "0.500 (0.400 to 0.600), n = 9" and "n = " not in other["caption"]


def test_points_can_be_coloured_by_everything_that_tells_images_apart(text):
    columns = page_data(text)["embedding"]["columns"]
    assert list(columns) == ["label", "data", "group", "age"]
    assert columns["group"]["names"] == [f"patient-{index}" for index in range(7)] and not columns["group"]["repeats"]
    assert len(columns["age"]["names"]) == 5 and columns["label"]["names"] == ["left", "right"]


def test_it_tells_which_images_are_shown(text):
    assert "30 of 60 images of ct and 30 of 60 images of mr, drawn at random by label and split (seed 0)" in text


def test_chapters_come_in_the_order_of_a_paper(text):
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == ["Question and answer", "Data and models", "Similarity", "Embedding", "Provenance"]
    assert "Classes of ct: images (groups)" in text and "<td>left</td><td>15 (2)</td>" in text


def test_nothing_in_the_data_can_end_its_script():
    hostile = ["</script><script>alert(1)</script>", "<!--", "\u2028", 'a"b\\u003c', "&amp;"]
    written = as_script(json.dumps(hostile, ensure_ascii=False))
    assert not set("<>&\u2028") & set(written) and json.loads(written) == hostile


def test_without_the_tables_the_report_has_the_printed_figures_only(made, tmp_path):
    import shutil

    from featurespace.run import load

    shutil.copytree(made.path, tmp_path / "run")
    run = load(tmp_path / "run")
    for file in (run.path / "tables").glob("*"):
        if file.stem in ("images", "similarity", "aligned_embedding"):
            file.unlink()
    write_report(run)
    text = run.report.read_text(encoding="utf-8")
    assert "<script" not in text and text.count("data:image/png;base64") == 3 - 1  # the chapter of similarity is gone


@pytest.mark.slow
def test_an_image_is_selected_in_every_picture_and_its_neighbours_are_shown(made):
    with opened(made.report) as (page, heard):
        assert page.evaluate("document.documentElement.dataset.charts") == "ready"
        page.click("#next-image")
        page.click("#next-image")
        assert page.inner_text("#selected") == "Selected: 1.png"
        assert page.inner_text("#neighbours h4 >> nth=1") == "after"
        pictures = page.locator("#neighbours section >> nth=0 >> figure")
        assert pictures.count() == K and pictures.nth(2).inner_text().split("\n")[0] == "3: 1.50"
        assert pictures.nth(2).locator("img").get_attribute("alt") == "4.png"
        assert page.evaluate("document.querySelector('#neighbours img').naturalWidth") == 48
        page.fill("#find-image", "7.png")
        page.press("#find-image", "Enter")
        expected = sum("7.png" in f"{index % N}.png" for index in range(2 * N))
        assert page.inner_text("#selected") == f"{expected} of {2 * N} images are selected, in every picture."
        page.select_option("#colour-by", "data")
        assert page.locator("#legend li").all_inner_texts() == ["● ct", "■ mr"]
        page.click("#legend button >> nth=1")
        assert page.inner_text("#selected") == f"{N} of {2 * N} images are selected, in every picture."
        assert heard == []


@pytest.mark.slow
def test_pointing_and_tapping_show_an_image(made):
    with opened(made.report) as (page, heard):
        first = """() => { const doc = Bokeh.documents[0]; const source = doc.get_model_by_name('images');
            const plot = doc.roots().find((each) => each.title && each.title.text === 'before');
            const view = Bokeh.index.get_by_id ? Bokeh.index.get_by_id(plot.id) : Bokeh.index[plot.id];
            const frame = view.frame ?? view.frame_view;
            const box = view.el.getBoundingClientRect();
            return [box.x + frame.x_scale.compute(source.data.x0[3]), box.y + frame.y_scale.compute(source.data.y0[3])]; }"""
        page.locator("#chart-aligned_umap-0").scroll_into_view_if_needed()
        x, y = page.evaluate(first)
        page.mouse.move(x, y)
        page.wait_for_selector(".bk-Tooltip img")
        assert page.locator(".bk-Tooltip img").first.get_attribute("src").startswith("data:image/webp;base64,")
        page.mouse.click(x, y)
        page.wait_for_function("document.getElementById('selected').textContent.startsWith('Selected')")
        assert heard == []


@pytest.mark.slow
def test_without_scripts_the_printed_figures_stand_there(made):
    with opened(made.report, java_script_enabled=False) as (page, _):
        assert page.locator("figure.printed").first.is_visible() and not page.locator(".chart").first.is_visible()
