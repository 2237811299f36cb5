"""Two steps of every method, and one of finetuning, on the architectures that people use, at sizes they allow."""

import math

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.training import methods
from featurespace.training.finetune import finetune
from featurespace.training.pretrain import pretrain
from featurespace.training.settings import FinetuneConfig, PretrainConfig
from featurespace.yaml_files import checked

SIZES = {"resnet18": 32, "resnet50": 32, "convnext_tiny": 32, "mobilenetv3_large_100": 32, "vit_small_patch16_224": 64}
CASES = [(method, arch, "fp32") for method in methods.names() for arch in SIZES if method != "mae" or arch.startswith("vit")]  # fmt: skip
CASES += [("simclr", "resnet18", "bf16"), ("mae", "vit_small_patch16_224", "bf16")]
SLOW = {"resnet50", "convnext_tiny", "mobilenetv3_large_100"}


@pytest.fixture(scope="module")
def four(tmp_path_factory, two_domains):
    """Return a manifest of four training images of two classes, and two test images."""
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    file = tmp_path_factory.mktemp("four") / "m.csv"
    train, test = (
        table[table["split"] == split].groupby("label").head(count) for split, count in (("train", 2), ("test", 1))
    )
    pd.concat([train.iloc[:4], test.iloc[:2]]).to_csv(file, index=False)
    return file


@pytest.mark.parametrize(
    ("method", "arch", "precision"),
    [pytest.param(*case, marks=pytest.mark.slow if case[1] in SLOW else ()) for case in CASES],
)
def test_two_steps(tmp_path, four, method, arch, precision):
    options = {"decoder_width": 64, "decoder_depth": 2, "decoder_heads": 4} if method == "mae" else {}
    settings = checked(PretrainConfig, {
        "model": arch, "method": method, "data": [f"x={four}"], "out": tmp_path / "out", "image_size": SIZES[arch],
        "batch_size": 4, "epochs": 2, "optimizer": "sgd", "learning_rate": 1e-2, "weight_decay": 0.0, "device": "cpu",
        "precision": precision, "loggers": (), "online_every": 0, "options": options,
    })  # fmt: skip
    after = load_file(pretrain(settings))
    assert math.isfinite(pd.read_csv(settings.out / "curves.csv")["loss"].iloc[0])
    before = load_model(parse_model_spec(arch, bare=True), image_size=SIZES[arch]).network
    assert all(
        value.isfinite().all() and value.dtype == before.state_dict()[name].dtype for name, value in after.items()
    )
    unmoved = [name for name, value in before.named_parameters() if torch.equal(after[name], value.detach())]
    # Every matrix has moved, in residual branches that begin at zero in the second step; a few vectors may not, such as biases that the softmax of attention cancels.
    assert not [name for name in unmoved if before.get_parameter(name).ndim > 1], unmoved[:5]


@pytest.mark.parametrize(
    "arch", [pytest.param(arch, marks=[pytest.mark.slow] * (arch in ("convnext_tiny", "resnet50"))) for arch in SIZES]
)
def test_pretrained_then_finetuned_then_loaded_for_an_analysis(tmp_path, four, arch):
    size = SIZES[arch]
    shared = {
        "image_size": size,
        "batch_size": 4,
        "epochs": 1,
        "optimizer": "sgd",
        "learning_rate": 1e-2,
        "device": "cpu",
        "loggers": (),
    }
    first = {"model": arch, "data": [f"x={four}"], "out": tmp_path / "a", "online_every": 0}
    pretrained = pretrain(checked(PretrainConfig, shared | first))
    tuned = finetune(
        checked(FinetuneConfig, shared | {"model": str(pretrained), "data": f"x={four}", "out": tmp_path / "b"})
    )
    before, after = (load_model(parse_model_spec(str(each))) for each in (pretrained, tuned))
    assert after.manifest["parent"]["weights_sha256"] == before.weights_hash != after.weights_hash
    assert after.manifest["metrics"]["n_train"] == 4 and after.manifest["metrics"]["n_test"] == 2
    for model in (before, after):
        assert model.arch == arch and model.preprocessing.input_size == (3, size, size)
        assert model.match.share_of_tensors == 1
        with torch.no_grad():
            assert model.network(torch.rand(2, 3, size, size)).isfinite().all()
