import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from featurespace.cli import app
from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import read_manifest
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress
from featurespace.training import engine, methods
from featurespace.training.pretrain import plan_pretraining, pretrain
from featurespace.training.settings import PretrainConfig
from featurespace.yaml_files import checked


def config(tmp_path, manifest, **changes):
    values = {"model": "test_resnet", "data": [f"x={manifest}"], "out": tmp_path / "out", "image_size": 32, "batch_size": 16, "epochs": 2,
              "device": "cpu", "loggers": ()}  # fmt: skip
    return checked(PretrainConfig, {**values, **changes})


FITTING = {
    "mae": {
        "model": "test_vit",
        "image_size": 160,
        "options": {"decoder_width": 64, "decoder_depth": 2, "decoder_heads": 4},
    }
}


def weights(path):
    return load_model(parse_model_spec(str(path))).weights_hash


def test_lars_and_the_square_root_rule(tmp_path, two_domains):
    settings = config(
        tmp_path, two_domains[0], optimizer="lars", learning_rate=0.075, learning_rate_rule="sqrt", warmup_epochs=1
    )
    pretrain(settings)
    curves = pd.read_csv(settings.out / "curves.csv")
    assert settings.peak_learning_rate == pytest.approx(0.3) and curves["learning_rate"].iloc[0] == pytest.approx(0.3)
    assert 0 < curves["learning_rate"].iloc[1] < 0.3 * 0.4


@pytest.mark.parametrize("method", methods.names())
def test_a_method_learns_and_writes_a_checkpoint_that_loads(tmp_path, two_domains, method):
    settings = config(tmp_path, two_domains[0], method=method, epochs=6, learning_rate=3e-3, **FITTING.get(method, {}))
    file = pretrain(settings)
    curves = pd.read_csv(settings.out / "curves.csv")
    assert curves["epoch"].tolist() == [1, 2, 3, 4, 5, 6] and curves["loss"].iloc[-1] < curves["loss"].iloc[0]
    assert (curves["effective_rank"] > 1).all() and curves["knn_accuracy"].between(0, 1).all()
    manifest = read_manifest(file)
    assert manifest["parent"]["spec"] == settings.model
    assert manifest["input_size"] == [3, settings.image_size, settings.image_size]
    assert load_model(parse_model_spec(str(file))).weights_hash != manifest["parent"]["weights_sha256"]


def test_test_images_take_no_part(tmp_path, two_domains):
    assert plan_pretraining(config(tmp_path, two_domains[0])).images == 48  # of 72


def test_betas_change_the_weights_and_are_in_the_manifest(tmp_path, two_domains):
    files = [pretrain(config(tmp_path, two_domains[0], out=tmp_path / str(index), betas=betas, epochs=1))
             for index, betas in enumerate(([0.9, 0.999], [0.9, 0.5]))]  # fmt: skip
    assert weights(files[0]) != weights(files[1])
    assert [read_manifest(each)["config"]["betas"] for each in files] == [[0.9, 0.999], [0.9, 0.5]]
    with pytest.raises(FeaturespaceError, match="holds another training .*betas: "):
        pretrain(config(tmp_path, two_domains[0], out=tmp_path / "0", betas=[0.9, 0.5], epochs=1))


def test_fp16_on_a_cpu_is_nearer_to_fp32_than_bf16(tmp_path, two_domains):
    options = {
        "method": "supervised",
        "batch_size": 24,
        "epochs": 1,
        "optimizer": "sgd",
        "learning_rate": 1e-2,
        "online_every": 0,
    }
    start = load_model(parse_model_spec("test_resnet", bare=True), image_size=32).network
    names = [name for name, each in start.named_parameters() if each.ndim > 1]
    moved, progress = {}, Progress()
    for precision in ("fp32", "fp16", "bf16"):
        settings = config(tmp_path, two_domains[0], out=tmp_path / precision, precision=precision, **options)
        after = load_file(pretrain(settings, progress=progress))
        assert np.isfinite(pd.read_csv(settings.out / "curves.csv")["loss"]).all()
        moved[precision] = torch.cat([(after[name] - start.get_parameter(name).detach()).flatten() for name in names])
    error = {name: float((each - moved["fp32"]).norm() / moved["fp32"].norm()) for name, each in moved.items()}
    assert 0 < error["fp16"] < 0.05 and error["fp16"] < error["bf16"] / 2, error
    assert [each for each in progress.messages if "takes many times as long as fp32 on a CPU" in each]


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    ("changes", "every"),
    [
        pytest.param({}, 2, id="plain"),
        pytest.param({}, 1, id="at every step", marks=pytest.mark.slow),
        pytest.param({"accumulate": 2, "weights": [1, 3], "data": None}, 5, id="mixed", marks=pytest.mark.slow),
        pytest.param({"method": "mae"} | FITTING["mae"], 3, id="mae", marks=pytest.mark.slow),
    ],
)
def test_a_training_killed_at_any_step_ends_with_the_same_weights(tmp_path, two_domains, monkeypatch, changes, every):
    if "data" in changes:
        changes = changes | {"data": [f"a={two_domains[0]}", f"b={two_domains[1]}"]}
    whole = config(tmp_path, two_domains[0], out=tmp_path / "whole", save_minutes=0, **changes)
    expected = weights(pretrain(whole))
    curves = (whole.out / "curves.csv").read_text()
    steps = len(plan_steps(whole))
    for killed in range(0, steps, every):  # within an epoch, at its end and within a step
        settings = config(tmp_path, two_domains[0], out=tmp_path / f"k{killed}", save_minutes=0, **changes)
        with monkeypatch.context() as patch:
            patch.setattr(engine.Saving, "on_train_batch_end", dying(engine.Saving.on_train_batch_end, killed))
            with pytest.raises(Killed):
                pretrain(settings)
        assert not (settings.out / "checkpoint.safetensors").exists()
        assert weights(pretrain(settings)) == expected, f"killed after piece {killed}"
        assert (settings.out / "curves.csv").read_text() == curves
        assert not (settings.out / "state.ckpt").exists()


def plan_steps(settings):
    plan = plan_pretraining(settings)
    return range(plan.steps * plan.epochs * settings.accumulate)


def dying(method, number):
    def wrapped(self, trainer, module, outputs, batch, index):
        method(self, trainer, module, outputs, batch, index)
        if batch.number == number:
            raise Killed

    return wrapped


def test_cache_and_workers_change_no_bit(tmp_path, two_domains):
    found = {
        weights(pretrain(config(tmp_path, two_domains[0], out=tmp_path / f"{cache}{workers}", cache=cache, workers=workers, epochs=1)))
        for cache, workers in (("memory", 1), ("disk", 2), ("none", 3))
    }  # fmt: skip
    assert len(found) == 1


def test_a_disk_cache_is_used_again_and_another_data_set_is_not_taken_for_it(tmp_path, two_domains, monkeypatch):
    from featurespace.training import pixels

    settings = config(tmp_path, two_domains[0], cache="disk", epochs=1)
    pretrain(settings)
    (settings.out / "checkpoint.safetensors").unlink()
    calls = []
    original = pixels.network_pixels
    monkeypatch.setattr(pixels, "network_pixels", lambda *a: calls.append(1) or original(*a))
    pretrain(settings)
    assert len(calls) == 1  # the first image, for its size and depth
    mark = json.loads((settings.out / "pixels.json").read_text())
    mark["about"]["data"] = ["another"]
    (settings.out / "pixels.json").write_text(json.dumps(mark))
    (settings.out / "checkpoint.safetensors").unlink()
    pretrain(settings)
    assert len(calls) == 2 + 48


def test_a_finished_training_is_left_and_another_one_refused(tmp_path, two_domains):
    settings = config(tmp_path, two_domains[0], epochs=1)
    file = pretrain(settings)
    before = file.stat().st_mtime_ns
    assert pretrain(settings) == file and file.stat().st_mtime_ns == before
    with pytest.raises(FeaturespaceError, match=r"holds another training \(epochs: 1 there, 2 now\); choose a new out"):
        pretrain(config(tmp_path, two_domains[0]))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(FeaturespaceError, match="holds other files and no training"):
        pretrain(config(tmp_path, two_domains[0], out=tmp_path / "mine"))


def test_the_global_random_state_is_left_alone(tmp_path, two_domains):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    pretrain(config(tmp_path, two_domains[0], epochs=1))
    np.testing.assert_array_equal(torch.rand(3), expected)


def test_sequential_pretraining_starts_from_the_first_checkpoint(tmp_path, two_domains):
    first = pretrain(config(tmp_path, two_domains[0], out=tmp_path / "a", epochs=1))
    second = pretrain(config(tmp_path, two_domains[1], out=tmp_path / "b", epochs=1, model=str(first)))
    assert read_manifest(second)["parent"]["weights_sha256"] == weights(first)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"batch_size": 64}, "48 training images are fewer than a batch of 64; lower batch_size to 48"),
     ({"learning_rate": 0}, "option 'learning_rate': Input should be greater than 0"),
     ({"learning_rate": 1e30, "optimizer": "sgd"}, r"the loss is (nan|inf) at step \d+ \(learning rate .*, images x/.*\); lower"),
     ({"accumulate": 3}, "batch_size 16 is no multiple of accumulate x devices x nodes = 3"),
     ({"warmup_epochs": 2}, "warmup_epochs 2 leaves nothing of 2 epochs"),
     ({"betas": [0.9, 1.0]}, r"option 'betas\.1': Input should be less than 1; the value was 1\.0"),
     ({"betas": [-0.1, 0.9]}, r"option 'betas\.0': Input should be greater than or equal to 0"),
     ({"betas": [0.9]}, r"option 'betas\.1' is missing"),
     ({"betas": [0.9, 0.95], "optimizer": "lars"}, r"betas \[0\.9, 0\.95\] go with optimizer adamw, not lars; leave them out"),
     ({"betas": [0.9, 0.95], "optimizer": "sgd"}, r"betas \[0\.9, 0\.95\] go with optimizer adamw, not sgd"),
     ({"stored_size": 16}, "stored_size 16 is less than image_size 32"),
     ({"method": "simcrl"}, "method 'simcrl' is not known; did you mean 'simclr'"),
     ({"options": {"temprature": 1}}, "unknown option 'temprature'; did you mean 'temperature'"),
     ({"epochs": True}, "option 'epochs': expected a whole number, not true or false"),
     ({"weights": [1, 2]}, r"weights \(1.0, 2.0\) must be 1 number above 0"),
     ({"data": {"x": "y"}}, "expected a list of specs"),
     ({"data": ["x=/nowhere"]}, "/nowhere does not exist"),
     ({"epoch": 3}, "unknown option 'epoch'; did you mean 'epochs'")],
)  # fmt: skip
def test_errors(tmp_path, two_domains, changes, message):
    with pytest.raises(FeaturespaceError, match=message):
        pretrain(config(tmp_path, two_domains[0], **changes))
    assert not (tmp_path / "out" / "checkpoint.safetensors").exists()


@pytest.mark.parametrize(
    ("labels", "message"),
    [("one", "needs images of two classes at least; found 1 class in x="), ([None, "a", "b"] * 24, "needs a label for every image; 12 have none")],
)  # fmt: skip
def test_supervised_needs_labels(tmp_path, two_domains, labels, message):
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    table.assign(label=labels).to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(FeaturespaceError, match=message):
        pretrain(config(tmp_path, tmp_path / "m.csv", method="supervised"))


def test_a_broken_image_is_named(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    (tmp_path / "bad.png").write_bytes(b"broken")
    table.loc[3, "path"] = str(tmp_path / "bad.png")
    table.assign(split="train").to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(
        FeaturespaceError, match="data set 'x': .*bad.png.*; take the image out of the folder or manifest"
    ):
        pretrain(config(tmp_path, tmp_path / "m.csv"))


def test_out_of_memory_says_what_to_lower(tmp_path, two_domains, monkeypatch):
    def full(self, batch, rng):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(methods.find("simclr"), "loss", full)
    with pytest.raises(FeaturespaceError, match="out of memory with 16 images at a time on a device; raise accumulate"):
        pretrain(config(tmp_path, two_domains[0]))


@pytest.mark.parametrize(
    ("module", "changes", "message"),
    [("lightly.loss", {}, r"this method needs lightly, which is not installed; run: pip install 'featurespace\[train\]'"),
     ("lightly.utils.lars", {"optimizer": "lars", "method": "supervised"}, "optimizer lars needs lightly")],
)  # fmt: skip
def test_without_the_extra(tmp_path, two_domains, monkeypatch, module, changes, message):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(FeaturespaceError, match=message):
        pretrain(config(tmp_path, two_domains[0], **changes))


def test_without_tensorboard(tmp_path, two_domains, monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(FeaturespaceError, match="logger tensorboard needs tensorboard, which is not installed"):
        pretrain(config(tmp_path, two_domains[0], loggers=["tensorboard"]))


def test_loggers_of_lightning_by_name(tmp_path, two_domains, monkeypatch):
    from pytorch_lightning import loggers

    rows = []

    class Fake(loggers.CSVLogger):
        def __init__(self, save_dir):
            super().__init__(save_dir)

        def log_metrics(self, metrics, step=None):
            rows.append((step, metrics))

    monkeypatch.setattr(loggers, "WandbLogger", Fake)
    pretrain(config(tmp_path, two_domains[0], loggers=["wandb"]))
    assert [step for step, _ in rows] == [3, 6] and {"loss", "effective_rank", "knn_accuracy"} <= set(rows[0][1])


def test_a_logger_that_is_not_installed(tmp_path, two_domains):
    with pytest.raises(FeaturespaceError, match="logger mlflow cannot be used .*; install mlflow, or leave it out"):
        pretrain(config(tmp_path, two_domains[0], loggers=["mlflow"]))


def test_another_number_of_processes_than_said(tmp_path, two_domains):
    with pytest.raises(
        FeaturespaceError, match="devices x nodes is 2 and 1 process runs; start with torchrun --nnodes=1 --nproc"
    ):
        pretrain(config(tmp_path, two_domains[0], devices=2))


def test_the_command(tmp_path, two_domains):
    file = tmp_path / "c.yaml"
    file.write_text(
        f"model: test_resnet\ndata: [x={two_domains[0]}]\nout: {tmp_path / 'out'}\nimage_size: 32\nepochs: 1\n"
    )
    plan = CliRunner().invoke(app, ["train", "pretrain", str(file), "--set", "batch_size=16", "--dry-run"])
    assert plan.exit_code == 0 and "48 images, 1 epoch of 3 steps" in plan.output and not (tmp_path / "out").exists()
    run = CliRunner().invoke(
        app, ["train", "pretrain", str(file), "--set", "batch_size=16", "--set", "device=cpu", "-q"]
    )
    assert run.exit_code == 0 and run.output.strip().endswith("checkpoint.safetensors")
    assert (tmp_path / "out" / "tensorboard").is_dir()
    wrong = CliRunner().invoke(app, ["train", "pretrain", str(file), "--set", "batchsize=16"])
    assert isinstance(wrong.exception, FeaturespaceError) and "did you mean 'batch_size'" in str(wrong.exception)
    file.write_text("model: a\nmodel: b\n")
    twice = CliRunner().invoke(app, ["train", "pretrain", str(file)])
    assert "key 'model' stands twice" in str(twice.exception)


def launch(settings, tmp_path, processes):
    from featurespace.yaml_files import to_yaml

    file = tmp_path / f"{settings.out.name}.yaml"
    file.write_text(to_yaml(settings))
    start = (
        [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        if processes > 1
        else [sys.executable]
    )
    command = [*start, "-m", "featurespace", "train", "pretrain", str(file), "-q"]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300)
    return settings.out


@pytest.mark.slow
@pytest.mark.parametrize("method", methods.names())
def test_two_processes_train_as_one(tmp_path, two_domains, method):
    # Nothing with BatchNorm, whose statistics are synchronised on GPUs only; sgd, because adamw divides rounding by rounding.
    own = {"simclr": {"batch_norm": False}, "mae": FITTING["mae"]["options"]}.get(method, {})
    options = {"model": "test_vit", "method": method, "epochs": 2, "optimizer": "sgd", "learning_rate": 0.05, "online_every": 0,
               "image_size": 160, "batch_size": 8, "cache": "disk", "options": own}  # fmt: skip
    one = launch(config(tmp_path, two_domains[0], out=tmp_path / "one", **options), tmp_path, 1)
    two = launch(config(tmp_path, two_domains[0], out=tmp_path / "two", devices=2, **options), tmp_path, 2)
    losses = [pd.read_csv(each / "curves.csv")["loss"].to_numpy() for each in (one, two)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    first, second = (
        load_model(parse_model_spec(str(each / "checkpoint.safetensors"))).network.state_dict() for each in (one, two)
    )
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], atol=1e-4, rtol=1e-3, msg=name)


def test_a_data_set_without_training_images(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0]).assign(split="test")
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    table.to_csv(tmp_path / "m.csv", index=False)
    with pytest.raises(FeaturespaceError, match="data set 'x' has no image whose split is train, or has none"):
        pretrain(config(tmp_path, tmp_path / "m.csv"))


@pytest.mark.parametrize(
    ("free_memory", "free_disk", "place"), [(1e9, 0, "memory"), (1e3, 1e9, "disk"), (1e3, 1e3, "none")]
)
def test_decoded_images_go_where_there_is_room(tmp_path, two_domains, monkeypatch, free_memory, free_disk, place):
    from types import SimpleNamespace

    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=free_memory))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=free_disk))
    assert plan_pretraining(config(tmp_path, two_domains[0])).kept == place


def test_a_deep_image_among_shallow_ones(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0]).assign(split="train")
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    deep = tmp_path / "deep.png"
    Image.fromarray(np.full((32, 32), 40_000, np.uint16)).save(deep)
    for row, fails in ((5, True), (0, False)):
        changed = table.copy()
        changed.loc[row, "path"] = str(deep)
        changed.to_csv(tmp_path / "m.csv", index=False)
        settings = config(tmp_path, tmp_path / "m.csv", out=tmp_path / str(row), epochs=1)
        if fails:
            with pytest.raises(
                FeaturespaceError,
                match="image .*deep.png.* has more than 8 bits and the first one has 8; list a deeper one first",
            ):
                pretrain(settings)
        else:
            pretrain(settings)


def test_a_collapsed_embedding_has_no_rank_and_no_neighbours(tmp_path, two_domains, monkeypatch):
    monkeypatch.setattr(methods.find("simclr"), "embed", lambda self, images: torch.zeros(len(images), 8))
    settings = config(tmp_path, two_domains[0], epochs=1)
    pretrain(settings)
    assert list(pd.read_csv(settings.out / "curves.csv")) == ["epoch", "step", "loss", "learning_rate"]


def test_images_without_labels_have_a_rank_only(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0]).drop(columns="label")
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    table.to_csv(tmp_path / "m.csv", index=False)
    settings = config(tmp_path, tmp_path / "m.csv", epochs=1)
    pretrain(settings)
    curves = pd.read_csv(settings.out / "curves.csv")
    assert curves["effective_rank"].iloc[0] > 1 and "knn_accuracy" not in curves


def test_a_second_process_in_the_directory_is_told(tmp_path, two_domains):
    from featurespace.locking import locked

    settings = config(tmp_path, two_domains[0])
    with (
        locked(settings.out, settings.out / "config.yaml"),
        pytest.raises(FeaturespaceError, match="another process is working in"),
    ):
        pretrain(settings)
