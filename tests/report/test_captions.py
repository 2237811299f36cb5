"""Captions say what a figure shows, what its bands are, and of how many it is made."""

import pandas as pd
import pytest

from featurespace.plots.all import figures
from featurespace.report.captions import caption, title_of

INTERVAL = {"value": 0.5, "ci_low": 0.4, "level": 0.95, "interval": "group jackknife", "unit": "group"}


def test_values_of_two_data_sets_with_bands():
    rows = [{"data": "ct", "n": 1200, **INTERVAL}, {"data": "mr", "n": 30, **INTERVAL, "ci_low": None}]
    assert caption("anisotropy_by_depth", pd.DataFrame(rows)) == (
        "Mean cosine between two images in each layer. Bands or bars: 95 % intervals over groups (group jackknife). 1 of 2 values have "
        "none, for the reasons in the data. n = 1,200 images (ct), 30 (mr)."
    )


@pytest.mark.parametrize(
    ("name", "columns", "end"),
    [
        ("probe_by_depth", {"data": ["ct"], "n_train": [8], "n_test": [4]}, "n = 8 training images (ct). Tested on 4 images (ct)."),
        ("domain_gap_by_depth", {"data_a": ["ct"], "n_a": [8], "data_b": ["mr"], "n_b": [4]}, "n = 8 images (ct), 4 (mr)."),
        ("umap_ct", {"data": ["ct"] * 3, "sample": ["a", "b", "a"]}, "n = 2 images (ct)."),
        ("cka_convergence", {"data": ["ct"] * 2, "n": [10, 80]}, "n = 10 to 80 images (ct)."),
        ("pairwise_E1", {"n_a": [4, 3], "n_b": [4, 4]}, "n = 3 to 4 runs."),
        ("scores_E1", {"pretraining": ["a"], "n": [4]}, "n = 4 runs."),
    ],
)  # fmt: skip
def test_the_number_of_images_or_runs(name, columns, end):
    assert caption(name, pd.DataFrame(columns)) == f"{title_of(name)} {end}"


def test_every_figure_of_a_run_comes_with_the_rows_that_it_shows(small_run):
    drawn = {each.name: each.data for each in figures(small_run.tables)}
    for name, data in drawn.items():
        assert len(data), name
        assert small_run.figure_path(name, "txt").read_text(encoding="utf-8") == caption(name, data) + "\n"
        assert len(pd.read_csv(small_run.figure_path(name, "csv"))) == len(data)
    squares = drawn["cka_heatmap_dark"]
    assert set(zip(squares["model_a"], squares["model_b"])) == {
        ("before", "before"), ("before", "after"), ("after", "after"), ("before", "untrained")
    }  # fmt: skip
    line = drawn["cka_by_layer"]
    assert set(zip(line["model_a"], line["model_b"])) == {
        ("before", "after"),
        ("before", "untrained"),
        ("after", "untrained"),
    }
    assert (line["layer_a"] == line["layer_b"]).all() and len(line) == 3 * 2 * line["layer_a"].nunique()
