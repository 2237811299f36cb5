"""``--no-store``: CKA while images go through the networks."""

import numpy as np
import pandas as pd
import pytest
from commands import command

import featurespace as fs
from featurespace import passing
from featurespace.config import make_config
from featurespace.errors import FeaturespaceError
from featurespace.progress import Progress
from featurespace.tables import streamed

OPTIONS = {"image_size": 32, "batch_size": 20, "seed": 0}


@pytest.fixture
def given(two_domains, checkpoints):
    models = [f"before=test_resnet@{checkpoints[0]}", f"after=test_resnet@{checkpoints[1]}"]
    return models, [f"bright={two_domains[0]}", f"dark={two_domains[1]}"]


def test_the_numbers_are_those_of_kept_features(given, tmp_path, small_run, monkeypatch):
    monkeypatch.setattr(passing, "ROWS", 32)
    run = fs.analyze(*given, tmp_path / "run", store=False, **OPTIONS)
    assert not (run.path / "features").exists() and "probe" not in run.tables and "scale" not in run.tables
    key = ["metric", "model_a", "model_b", "layer_a", "layer_b", "data"]
    found, kept = (
        each.tables["similarity"].query("metric == 'cka_debiased'").set_index(key) for each in (run, small_run)
    )
    assert found.index.equals(kept.index)
    np.testing.assert_allclose(found["value"], kept["value"], atol=1e-6)  # batches of other sizes in the forward pass
    assert found["interval"].str.contains("blocks of groups").all()
    assert set(run.tables["differences"]["analysis"]) == {"similarity"}
    assert "least alike in layer4.0, linear CKA" in run.summary["findings"][0]["sentence"]
    assert run.report.exists() and run.verify()


def test_a_streamed_store_gives_the_same(given, tmp_path, monkeypatch):
    monkeypatch.setattr(streamed, "AT_ONCE", 10)
    options = {**OPTIONS, "only": ("similarity",), "measures": (), "control": False}
    runs = [fs.analyze(*given, tmp_path / str(store), store=store, **options) for store in (True, False)]
    tables = [run.tables["similarity"].query("metric == 'cka_debiased'").reset_index(drop=True) for run in runs]
    pd.testing.assert_frame_equal(*tables, rtol=1e-9, atol=1e-12)


def test_images_that_cannot_be_read_are_left_out_and_named(two_domains, given, tmp_path, rng):
    from PIL import Image

    for index in range(9):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / f"{index}.png")
    (tmp_path / "4.png").write_bytes(b"broken")
    progress = Progress()
    options = {"only": ("similarity",), "control": False, "progress": progress, "batch_size": 2, "image_size": 32}
    run = fs.analyze(given[0], [f"x={tmp_path}"], tmp_path.parent / "run", store=False, **options)
    assert set(run.tables["similarity"]["n"]) == {8}
    assert "x: 1 of 9 images cannot be read and is left out" in progress.messages
    assert any(each.startswith("skipped: ") and "4.png" in each for each in progress.messages)


def test_a_data_set_of_which_nothing_can_be_read_is_refused_with_the_first_reason(given, tmp_path):
    (tmp_path / "images").mkdir()
    for index in range(6):
        (tmp_path / "images" / f"{index}.png").write_bytes(b"broken")
    message = r"data set 'x': none of its images can be read; the first: .*0\.png is not an image that can be read"
    with pytest.raises(FeaturespaceError, match=message):
        fs.analyze(given[0], [f"x={tmp_path / 'images'}"], tmp_path / "run", store=False, control=False, **OPTIONS)


def test_what_needs_features_is_refused():
    with pytest.raises(FeaturespaceError, match="store: no features are kept, and probe needs them"):
        make_config(models=("a", "b"), data=("x=y",), store=False, only=("similarity", "probe"))
    assert make_config(models=("a", "b"), data=("x=y",), store=False).analyses == ("similarity",)


def test_a_table_of_features_is_refused(given, tmp_path):
    np.savez(tmp_path / "f.npz", features=np.zeros((72, 3)))
    with pytest.raises(FeaturespaceError, match="'f' is a table of features, and --no-store goes with networks alone"):
        fs.analyze([*given[0], f"f={tmp_path / 'f.npz'}"], given[1][:1], tmp_path / "run", store=False, **OPTIONS)


def test_sums_that_do_not_fit_are_refused_before_the_first_image(given, tmp_path, monkeypatch):
    class Little:
        available = 1000

    monkeypatch.setattr("psutil.virtual_memory", lambda: Little)
    with pytest.raises(
        FeaturespaceError, match=r"the sums of --no-store need .* MiB, and 1000 B of memory are left; .*--layers"
    ):
        fs.analyze(*given, tmp_path / "run", store=False, control=False, **OPTIONS)


def test_numbers_that_are_none_name_model_and_layer(given, tmp_path, checkpoints):
    import torch

    weights = torch.load(checkpoints[0])
    weights["layer2.0.conv1.weight"] *= 1e30
    weights["layer2.0.bn1.weight"] *= 1e30
    torch.save(weights, tmp_path / "bad.pth")
    options = {**OPTIONS, "control": False}
    with pytest.raises(FeaturespaceError, match="model 'bad', layer 'layer.*': features of images of 'bright' are NaN"):
        fs.analyze(
            [given[0][0], f"bad=test_resnet@{tmp_path / 'bad.pth'}"], given[1], tmp_path / "run", store=False, **options
        )


def test_the_plan_tells_memory_and_no_disk(given, tmp_path):
    arguments = [
        "analyze",
        *given[0],
        "--data",
        given[1][0],
        "--image-size",
        "32",
        "--out",
        tmp_path / "run",
        "--dry-run",
        "--json",
    ]
    plans = [command(*arguments, *more) for more in ((), ("--no-store",))]
    assert '"disk_bytes": 0' in plans[1].stdout and '"disk_bytes": 0' not in plans[0].stdout


def test_scripts_are_told_that_features_were_not_kept(given, tmp_path):
    run = fs.analyze(*given, tmp_path / "run", store=False, control=False, **OPTIONS)
    with pytest.raises(FeaturespaceError, match="features of"):
        run.features("before", "bright")
