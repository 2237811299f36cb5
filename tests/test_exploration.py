import shutil

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from PIL import Image

import featurespace as fs
from featurespace.errors import FeaturespaceError


def test_a_run_gives_tables_features_images_and_models_by_name(small_run):
    run = fs.load(small_run.path)
    assert run.models[:2] == ["before", "after"] and len(run.data) == 2
    samples = run.samples(run.data[0])
    features = run.features("before", run.data[0])["pooled"]
    assert len(samples) == len(features)
    image = run.image(run.data[0], samples["id"].iloc[3])
    assert isinstance(image, Image.Image | np.ndarray)
    model = run.model("after")
    assert model.arch == "test_resnet" and model.weights_hash == run.provenance["models"][1]["weights_sha256"]


def test_figures_are_drawn_from_the_tables(small_run):
    plot = fs.load(small_run.path).plot
    figures = [plot.similarity(), plot.similarity(fs.load(small_run.path).data[0]), plot.probe(), plot.gap(), plot.geometry(),
               plot.embedding(fs.load(small_run.path).data[0]), plot.draw(plot.names()[0])]  # fmt: skip
    assert all(isinstance(figure, Figure) for figure in figures)


def test_a_notebook_shows_what_a_run_holds(small_run):
    text = fs.load(small_run.path)._repr_html_()
    assert "before, after" in text and "<td>similarity</td>" in text and "<li>" in text


def test_names_that_are_not_there_are_said(small_run, tmp_path):
    run = fs.load(small_run.path)
    for call, message in (
        (lambda: run.model("befor"), "model 'befor' is not known.*did you mean 'before'"),
        (lambda: run.image(run.data[0], "nobody"), "image 'nobody' is not known"),
        (lambda: run.image("x", "y"), "data set 'x' is not known"),
        (lambda: run.samples("x"), "data set 'x' is not known"),
        (lambda: run.plot.draw("x"), "figure 'x' is not known"),
    ):
        with pytest.raises(FeaturespaceError, match=message):
            call()
    with pytest.raises(FeaturespaceError, match="holds no run"):
        fs.load(tmp_path)


def test_a_table_of_features_is_no_network(small_run, tmp_path):
    shutil.copytree(small_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("features", "figures"))
    np.savez(tmp_path / "radiomics.npz", features=np.zeros((72, 3)))
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    config["models"].append(f"radiomics={tmp_path / 'radiomics.npz'}")
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(
        FeaturespaceError, match="model 'radiomics' is a table of features; there is no network to build"
    ):
        fs.load(tmp_path / "run").model("radiomics")


def test_other_weights_in_the_file_of_a_model_are_noticed(small_run, monkeypatch):
    run = fs.load(small_run.path)
    held = run.provenance
    held["models"][1]["weights_sha256"] = "0"
    monkeypatch.setattr(type(run), "provenance", held)
    with pytest.raises(FeaturespaceError, match="model 'after': .* has other weights now than when"):
        run.model("after")
    monkeypatch.setattr(type(run), "tables", {}, raising=False)
    with pytest.raises(FeaturespaceError, match="the run has no table 'probe' to draw from"):
        fs.exploration.Plots(type("Empty", (), {"tables": {}})()).probe()
