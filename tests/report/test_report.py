import re
from html.parser import HTMLParser

import pytest
from report.made_run import made_run

from featurespace.errors import FeaturespaceError
from featurespace.report.write import write_report


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.images, self.ids, self.text = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        if tag == "a":
            self.links.append(attributes["href"])
        if tag == "img":
            self.images.append(attributes)
        assert tag not in ("link", "iframe") and not (tag == "script" and "src" in attributes)

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(small_run):
    return Page(small_run.report.read_text(encoding="utf-8"))


def test_it_opens_offline_and_every_link_leads_somewhere(page, small_run):
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.images)
    for link in page.links:
        assert link[1:] in page.ids if link.startswith("#") else (small_run.path / link).exists()
    own = re.sub(
        r"<script>.*?</script>|data:image/png;base64,[^\"]*", "", small_run.report.read_text(), flags=re.DOTALL
    )
    assert "http" not in own  # what the scripts ask for is tested in a browser


def test_every_finding_and_figure_is_in_it(page, small_run):
    text = " ".join(" ".join(page.text).split())
    for finding in small_run.summary["findings"]:
        assert " ".join(finding["sentence"].split()) in text
    assert len(page.images) == len(list((small_run.path / "figures").glob("*.png")))
    assert all(len(image["alt"]) > 20 for image in page.images)


def test_tables_hold_every_layer_with_interval_and_n(page, small_run):
    text = " ".join(" ".join(page.text).split())
    for layer in small_run.tables["layers"]["layer"].unique():
        assert layer in text
    assert "CKA between groups" in text and "CKA of own halves" in text and "CKA with untrained" in text
    scale = small_run.tables["scale"].iloc[0]
    assert f"{(scale['ceiling_a'] + scale['ceiling_b']) / 2:.3f}" in text and f"{scale['control']:.3f}" in text
    assert "n = 72" in text and re.search(r"\d\.\d{3} \(-?\d\.\d{3} to -?\d\.\d{3}\)", text)


def test_hostile_names_are_escaped(tmp_path, small_run):
    import shutil

    from featurespace import files
    from featurespace.run import load

    shutil.copytree(small_run.path, tmp_path / "run")
    run = load(tmp_path / "run")
    summary = run.summary
    summary["models"] = ["<script>alert(1)</script>"]
    files.write_json(run.path / "summary.json", summary)
    write_report(run)
    assert "<script>alert" not in run.report.read_text() and "&lt;script&gt;alert" in run.report.read_text()


def test_a_figure_that_is_missing_says_what_draws_it_again(tmp_path):
    run = made_run(tmp_path / "run")
    run.figure_path("cka_heatmap_ct").unlink()
    with pytest.raises(
        FeaturespaceError, match=rf"cka_heatmap_ct\.png is missing; `featurespace figures {run.path}` draws it"
    ):
        write_report(run)


def test_sentences_on_single_pairs_of_many_open_behind_a_line(tmp_path):
    run = made_run(tmp_path / "run")
    summary = run.summary
    many = [{"table": "similarity", "data": "ct", "sentence": f"Pair {index}.", "shown": False} for index in range(11)]
    run.write_json("summary.json", summary | {"findings": [many[0] | {"sentence": "All.", "main": True}, *many]})
    write_report(run)
    text = run.report.read_text(encoding="utf-8")
    assert "<details><summary>11 more sentences, one by one</summary>" in text and text.count("All.") > 1
    assert text.index("All.") < text.index("11 more sentences") < text.index("Pair 0.")
