"""A report of many models stays one that can be read."""

import itertools
import re

import pandas as pd
import pytest
from report.made_run import made_run

from featurespace.plots.many import MOST_PANELS
from featurespace.report.findings import findings, in_short
from featurespace.report.tables import report_tables
from featurespace.report.weights import weights_tables
from featurespace.run import Run

NAMES = [f"m{number:02d}" for number in range(25)]
PAIR = {"n": 100, "data": "ct", "layer_a": "last", "layer_b": "last", "metric": "cka_debiased"}


def influence_run(path):
    """Write a run of which the most influential images move the last pairs most."""
    run = Run(path)
    layers = [{"model": model, "layer": "last", "depth": 0, "width": 4, "role": "model", "control": None, "arm": None}
              for model in NAMES]  # fmt: skip
    pairs = [{**PAIR, "model_a": a, "model_b": b, "unit": "sample"} for a, b in itertools.combinations(NAMES, 2)]
    summary = [{**pair, "value": 0.5, "value_without_top": 0.5 + 0.001 * place, "top_share": 0.2, "top_units": 1, "n_units": 100}
               for place, pair in enumerate(pairs)]  # fmt: skip
    influence = [
        {
            **pair,
            "name": "0.png",
            "rank": 1,
            "path": None,
            "value": 0.5,
            "label": "x",
            "group": "g",
            "value_without": 0.6,
            "change": -0.1,
        }
        for pair in pairs
    ]
    verdicts = [{**pair, "verdict": "measures_disagree", "analysis": "similarity", "layer": "last", "n_needed": None, "value": -0.2, "n": 6,
                 "metric": "rsa", "limit": 0.5} for pair in pairs]  # fmt: skip
    for name, rows in (
        ("layers", layers),
        ("influence_summary", summary),
        ("influence", influence),
        ("verdicts", verdicts),
    ):
        run.write_table(name, pd.DataFrame(rows))
    return run


def test_charts_and_tables_are_those_of_the_first_models(tmp_path):
    run = made_run(tmp_path / "run", models=NAMES, domains=("ct",))
    text = run.report.read_text(encoding="utf-8")
    for name in ("cka_heatmap_ct", "aligned_umap"):
        assert len(re.findall(rf'<div id="chart-{name}-\d+">', text)) == MOST_PANELS
    assert "Shown are 12 of 25 models; all are in the table similarity." in text
    assert "<details><summary>Models</summary>" in text and "<details open><summary>Data</summary>" in text
    (table,) = report_tables(run, "similarity")
    assert table["title"].startswith("Corresponding layers of m00 and each other model on ct")
    assert [row[0] for row in table["rows"][::3]] == [f"m00 / {name}" for name in NAMES[1:]]


def test_what_is_said_in_short_stays_short(tmp_path):
    told = in_short(findings(influence_run(tmp_path)))
    assert [each.table for each in told] == ["influence_summary", "verdicts"]
    assert told[0].sentence.startswith(
        "On ct, of 24 models compared with m00 single images change one most: 1 image holds 20.0 %"
    )
    assert "m00 and m24 in last" in told[0].sentence
    assert told[1].sentence.endswith("Likewise 299 more, in the table verdicts.")


def test_the_most_influential_images_are_those_of_the_pairs_they_move_most(tmp_path):
    told, *tables = report_tables(influence_run(tmp_path), "influence_summary")
    assert told["title"].startswith("The 12 of 24 models whose CKA with m00")
    assert [row[0] for row in told["rows"]] == NAMES[: -MOST_PANELS - 1 : -1]
    assert len(tables) == MOST_PANELS and all("CKA of m00 and" in each["title"] for each in tables)
    assert [each["title"].split()[8] for each in tables] == NAMES[: -MOST_PANELS - 1 : -1]
    assert tables[0]["rows"] == [["0.png", "x", "g", "0.6000", "-0.1000"]]


def test_tables_by_layer_have_a_row_a_model(tmp_path):
    rows = [{"metric": "anisotropy", "data": "ct", "model": model, "layer": layer, "value": 0.5, "ci_low": 0.4, "ci_high": 0.6, "n": 9,
             "se": 0.1, "interval": "jackknife", "level": 0.95, "unit": "sample", "n_groups": None}
            for model in NAMES for layer in ("stem", "last")]  # fmt: skip
    run = Run(tmp_path)
    run.write_table("geometry", pd.DataFrame(rows))
    (table,) = report_tables(run, "geometry")
    assert table["columns"] == ["model", "stem", "last"] and [row[0] for row in table["rows"]] == NAMES


@pytest.mark.parametrize("metric", ["feature_reuse", "feature_uniqueness"])
def test_filters_of_many_models_are_two_tables(metric):
    pairs = itertools.combinations(NAMES, 2) if metric == "feature_reuse" else zip(NAMES, NAMES)
    rows = [{"metric": metric + suffix, "model_a": a, "model_b": b, "layer": layer, "value": 0.5, "ci_low": 0.4, "ci_high": 0.6,
             "runs": 1, "sd": None} for a, b in pairs for suffix in ("", "_debiased") for layer in ("conv1", "conv2")]  # fmt: skip
    tables = list(weights_tables(pd.DataFrame(rows)))
    first = 1 if metric == "feature_reuse" else 0
    assert [[row[0] for row in each["rows"]] for each in tables] == [NAMES[first:]] * 2
    assert tables[0]["columns"] == ["model", "conv1", "conv2"] and "as published" in tables[0]["title"]
