import json
import signal
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from typer.testing import CliRunner

from featurespace.cli import app
from featurespace.data.splits import fraction_rows
from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import read_manifest
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress
from featurespace.tables.agreement import agreement_tables
from featurespace.training import engine
from featurespace.training.finetune import finetune, plan_finetuning
from featurespace.training.noise import noisy
from featurespace.training.settings import FinetuneConfig, Noise
from featurespace.training.tasks.multilabel import Multilabel
from featurespace.yaml_files import checked, to_yaml


def config(tmp_path, manifest, **changes):
    values = {"model": "start=test_resnet", "data": f"x={manifest}", "out": tmp_path / "tuned", "image_size": 32, "batch_size": 16,
              "epochs": 12, "learning_rate": 3e-3, "device": "cpu", "loggers": ()}  # fmt: skip
    return checked(FinetuneConfig, {**values, **changes})


def weights(path):
    return load_model(parse_model_spec(str(path))).weights_hash


def table_of(tmp_path, manifest, **columns):
    table = pd.read_csv(manifest)
    table["path"] = [str(manifest.parent / each) for each in table["path"]]
    table.assign(**columns).to_csv(tmp_path / "m.csv", index=False)
    return tmp_path / "m.csv"


def test_it_learns_and_writes_a_checkpoint_that_loads(tmp_path, two_domains):
    progress = Progress()
    path = finetune(config(tmp_path, two_domains[0]), progress=progress)
    manifest = read_manifest(path)
    assert manifest["arch"] == "test_resnet" and manifest["classes"] == ["class0", "class1", "class2"]
    assert manifest["metrics"]["test_accuracy"] > 0.7 and manifest["metrics"]["n_test"] == 24
    assert manifest["parent"]["spec"] == "start=test_resnet" and manifest["input_size"] == [3, 32, 32]
    model = load_model(parse_model_spec(str(path)))
    assert model.arch == "test_resnet" and model.preprocessing.input_size == (3, 32, 32)
    assert model.weights_hash != manifest["parent"]["weights_sha256"]
    assert "accuracy" in progress.messages[-1] and "on 24 test images" in progress.messages[-1]
    predictions = pd.read_csv(path.parent / "predictions.csv")
    runs = pd.read_csv(path.parent / "runs.csv").set_index("metric")["value"]
    assert len(predictions) == 24 and runs["accuracy"] == pytest.approx(
        (predictions["label"] == predictions["predicted"]).mean()
    )
    scores = predictions[["p_class0", "p_class1", "p_class2"]].to_numpy()
    assert runs["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(predictions["label"], predictions["predicted"])
    )
    scores = scores / scores.sum(1, keepdims=True)
    assert runs["auc_macro"] == pytest.approx(roc_auc_score(predictions["label"], scores, multi_class="ovr"), abs=1e-6)


def test_the_same_seed_gives_the_same_weights(tmp_path, two_domains):
    hashes = [weights(finetune(config(tmp_path, two_domains[0], out=tmp_path / str(index), epochs=1, seed=seed)))
              for index, seed in enumerate((0, 0, 1))]  # fmt: skip
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_global_random_state_is_left_alone(tmp_path, two_domains):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    finetune(config(tmp_path, two_domains[0], epochs=1))
    np.testing.assert_array_equal(torch.rand(3), expected)


def test_shuffled_labels_fall_to_chance(tmp_path, two_domains):
    shuffled = np.random.default_rng(0).permutation(pd.read_csv(two_domains[0])["label"])
    manifest = read_manifest(finetune(config(tmp_path, table_of(tmp_path, two_domains[0], label=shuffled))))
    assert manifest["metrics"]["test_accuracy"] < 1 / 3 + 3 * np.sqrt(2 / 9 / 24)


def test_shuffled_labels_of_multilabel_fall_to_chance(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0])
    given = table["label"].map({"class0": "A|B", "class1": "B", "class2": "none"})
    labels = {"given": given, "shuffled": pd.Series(np.random.default_rng(0).permutation(given))}
    found = {}
    for name, cells in labels.items():
        manifest = table_of(tmp_path, two_domains[0], label=cells)
        file = finetune(config(tmp_path, manifest, out=tmp_path / name, task="multilabel", no_label="none"))
        found[name] = read_manifest(file)["metrics"]
    for label in "AB":
        yes = labels["shuffled"][table["split"] == "test"].str.contains(label).sum()
        no = (table["split"] == "test").sum() - yes
        deviation = np.sqrt(
            (yes + no + 1) / (12 * yes * no)
        )  # of the AUC of any score that knows nothing of the labels
        assert (
            abs(found["shuffled"][f"test_auc_{label}"] - 0.5)
            < 3 * deviation
            < found["given"][f"test_auc_{label}"] - 0.5
        )


@pytest.mark.parametrize(("task", "labels"), [("multiclass", ["a", "b"]), ("multilabel", ["A", "B", "A|B", "none"])])
def test_sixteen_images_are_learnt_by_heart(tmp_path, two_domains, task, labels):
    rows = pd.read_csv(two_domains[0]).groupby("label").head(6).index[:16]
    table = pd.read_csv(two_domains[0]).loc[rows]
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    noise = np.random.default_rng(1).choice(labels, 16)  # labels that have nothing to do with the images
    twice = pd.concat([table.assign(label=noise, split=split, id=table["path"] + split) for split in ("train", "test")])
    twice.drop(columns="group").to_csv(tmp_path / "m.csv", index=False)
    file = finetune(config(tmp_path, tmp_path / "m.csv", task=task, no_label="none", epochs=60))
    predictions = pd.read_csv(file.parent / "predictions.csv", keep_default_na=False)
    assert (predictions["predicted"].replace("", "none") == predictions["label"]).all() and len(predictions) == 16
    assert read_manifest(file)["metrics"]["train_loss"] < 0.1


def test_a_linear_probe_changes_only_the_classifier(tmp_path, two_domains):
    path = finetune(config(tmp_path, two_domains[0], mode="linear", learning_rate=0.1))
    manifest = read_manifest(path)
    assert weights(path) == manifest["parent"]["weights_sha256"]  # buffers of BatchNorm too
    assert manifest["metrics"]["test_accuracy"] > 0.5


def test_scratch_is_a_start_like_any_other(tmp_path, two_domains, checkpoints):
    options = {"model": f"mine=test_resnet@{checkpoints[0]}", "epochs": 1}
    scratch = finetune(config(tmp_path, two_domains[0], mode="scratch", out=tmp_path / "a", **options))
    random = finetune(config(tmp_path, two_domains[0], model="test_resnet", epochs=1, out=tmp_path / "b"))
    assert weights(scratch) == weights(random)
    runs = pd.read_csv(tmp_path / "a" / "runs.csv")  # the same task by another start, so that the two can be compared
    assert runs["pretraining"].unique().tolist() == ["scratch"] and runs["task"].unique().tolist() == ["x"]


@pytest.mark.parametrize(("model", "layer"), [("test_resnet", "layer2.0"), ("test_vit", "blocks.2")])
def test_a_part_of_a_network_may_be_frozen(tmp_path, two_domains, model, layer):
    path = finetune(config(tmp_path, two_domains[0], model=model, freeze=layer, epochs=1))
    before = load_model(parse_model_spec(f"{model}@random"), seed=0, image_size=32).network
    after = load_model(parse_model_spec(str(path))).network
    with torch.no_grad():
        images = torch.randn(4, 3, 32, 32, generator=torch.manual_seed(0))
        outputs = []
        for network in (before, after):
            kept = []
            handles = [network.get_submodule(name).register_forward_hook(lambda m, i, o, kept=kept: kept.append(o.clone()))
                       for name in (layer, [n for n, m in network.named_modules() if any(True for _ in m.parameters())][-1])]  # fmt: skip
            network.eval()(images)
            outputs.append(kept)
            for handle in handles:
                handle.remove()
    assert torch.equal(outputs[0][0], outputs[1][0]) and not torch.equal(outputs[0][1], outputs[1][1])


def test_checkpoints_of_epochs_are_kept_on_request_and_change_nothing(tmp_path, two_domains):
    plain = finetune(config(tmp_path, two_domains[0], epochs=4, out=tmp_path / "plain"))
    kept = finetune(config(tmp_path, two_domains[0], epochs=4, out=tmp_path / "kept", snapshots=2))
    assert weights(plain) == weights(kept)
    assert sorted(path.name for path in kept.parent.glob("*.safetensors")) == [
        "checkpoint.safetensors",
        "epoch_0002.safetensors",
    ]
    half = kept.parent / "epoch_0002.safetensors"
    assert read_manifest(half)["metrics"]["epoch"] == 2 and weights(half) != weights(kept)
    assert load_model(parse_model_spec(str(half))).arch == "test_resnet"


def test_layer_decay_slows_the_first_layers(tmp_path, two_domains):
    from featurespace.training.finetune import _prepare

    groups = (
        _prepare(config(tmp_path, two_domains[0], layer_decay=0.5), Progress())
        .module.configure_optimizers()["optimizer"]
        .param_groups
    )
    rates = sorted({group["initial_lr"] for group in groups})
    assert rates[-1] == pytest.approx(3e-3) and rates[0] < 3e-3 / 4


@pytest.mark.parametrize("test_with", ["last", *(pytest.param(each, marks=pytest.mark.slow) for each in ("best", 2))])
def test_a_killed_training_ends_with_the_same_weights_and_results(tmp_path, two_domains, monkeypatch, test_with):
    split = np.where(pd.read_csv(two_domains[0])["split"] == "train", "train", "test").astype(object)
    split[np.flatnonzero(split == "train")[::4]] = "val"
    manifest = table_of(tmp_path, two_domains[0], split=split, group=np.arange(72))
    options = {
        "epochs": 4,
        "min_scale": 0.5,
        "flip": 0.5,
        "test_with": test_with,
        "noise": {"sigma": 0.05},
        "save_minutes": 0,
    }
    expected = finetune(config(tmp_path, manifest, out=tmp_path / "whole", **options)).parent
    curves = pd.read_csv(expected / "curves.csv")
    assert "val_accuracy" in curves
    for killed in (0, 3, 5):
        out = tmp_path / f"k{killed}"

        def dying(self, trainer, module, outputs, batch, index, killed=killed, method=engine.Saving.on_train_batch_end):
            method(self, trainer, module, outputs, batch, index)
            if batch.number == killed:
                raise ZeroDivisionError

        with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
            patch.setattr(engine.Saving, "on_train_batch_end", dying)
            finetune(config(tmp_path, manifest, out=out, **options))
        finetune(config(tmp_path, manifest, out=out, **options))
        for name in ("curves.csv", "predictions.csv", "runs.csv"):
            assert (out / name).read_bytes() == (expected / name).read_bytes()
        assert weights(out / "checkpoint.safetensors") == weights(expected / "checkpoint.safetensors")
    if test_with == 2:
        short = finetune(config(tmp_path, manifest, out=tmp_path / "last", **options | {"test_with": "last"}))
        assert weights(short) != weights(expected / "checkpoint.safetensors")


@pytest.mark.parametrize("number, ends", [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_a_training_and_later_ones_count_too(tmp_path, two_domains, number, ends):
    class Pressed(Progress):
        @contextmanager
        def bar(self, description, total, unit):
            yield lambda count: description == "decode images" or signal.raise_signal(number)

    training, handler = config(tmp_path, two_domains[0], epochs=1), signal.getsignal(number)
    if number == signal.SIGINT:  # workers of the tests may ignore it
        handler = signal.default_int_handler
    before = signal.signal(number, handler)
    try:
        with pytest.raises(ends):
            finetune(training, progress=Pressed())
        assert signal.getsignal(number) is handler
        assert finetune(training).exists()
    finally:
        signal.signal(number, before)


def test_fractions_are_nested_stratified_and_by_group():
    rng = np.random.default_rng(0)
    samples = pd.DataFrame({"id": np.arange(3000).astype(str), "label": rng.choice(["a", "b", "c"], 3000, p=[0.9, 0.095, 0.005]),
                            "group": rng.integers(0, 100, 3000).astype(str)})  # fmt: skip
    rows = np.arange(0, 3000, 2)
    parts = {
        each: fraction_rows(samples, rows, each, rng=np.random.default_rng(7)) for each in (1, 0.5, 0.1, 0.01, 0.001)
    }
    assert parts[1].tolist() == rows.tolist()
    for large, small in zip(list(parts.values()), list(parts.values())[1:]):
        assert set(small) < set(large)
    for share, chosen in parts.items():
        counts, whole = samples["label"].iloc[chosen].value_counts(), samples["label"].iloc[rows].value_counts()
        assert all(counts[label] == max(1, round(share * whole[label])) for label in "abc")
    common = samples.iloc[parts[0.1]].query("label == 'a'")
    assert common["group"].nunique() <= 13  # of 100
    assert fraction_rows(samples, rows, 0.1, rng=np.random.default_rng(8)).tolist() != parts[0.1].tolist()


def test_noise_is_what_it_says():
    images = torch.full((4, 3, 64, 64), 0.5)
    gaussian = noisy(images, Noise(sigma=0.1), seed=1)
    assert gaussian.std() == pytest.approx(0.1, rel=0.03) and gaussian.mean() == pytest.approx(0.5, abs=0.003)
    assert torch.equal(gaussian[:, 0], gaussian[:, 2]) and torch.equal(
        gaussian, noisy(images, Noise(sigma=0.1), seed=1)
    )
    dark = noisy(torch.zeros(4, 3, 64, 64), Noise(kind="rician", sigma=0.1), seed=1)
    assert dark.min() >= 0 and dark.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.02)  # Rayleigh
    colour = torch.rand(2, 3, 64, 64)
    changed = noisy(colour, Noise(sigma=0.1), seed=1) - colour
    assert not torch.allclose(changed[:, 0], changed[:, 1])


def test_several_trainings_share_a_runs_table(tmp_path, two_domains):
    runs = tmp_path / "runs.csv"
    for seed, fraction in ((0, 1), (1, 1), (0, 0.5)):
        finetune(
            config(
                tmp_path,
                two_domains[0],
                out=tmp_path / f"{seed}{fraction}",
                seed=seed,
                fraction=fraction,
                epochs=1,
                runs=runs,
            )
        )
    table = pd.read_csv(runs)
    assert list(table) == ["experiment", "pretraining", "task", "run", "metric", "value"]
    assert table[["task", "run"]].drop_duplicates().to_numpy().tolist() == [["x", 0], ["x", 1], ["x 50%", 0]]
    again = config(tmp_path, two_domains[0], out=tmp_path / "again", epochs=1, runs=runs)
    finetune(again)
    assert len(pd.read_csv(runs)) == len(table)
    runs.write_text("value,b\n1,2\n")
    with pytest.raises(FeaturespaceError, match="has the columns .*, a runs table has"):
        finetune(config(tmp_path, two_domains[0], out=tmp_path / "other", epochs=1, runs=runs))
    runs.write_text("a,b\n1,2\n")
    with pytest.raises(FeaturespaceError, match="runs.csv .*; name another file as runs"):
        finetune(config(tmp_path, two_domains[0], out=tmp_path / "more", epochs=1, runs=runs))


def test_multilabel_masks_what_is_unknown():
    labels = pd.Series(["A|B", "none", "?A|B", "A", "none"])
    task = Multilabel(labels, "x", "none")
    assert task.classes == ["A", "B"]
    assert task.targets(labels).tolist() == [[1, 1], [0, 0], [-1, 1], [1, 0], [0, 0]]
    scores, targets = torch.randn(5, 2, requires_grad=True), torch.tensor(task.targets(labels))
    loss = task.loss(scores, targets)
    by_hand = [
        -np.log(p if t else 1 - p)
        for p, t in zip(scores.sigmoid().flatten().tolist(), targets.flatten().tolist())
        if t >= 0
    ]
    assert loss.item() == pytest.approx(np.mean(by_hand), rel=1e-5)
    loss.backward()
    assert scores.grad[2, 0] == 0 and (scores.grad != 0).sum() == 9
    metrics = task.metrics(scores.detach().sigmoid(), targets)
    assert metrics["auc_A"] == pytest.approx(roc_auc_score([1, 0, 1, 0], scores.detach()[[0, 1, 3, 4], 0]))
    assert metrics["auc_macro"] == pytest.approx((metrics["auc_A"] + metrics["auc_B"]) / 2)
    assert "auc_A" not in task.metrics(scores.detach().sigmoid()[:1], targets[:1])


def test_multilabel_learns(tmp_path, two_domains):
    label = pd.read_csv(two_domains[0])["label"].map({"class0": "A|B", "class1": "B|?C", "class2": "none"})
    label.iloc[::9] = "C"
    path = finetune(
        config(tmp_path, table_of(tmp_path, two_domains[0], label=label), task="multilabel", no_label="none")
    )
    runs = pd.read_csv(path.parent / "runs.csv").set_index("metric")["value"]
    assert set(runs.index) == {"auc_A", "auc_B", "auc_C", "auc_macro"} and runs["auc_A"] > 0.8
    assert pd.read_csv(path.parent / "predictions.csv")["p_A"].between(0, 1).all()


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [({"label": None}, {}, "has no labels; finetuning needs class folders"),
     ({"label": "one"}, {}, "all training images are 'one'; two classes"),
     ({"label": ["a", "b"] * 36}, {"batch_size": 64}, "48 training images are fewer than a batch of 64; lower batch_size"),
     ({"label": ["a", "b"] * 36}, {"learning_rate": 1e30}, r"the loss is nan at step \d+ \(learning rate"),
     ({"label": ["a", "b"] * 36}, {"model": "nosuchnet"}, "architecture 'nosuchnet' is not known"),
     ({"group": "p"}, {}, "group 'p' is in training and test .* give each group one split"),
     ({"group": ["p"] * 2 + [f"{i}" for i in range(70)], "split": ["train", "val"] + ["train", "test"] * 35}, {}, "group 'p' is in training and validation"),
     ({"group": ["p"] * 2 + [f"{i}" for i in range(70)], "split": ["test", "val"] + ["train", "test"] * 35}, {}, "group 'p' is in validation and test"),
     ({}, {"test_with": "best"}, "has no validation images to choose by"),
     ({}, {"test_with": 13}, "test_with 13 is no epoch of 12"),
     ({}, {"layer_decay": 0.5, "mode": "linear"}, "layer_decay goes with mode full, not linear"),
     ({}, {"freeze": "layer2.0", "mode": "linear"}, "freeze goes with mode full and task multiclass or multilabel"),
     ({}, {"freeze": "layer2.7"}, "layer 'layer2.7' is not known in test_resnet"),
     ({}, {"noise": {"sigma": -1}}, "option 'noise.sigma': Input should be greater than 0"),
     ({"label": "none"}, {"task": "multilabel", "no_label": "none"}, "no training image has a label beside 'none'"),
     ({"label": "A"}, {"task": "multilabel"}, "all or none have label 'A'")],
)  # fmt: skip
def test_errors(tmp_path, two_domains, columns, changes, message):
    with pytest.raises(FeaturespaceError, match=message):
        finetune(config(tmp_path, table_of(tmp_path, two_domains[0], **columns), **changes))
    assert not (tmp_path / "tuned" / "checkpoint.safetensors").exists()


def test_another_kind_of_training_in_the_directory(tmp_path, two_domains):
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "config.yaml").write_text("method: simclr\n")
    with pytest.raises(FeaturespaceError, match="holds something else .*unknown key 'method'.*; choose a new out"):
        finetune(config(tmp_path, two_domains[0]))


def test_without_monai(tmp_path, two_domains, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "monai.transforms", None)
    with pytest.raises(FeaturespaceError, match="noise needs monai, which is not installed"):
        finetune(config(tmp_path, two_domains[0], noise={"sigma": 0.1}))


def test_classes_of_the_test_alone_are_left_out_and_said(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0])
    label = table["label"].where((table["split"] == "train") | (table["label"] != "class2"), "rare")
    progress = Progress()
    finetune(config(tmp_path, table_of(tmp_path, two_domains[0], label=label), epochs=1), progress=progress)
    assert "8 test images are left out: no training image has the class" in progress.messages


def test_the_command(tmp_path, two_domains):
    file = tmp_path / "c.yaml"
    file.write_text(
        f"model: test_resnet\ndata: x={two_domains[0]}\nout: {tmp_path / 'out'}\nimage_size: 32\nepochs: 1\nbatch_size: 16\n"
    )
    plan = CliRunner().invoke(app, ["train", "finetune", str(file), "--dry-run", "--json"])
    assert json.loads(plan.stdout)["images"] == 48 and not (tmp_path / "out").exists()
    run = CliRunner().invoke(app, ["train", "finetune", str(file), "--set", "fraction=0.5", "-q", "--json"])
    assert json.loads(run.stdout)["checkpoint"].endswith("checkpoint.safetensors")
    assert plan_finetuning(config(tmp_path, two_domains[0], fraction=0.5)).images == 24


@pytest.mark.slow
@pytest.mark.skipif(not __import__("shutil").which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_learns_the_same(tmp_path, two_domains):
    options = {"epochs": 2, "batch_size": 24, "optimizer": "sgd", "learning_rate": 0.01}
    losses = []
    for compiled in (False, True):
        path = finetune(config(tmp_path, two_domains[0], out=tmp_path / str(compiled), compiled=compiled, **options))
        losses.append(pd.read_csv(path.parent / "curves.csv")["loss"].to_numpy())
        assert load_model(parse_model_spec(str(path))).match.share_of_tensors == 1
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_predictions_of_two_trainings_tell_who_knows_what(tmp_path, two_domains):
    paths = {}
    for seed in (0, 1):
        made = finetune(config(tmp_path, two_domains[0], out=tmp_path / str(seed), epochs=1, seed=seed))
        paths[f"seed{seed}"] = made.parent / "predictions.csv"
    tables = agreement_tables(paths, task="bright", permutations=99)
    shares = tables["agreement"].set_index("set")
    accuracy = [pd.read_csv(path).eval("label == predicted").mean() for path in paths.values()]
    assert shares.loc["seed0", "value"] + shares.loc["seed0 + seed1", "value"] == pytest.approx(accuracy[0])
    assert shares.loc["seed1", "value"] + shares.loc["seed0 + seed1", "value"] == pytest.approx(accuracy[1])
    assert set(shares["n"]) == {24} and set(shares["unit"]) == {"group"} and len(tables["error_consistency"]) == 1


class Touches:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_start_that_needs_code_is_refused_and_read_where_trusted(tmp_path, two_domains):
    weights = load_model(parse_model_spec("test_resnet@random")).network.state_dict()
    torch.save({"model": weights, "extra": Touches(tmp_path / "ran")}, tmp_path / "a.pt")
    named = {"model": f"start=test_resnet@{tmp_path / 'a.pt'}", "epochs": 1}
    file = tmp_path / "finetune.yaml"
    file.write_text(to_yaml(config(tmp_path, two_domains[0], **named)))
    refused = CliRunner().invoke(app, ["train", "finetune", str(file), "--dry-run"])
    assert refused.exit_code != 0 and "--trust" in str(refused.exception) and not (tmp_path / "ran").exists()
    trusted = CliRunner().invoke(app, ["train", "finetune", str(file), "--dry-run", "--trust"])
    assert trusted.exit_code == 0 and (tmp_path / "ran").exists()
