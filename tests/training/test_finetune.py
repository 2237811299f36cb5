import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from featurespace.errors import FeaturespaceError
from featurespace.models.checkpoint import read_manifest
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.progress import Progress
from featurespace.training.finetune import FinetuneConfig, finetune


def config(tmp_path, data, **changes):
    values = {"model": "start=test_resnet@random", "data": f"x={data}", "out": tmp_path / "tuned.safetensors", "image_size": 32, "batch_size": 16,
              "epochs": 12, "learning_rate": 3e-3, "device": "cpu"}  # fmt: skip
    return FinetuneConfig(**{**values, **changes})


def test_it_learns_and_writes_a_checkpoint_that_loads(tmp_path, two_domains):
    progress = Progress()
    path = finetune(config(tmp_path, two_domains[0]), progress=progress)
    manifest = read_manifest(path)
    assert manifest["arch"] == "test_resnet" and manifest["classes"] == ["class0", "class1", "class2"]
    assert manifest["metrics"]["test_accuracy"] > 0.7 and manifest["metrics"]["n_test"] == 24
    assert manifest["parent"]["spec"] == "start=test_resnet@random" and manifest["input_size"] == [3, 32, 32]
    model = load_model(parse_model_spec(str(path)))
    assert model.arch == "test_resnet" and model.preprocessing.input_size == (3, 32, 32)
    assert model.weights_hash != manifest["parent"]["weights_sha256"]
    assert "test accuracy" in progress.messages[-1]


def test_the_same_seed_gives_the_same_weights(tmp_path, two_domains):
    hashes = []
    for index, seed in enumerate((0, 0, 1)):
        path = finetune(config(tmp_path, two_domains[0], out=tmp_path / f"{index}.safetensors", epochs=1, seed=seed))
        hashes.append(load_model(parse_model_spec(str(path))).weights_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_the_global_random_state_is_left_alone(tmp_path, two_domains):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    finetune(config(tmp_path, two_domains[0], epochs=1))
    np.testing.assert_array_equal(torch.rand(3), expected)


def test_shuffled_labels_fall_to_chance(tmp_path, two_domains):
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    table["label"] = np.random.default_rng(0).permutation(table["label"])
    table.to_csv(tmp_path / "m.csv", index=False)
    manifest = read_manifest(finetune(config(tmp_path, tmp_path / "m.csv")))
    assert manifest["metrics"]["test_accuracy"] < 1 / 3 + 3 * np.sqrt(2 / 9 / 24)


def relabelled(tmp_path, two_domains, labels):
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    if labels is None:
        table = table.drop(columns="label")
    else:
        table["label"] = labels
    table.to_csv(tmp_path / "m.csv", index=False)
    return tmp_path / "m.csv"


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [(None, {}, "has no labels; finetuning needs class folders"), ("one", {}, "all training images are 'one'; two classes"),
     (["a", "b"] * 36, {"batch_size": 64}, "48 training images, fewer than a batch of 64; lower batch_size"),
     (["a", "b"] * 36, {"learning_rate": 1e30}, "the loss is nan at step .* with learning rate 1e\\+30; lower it"),
     (["a", "b"] * 36, {"model": "nosuchnet@random"}, "architecture 'nosuchnet' is not known")],
)  # fmt: skip
def test_errors(tmp_path, two_domains, labels, changes, message):
    with pytest.raises(FeaturespaceError, match=message):
        finetune(config(tmp_path, relabelled(tmp_path, two_domains, labels), **changes))
    assert not (tmp_path / "tuned.safetensors").exists()


def test_a_bad_option_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="epochs"):
        config(tmp_path, "x", epochs=0)
