import shutil

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

import featurespace as fs
from featurespace.errors import FeaturespaceError
from featurespace.features import extract as extraction
from featurespace.files import hash_array
from featurespace.models import write_checkpoint
from featurespace.plots.all import figures
from featurespace.progress import Progress
from featurespace.tables.memo import Memo


@pytest.fixture
def arguments(two_domains, checkpoints):
    return (
        [f"before=test_resnet@{checkpoints[0]}", f"after=test_resnet@{checkpoints[1]}"],
        [f"bright={two_domains[0]}", f"dark={two_domains[1]}"],
    )


FAST = {"image_size": 32, "only": "similarity", "layers": "maxpool,pooled", "pictures": False}


def table_bytes(run):
    return {path.name: path.read_bytes() for path in (run.path / "tables").iterdir()}


def test_fs_analyze_is_the_function_whatever_was_imported_first(arguments, tmp_path):
    import importlib

    importlib.import_module("featurespace.analyze")
    run = fs.analyze(*arguments, tmp_path / "r", **FAST, control=False)
    assert isinstance(run, fs.Run) and set(run.tables) >= {"similarity", "layers", "match", "differences"}


def test_a_second_run_uses_the_features_and_repeats_every_table(arguments, tmp_path, monkeypatch):
    options = {"image_size": 32, "layers": "maxpool,pooled"}
    arguments = arguments[0][:1], arguments[1]
    first = fs.analyze(*arguments, tmp_path / "r", **options)
    before = table_bytes(first)
    monkeypatch.setattr(extraction, "_fill", lambda *args, **kwargs: pytest.fail("extracted again"))
    monkeypatch.setattr(Memo, "keep", lambda *args: pytest.fail("computed again"))
    assert table_bytes(fs.analyze(*arguments, tmp_path / "r", **options)) == before


@pytest.mark.umap
def test_a_fresh_run_repeats_every_table(small_run, arguments, tmp_path):
    again = fs.analyze(*arguments, tmp_path / "r", image_size=32, batch_size=20)
    assert table_bytes(again) == table_bytes(small_run)


def test_changed_weights_are_never_mistaken_for_the_old_ones(arguments, tmp_path):
    models, data = arguments
    state = torch.load(models[0].partition("@")[2], weights_only=True)
    torch.save(state, tmp_path / "w.pth")
    first = fs.analyze([f"m=test_resnet@{tmp_path / 'w.pth'}"], data, tmp_path / "r", **FAST, control=False)
    old = np.array(first.features("m", "dark")["pooled"])
    state["conv1.0.weight"] *= -1
    torch.save(state, tmp_path / "w.pth")
    second = fs.analyze([f"m=test_resnet@{tmp_path / 'w.pth'}"], data, tmp_path / "r", **FAST, control=False)
    assert np.abs(second.features("m", "dark")["pooled"] - old).max() > 0


def test_tables_of_the_old_weights_do_not_stay_beside_new_ones(arguments, tmp_path):
    models, data = arguments
    state = torch.load(models[0].partition("@")[2], weights_only=True)
    torch.save(state, tmp_path / "w.pth")
    options = {"image_size": 32, "layers": "maxpool,pooled", "control": False}
    run = fs.analyze([f"m=test_resnet@{tmp_path / 'w.pth'}"], data, tmp_path / "r", only="probe", **options)
    fs.analyze([f"m=test_resnet@{tmp_path / 'w.pth'}"], data, tmp_path / "r", only="gap", **options)
    assert {"probe", "domain_gap"} <= set(run.tables) and run.figure_path("probe_by_depth").exists()
    state["conv1.0.weight"] *= -1
    torch.save(state, tmp_path / "w.pth")
    fs.analyze([f"m=test_resnet@{tmp_path / 'w.pth'}"], data, tmp_path / "r", only="gap", **options)
    assert "probe" not in run.tables and not run.figure_path("probe_by_depth").exists()


@pytest.mark.parametrize("count", [1, 3, pytest.param(5, marks=pytest.mark.slow)])
def test_any_number_of_models(arguments, tmp_path, count):
    models = [f"m{index}=test_resnet@{arguments[0][index % 2].partition('@')[2]}" for index in range(count)]
    run = fs.analyze(models, arguments[1], tmp_path / "r", image_size=32, layers="maxpool,pooled")
    assert run.summary["models"] == [f"m{index}" for index in range(count)]
    pairs = run.tables["similarity"].groupby(["model_a", "model_b"]).ngroups
    assert pairs == (count + 1) * (count + 2) // 2
    assert run.report.stat().st_size > 10_000


def test_two_architectures_and_a_table_of_features(arguments, two_domains, tmp_path):
    names = [f"class{label}/{group}-{number}.png" for label in range(3) for group in range(6) for number in range(4)]
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.normal(size=(72, 5)), columns=list("abcde")).assign(id=names).to_csv(
        tmp_path / "radiomics.csv", index=False
    )
    models = [arguments[0][0], "vit=test_vit@random", f"radiomics={tmp_path / 'radiomics.csv'}"]
    run = fs.analyze(models, arguments[1][:1], tmp_path / "r", image_size=160, layers="stages", only="similarity,probe")
    assert run.summary["controls"] == ["untrained-test_resnet", "untrained-test_vit"]
    similarity = run.tables["similarity"]
    assert set(similarity.loc[similarity["model_b"] == "radiomics", "layer_b"]) == {"features"}
    probe = run.tables["probe"]
    assert set(probe["model"]) == {
        "before",
        "vit",
        "radiomics",
        "untrained-test_resnet",
        "untrained-test_vit",
        "pixels",
    }


def test_networks_of_one_name_that_differ_have_controls_of_their_own(arguments, tmp_path):
    network = timm.create_model("test_resnet", num_classes=0)
    manifest = {"arch": "test_resnet", "num_classes": 0, "input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3,
                "interpolation": "bicubic", "config": {}, "data_hash": {}, "parent": {}, "metrics": {},
                "featurespace_version": "0"}  # fmt: skip
    for name, eps in (("a", 1e-3), ("b", 1e-3), ("c", 0.1)):
        about = {**manifest, "options": {"norm_eps": {"": eps}}}
        write_checkpoint(tmp_path / f"{name}.safetensors", network.state_dict(), about)
    models = [f"{name}={tmp_path / name}.safetensors" for name in "abc"]
    run = fs.analyze([*models, "d=test_resnet@random"], arguments[1], tmp_path / "r", **FAST)
    owners = run.tables["layers"].dropna(subset="control").set_index("model")["control"].to_dict()
    names = ["untrained-test_resnet", "untrained-test_resnet-2", "untrained-test_resnet-3"]
    assert run.summary["controls"] == names and owners == dict(zip("abcd", [names[0], *names]))
    features = [run.features(name, "bright")["pooled"] for name in names]
    assert np.abs(features[0] - features[1]).max() > 1e-3


def test_steps_of_a_training_are_told_and_drawn(arguments, tmp_path):
    run = fs.analyze(*arguments, tmp_path / "r", **FAST, steps="before,after")
    step = run.tables["layers"].set_index("model")["step"]
    assert (step["before"] == 0).all() and (step["after"] == 1).all() and step["untrained"].isna().all()
    assert {"trajectory_bright", "trajectory_dark"} <= {each.name for each in figures(run.tables)}
    again = fs.analyze(*arguments, tmp_path / "r", **FAST)
    assert "step" not in again.tables["layers"]
    with pytest.raises(FeaturespaceError, match="model 'befor'.*did you mean 'before'"):
        fs.analyze(*arguments, tmp_path / "r", **FAST, steps="befor,after")


def test_without_labels_the_probe_is_left_out_and_said(tmp_path, rng):
    (tmp_path / "flat").mkdir()
    for index in range(20):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "flat" / f"{index}.png")
    progress = Progress()
    run = fs.analyze(
        ["test_resnet@random"], [f"x={tmp_path / 'flat'}"], tmp_path / "r", image_size=32, progress=progress
    )
    assert (
        len(run.tables["probe"]) == 0
        and len(run.tables["similarity"]) > 0
        and len(run.tables["embedding"]) == 2 * 2 * 20
    )
    assert any("no probe on 'x': its images have no labels" in each for each in progress.messages)
    assert any("no domain gap: it needs two data sets" in each for each in progress.messages)
    assert "its images have no labels" in run.report.read_text()


def test_one_class_is_left_out_and_said(tmp_path, rng):
    (tmp_path / "images" / "only").mkdir(parents=True)
    for index in range(20):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
            tmp_path / "images" / "only" / f"{index}.png"
        )
    progress = Progress()
    fs.analyze(
        ["test_resnet@random"],
        [f"x={tmp_path / 'images'}"],
        tmp_path / "r",
        image_size=32,
        only="probe",
        progress=progress,
    )
    assert any(
        "no probe on 'x': all labels are 'only'; a probe needs two classes" in each for each in progress.messages
    )


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_images(tmp_path, rng, n):
    (tmp_path / "flat").mkdir()
    for index in range(n):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "flat" / f"{index}.png")
    with pytest.raises(
        fs.FeaturespaceError, match=f"data set 'x' has {n} images?; a debiased similarity needs at least 4"
    ):
        fs.analyze(["test_resnet@random"], [f"x={tmp_path / 'flat'}"], tmp_path / "r", image_size=32)


def test_a_limit_is_said_and_seeded(arguments, tmp_path):
    progress = Progress()
    options = {**FAST, "control": False, "limit": 24, "progress": progress}
    runs = [fs.analyze(*arguments, tmp_path / f"r{index}", **options) for index in range(2)]
    ids = [run.features("before", "dark").samples["id"].tolist() for run in runs]
    assert ids[0] == ids[1] and len(ids[0]) == 24
    assert runs[0].features("before", "dark").samples["label"].value_counts().tolist() == [8, 8, 8]
    assert any("24 of 72 images (--limit" in each for each in progress.messages)


def test_another_run_in_the_directory(arguments, tmp_path):
    fs.analyze(*arguments, tmp_path / "r", **FAST, control=False)
    with pytest.raises(fs.FeaturespaceError, match=r"holds another run \(layers: maxpool,pooled there, stages now\)"):
        fs.analyze(*arguments, tmp_path / "r", **FAST | {"layers": "stages"}, control=False)


def test_the_stem_of_resnet18_is_copied_not_kept(tmp_path, two_domains):
    """In-place ReLU and += overwrite kept references: CKA(bn2, block) of one network must equal that of copied outputs."""
    from featurespace.data.specs import open_data
    from featurespace.features.extract import input_batches
    from featurespace.models.load import load_model
    from featurespace.models.specs import parse_model_spec

    data = f"x={two_domains[0]}"
    torch.manual_seed(0)
    torch.save(timm.create_model("resnet18", zero_init_last=False).state_dict(), tmp_path / "w.pth")
    spec = f"m=resnet18@{tmp_path / 'w.pth'}"
    run = fs.analyze(
        [spec], [data], tmp_path / "r", image_size=32, layers="layer1.0.bn2,layer1.0", only="similarity", control=False
    )
    table = run.tables["similarity"]
    value = table.loc[(table["layer_a"] == "layer1.0.bn2") & (table["layer_b"] == "layer1.0"), "value"].iloc[0]
    model = load_model(parse_model_spec(spec), image_size=32)
    copies = {}
    for name in ("layer1.0.bn2", "layer1.0"):
        model.network.get_submodule(name).register_forward_hook(
            lambda module, args, out, name=name: copies.update({name: out.clone()})
        )
    inputs = np.concatenate([x for _, x, _ in input_batches(open_data(data), model.preprocessing, batch_size=64)])
    with torch.no_grad():
        model.network(torch.from_numpy(inputs))
    pooled = [copies[name].mean((2, 3)).double().numpy() for name in ("layer1.0.bn2", "layer1.0")]
    expected = _slow_cka(*pooled)
    assert value == pytest.approx(expected, abs=1e-5) and value < 0.999


def _slow_cka(X, Y):
    def hsic(K, L):
        n = len(K)
        K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
        return ((K * L).sum() + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 * (K @ L).sum() / (n - 2)) / (n * (n - 3))

    K, L = X @ X.T, Y @ Y.T
    return hsic(K, L) / np.sqrt(hsic(K, K) * hsic(L, L))


def folder_of(tmp_path, rng, counts):
    for label, count in counts.items():
        for index in range(count):
            path = tmp_path / "images" / label / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
    return f"x={tmp_path / 'images'}"


def test_a_class_with_one_image_is_left_out_and_said_once(tmp_path, rng):
    progress = Progress()
    data = folder_of(tmp_path, rng, {"a": 12, "b": 12, "rare": 1})
    run = fs.analyze(["test_resnet@random"], [data], tmp_path / "r", image_size=32, only="probe", progress=progress)
    said = [each for each in progress.messages if "left out" in each]
    assert said == ["probe on 'x': 1 image of 1 class with fewer than 2 training images left out (rare)"]
    assert run.tables["probe"]["n_classes"].unique().tolist() == [2]


def test_constant_features_are_said_once_and_not_made_up(tmp_path, rng):
    (tmp_path / "images").mkdir()
    for index in range(20):
        Image.new("RGB", (32, 32), (90, 90, 90)).save(tmp_path / "images" / f"{index}.png")
    progress = Progress()
    run = fs.analyze(
        ["test_resnet@random"],
        [f"x={tmp_path / 'images'}"],
        tmp_path / "r",
        image_size=32,
        only="similarity",
        progress=progress,
    )
    said = [each for each in progress.messages if "no similarity" in each]
    assert len(said) == 1 and "constant" in said[0] and "and 8 more" in said[0]
    assert len(run.tables["similarity"]) == 0 and run.report.exists()


def test_a_later_command_keeps_the_differences_of_an_earlier_one(arguments, tmp_path):
    run = fs.analyze(*arguments, tmp_path / "r", image_size=32, layers="maxpool,pooled", only="similarity,probe")
    before = run.tables["differences"]
    fs.analyze(*arguments, tmp_path / "r", image_size=32, layers="maxpool,pooled", only="embedding")
    assert len(before) and run.tables["differences"].equals(before)
    fs.analyze(*arguments, tmp_path / "r", image_size=32, layers="maxpool,pooled", only="probe")
    assert run.tables["differences"].equals(before)
    assert {each["table"] for each in run.summary["findings"]} == {
        "leakage",
        "similarity",
        "influence_summary",
        "probe",
        "verdicts",
    }


def test_groups_on_both_sides_of_a_split_are_said(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    table["split"] = ["train", "test"] * 36
    table.to_csv(tmp_path / "m.csv", index=False)
    progress = Progress()
    fs.analyze(
        ["test_resnet@random"],
        [f"x={tmp_path / 'm.csv'}"],
        tmp_path / "r",
        image_size=32,
        layers="pooled",
        only="probe",
        progress=progress,
    )
    assert any(
        "18 groups are in training and test (0-0, 0-1, 0-2, 0-3 and 14 more)" in each for each in progress.messages
    )


def test_a_test_of_one_group_and_a_gap_with_groups_on_one_side(tmp_path, two_domains):
    frames = []
    for manifest in two_domains:
        table = pd.read_csv(manifest)
        table["path"] = [str(manifest.parent / each) for each in table["path"]]
        frames.append(table)
    frames[0]["group"] = frames[0]["split"]  # two groups, one of them the test
    for name, table in zip("xy", [frames[0], frames[1].drop(columns="group")]):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    data = [f"{name}={tmp_path / name}.csv" for name in "xy"]
    run = fs.analyze(["test_resnet@random"], data, tmp_path / "r", image_size=32, layers="pooled", only="probe,gap")
    gap = run.tables["domain_gap"]
    assert gap.loc[gap["metric"] == "mmd2", "unit"].tolist() == ["group"] * 2
    rows = run.tables["differences"].query("data == 'x'")
    assert len(rows) and rows["p_value"].isna().all() and rows["interval"].str.contains("one group in the test").all()


def test_a_table_of_features_takes_part_with_the_images_that_can_be_read(tmp_path, rng):
    data = folder_of(tmp_path, rng, {"a": 10, "b": 10})
    (tmp_path / "images" / "a" / "3.png").write_bytes(b"broken")
    names = [f"{label}/{index}.png" for label in "ab" for index in range(10)]
    pd.DataFrame({"id": names, "f": rng.normal(size=20), "g": rng.normal(size=20)}).to_csv(
        tmp_path / "t.csv", index=False
    )
    for models in (["test_resnet@random", f"t={tmp_path / 't.csv'}"], [f"t={tmp_path / 't.csv'}"]):
        progress = Progress()
        run = fs.analyze(
            models,
            [data],
            tmp_path / f"r{len(models)}",
            image_size=32,
            layers="pooled",
            only="probe,similarity",
            progress=progress,
        )
        assert len(run.features("t", "x").samples) == (19 if len(models) == 2 else 20)
    assert any("no baseline of raw pixels on 'x'" in each for each in progress.messages)


def test_too_little_disk_is_said_before_the_first_image(arguments, tmp_path, monkeypatch):
    from featurespace import plan

    monkeypatch.setattr(plan, "_free_bytes", lambda path: 1000)
    with pytest.raises(
        fs.FeaturespaceError,
        match=r"the features need .* KiB, and the disk of .* has 1000 B left; choose another --out",
    ):
        fs.analyze(*arguments, tmp_path / "r", **FAST)
    assert not (tmp_path / "r" / "features").exists()


def test_a_missing_file_does_not_cost_the_finished_report(arguments, tmp_path):
    models, data = arguments
    weights = tmp_path / "w.pth"
    shutil.copy(models[0].partition("@")[2], weights)
    spec = [f"m=test_resnet@{weights}"]
    run = fs.analyze(spec, data, tmp_path / "r", **FAST, control=False)
    weights.write_bytes(b"broken")
    with pytest.raises(fs.FeaturespaceError, match=r"w\.pth"):
        fs.analyze(spec, data, tmp_path / "r", **FAST, control=False)
    assert run.report.exists() and run.summary["models"] == ["m"]


# Adding to a run ---------------------------------------------------------------------------------------------------


def test_into_adds_a_model_and_computes_only_what_is_new(arguments, tmp_path, monkeypatch):
    models, data = arguments
    options = {"image_size": 32, "layers": "maxpool,pooled", "only": "all"}
    fs.analyze(models[:1], data, tmp_path / "r", **options)
    stores = {path: path.stat().st_mtime_ns for path in (tmp_path / "r" / "features").rglob("*.npy")}
    kept = []
    keep = Memo.keep
    monkeypatch.setattr(
        Memo, "keep", lambda self, kind, key, result: kept.append((kind, key)) or keep(self, kind, key, result)
    )
    run = fs.analyze(models[1:], into=tmp_path / "r")
    assert all(path.stat().st_mtime_ns == time for path, time in stores.items())
    assert kept and all("after" in str(key) for kind, key in kept if kind != "weights")
    state = torch.load(models[1].partition("@")[2], weights_only=True)["state_dict"]
    of_after = {hash_array(value.numpy()) for value in state.values()}
    of_weights = [key for kind, key in kept if kind == "weights"]
    assert of_weights and all(of_after & set(key["content"]) for key in of_weights)
    assert run.summary["models"] == ["before", "after"] and run.summary["controls"] == ["untrained"]
    whole = fs.analyze(models, data, tmp_path / "whole", **options)
    for name, table in whole.tables.items():
        pd.testing.assert_frame_equal(
            run.tables[name], table, rtol=1e-12, check_exact=name not in ("similarity", "differences")
        )


def test_into_adds_a_data_set_and_leaves_the_controls_as_they_are(arguments, tmp_path):
    models, data = arguments
    options = {**FAST, "only": "similarity,probe,embedding,gap"}
    run = fs.analyze(models, data[:1], tmp_path / "r", **options)
    before = run.tables["similarity"]
    stores = {path: path.stat().st_mtime_ns for path in (tmp_path / "r" / "features").rglob("*.npy")}
    fs.analyze((), data[1:], into=tmp_path / "r")
    assert all(path.stat().st_mtime_ns == time for path, time in stores.items())
    after = run.tables["similarity"]
    pd.testing.assert_frame_equal(after[after["data"] == "bright"].reset_index(drop=True), before)
    assert set(after["data"]) == {"bright", "dark"} and len(run.tables["domain_gap"])
    again = table_bytes(run)
    assert table_bytes(fs.analyze((), data[1:], into=tmp_path / "r")) == again  # the same command again
    assert table_bytes(fs.analyze(into=tmp_path / "r")) == again


def test_into_a_second_architecture_leaves_the_first_control_its_name(arguments, tmp_path):
    models, data = arguments
    fs.analyze(models[:1], data[:1], tmp_path / "r", **FAST | {"layers": "stages"})
    run = fs.analyze(["other=test_vit@random"], into=tmp_path / "r")
    assert run.summary["controls"] == ["untrained", "untrained-test_vit"]
    assert set(run.tables["layers"].query("model == 'before'")["control"]) == {"untrained"}


def test_into_says_what_does_not_fit(arguments, tmp_path):
    models, data = arguments
    with pytest.raises(FeaturespaceError, match="holds no run"):
        fs.analyze(models, into=tmp_path / "none")
    with pytest.raises(FeaturespaceError, match="either --out .* or --into"):
        fs.analyze(models, data)
    fs.analyze(models[:1], data[:1], tmp_path / "r", **FAST)
    with pytest.raises(FeaturespaceError, match="other options .layers: maxpool,pooled there, blocks now"):
        fs.analyze(models[1:], into=tmp_path / "r", layers="blocks")
    with pytest.raises(FeaturespaceError, match="before"):
        fs.analyze(["before=test_resnet@random"], into=tmp_path / "r")
    assert fs.load(tmp_path / "r").verify()


def test_a_wrong_model_is_not_added_to_the_run(arguments, tmp_path):
    models, data = arguments
    fs.analyze(models[:1], data[:1], tmp_path / "r", **FAST)
    with pytest.raises(FeaturespaceError, match=r"nowhere\.pth"):
        fs.analyze(["b=test_resnet@nowhere.pth"], into=tmp_path / "r")
    run = fs.load(tmp_path / "r")
    assert run.verify() and run.report.exists() and "nowhere" not in run.config.read_text()
    assert fs.analyze(models[1:], into=tmp_path / "r").summary["models"] == ["before", "after"]
