"""Two steps of every method on the architectures that people use, at sizes they allow."""

import math

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.training import methods
from featurespace.training.pretrain import pretrain
from featurespace.training.settings import PretrainConfig
from featurespace.yaml_files import checked

SIZES = {"resnet18": 32, "resnet50": 32, "convnext_tiny": 32, "mobilenetv3_large_100": 32, "vit_small_patch16_224": 64}
CASES = [(method, arch, "fp32") for method in methods.names() for arch in SIZES if method != "mae" or arch.startswith("vit")]  # fmt: skip
CASES += [("simclr", "resnet18", "bf16"), ("mae", "vit_small_patch16_224", "bf16")]
SLOW = {"resnet50", "convnext_tiny", "mobilenetv3_large_100"}


@pytest.fixture(scope="module")
def four(tmp_path_factory, two_domains):
    """Return a manifest of four images of two classes."""
    table = pd.read_csv(two_domains[0])
    table["path"] = [str(two_domains[0].parent / each) for each in table["path"]]
    file = tmp_path_factory.mktemp("four") / "m.csv"
    table[table["split"] == "train"].groupby("label").head(2).iloc[:4].to_csv(file, index=False)
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
