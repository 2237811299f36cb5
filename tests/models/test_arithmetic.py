"""What no tensor tells: built as the layout's library computes, kept by what is made from it, and said where it is open."""

import json

import pytest
import timm
import torch
import torchvision
from models.laid_out import assert_same, images, lively, load, slow

from featurespace.features.extract import ExtractOptions, store_key
from featurespace.models import build_classifier, untrained_control, write_checkpoint
from featurespace.models.networks import remove_classifier
from featurespace.training.pretrain import _manifest
from featurespace.training.settings import PretrainConfig


def epsilons(network):
    return {module.eps for module in network.modules() if hasattr(module, "eps")}


@pytest.fixture(scope="module")
def mobilenet(tmp_path_factory):
    """torchvision's MobileNet V3, which has another epsilon than timm's and the same tensors."""
    network = lively(torchvision.models.mobilenet_v3_small())
    file = tmp_path_factory.mktemp("mobilenet") / "x.pth"
    torch.save(network.state_dict(), file)
    remove_classifier(network)
    return network, load(f"mobilenetv3_small_100@{file}")


def test_the_epsilon_goes_along_with_what_is_made_of_a_model(mobilenet, tmp_path):
    network, model = mobilenet
    assert model.options == {"norm_eps": {"": 1e-3}}
    assert epsilons(untrained_control(model, seed=0).network) == {1e-3}
    assert epsilons(build_classifier(model, 3).network) == {1e-3}
    manifest = _manifest(
        PretrainConfig(model="mobilenetv3_small_100@x", data=["a=b"], out="o", method="simclr"), model, [], {}
    )
    file = write_checkpoint(tmp_path / "own.safetensors", model.network.state_dict(), manifest)
    own = load(file)
    assert json.loads((tmp_path / "own.json").read_text())["options"] == {"norm_eps": {"": 0.001}}
    assert own.match.layout == "featurespace" and own.options == model.options
    with torch.no_grad():
        assert_same(own.network(images(64)), network(images(64)))


def test_stored_features_of_the_same_weights_built_otherwise_are_others(mobilenet, tmp_path):
    _, model = mobilenet
    torch.save(model.network.state_dict(), tmp_path / "x.pt")
    plain = load(f"mobilenetv3_small_100@{tmp_path / 'x.pt'}")
    assert plain.weights_hash == model.weights_hash and plain.options == {}
    keys = [store_key(each, "data", ["pooled"], ExtractOptions()) for each in (plain, model)]
    assert keys[0] != keys[1] and "built" not in keys[0]


def test_efficientnet_pytorch_in_timm_s_own_variant_pads_as_it_did(tmp_path):
    """In tf_efficientnet_b0 and in efficientnet_b0 it gives the same features."""
    network = lively(timm.create_model("tf_efficientnet_b0", num_classes=0))
    torch.save(lukemelas(network.state_dict()), tmp_path / "x.pth")
    for arch in ("tf_efficientnet_b0", "efficientnet_b0"):
        model = load(f"{arch}@{tmp_path / 'x.pth'}")
        assert model.match.layout == "efficientnet_pytorch"
        assert ("padded as TensorFlow does" in model.match.summary()) == (arch == "efficientnet_b0")
        with torch.no_grad():
            assert_same(model.network(images(63)), network(images(63)))


def lukemelas(state):
    """efficientnet_pytorch's names: blocks numbered through, no expansion in the first."""
    blocks = list(dict.fromkeys(".".join(name.split(".")[:3]) for name in state if name.startswith("blocks.")))
    top = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}
    renamed = {}
    for name, value in state.items():
        first, _, rest = name.partition(".")
        if first in top:
            renamed[f"{top[first]}.{rest}"] = value
            continue
        block = ".".join(name.split(".")[:3])
        expanded = f"{block}.conv_pwl.weight" in state
        inner = {"conv_dw": "_depthwise_conv", "se.conv_reduce": "_se_reduce", "se.conv_expand": "_se_expand"}
        inner |= {"conv_pw": "_expand_conv", "conv_pwl": "_project_conv", "bn1": "_bn0", "bn2": "_bn1", "bn3": "_bn2"} if expanded \
            else {"conv_pw": "_project_conv", "bn1": "_bn1", "bn2": "_bn2"}  # fmt: skip
        part, kind = name[len(block) + 1 :].rsplit(".", 1)
        renamed[f"_blocks.{blocks.index(block)}.{inner[part]}.{kind}"] = value
    return renamed


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        slow("efficientnet_b0", "tf_efficientnet_b0 has the same tensors and computes otherwise (TensorFlow's padding"),
        ("tf_efficientnet_b0", "efficientnet_b0 has the same tensors and computes otherwise (symmetric padding"),
        ("tf_efficientnet_lite0", "efficientnet_lite0 has the same tensors"),
        ("resnet50", "strides in its 3x3 convolutions (v1.5)"),
        ("resnet18", ""),
        slow("inception_v3", "whether pixels were scaled to -1..1"),
        ("vit_tiny_patch16_224", ""),
        slow("resnet50.a1_in1k", "strides in its 3x3 convolutions (v1.5)"),
    ],
)
def test_what_a_file_of_timm_s_names_leaves_open(tmp_path, arch, said):
    torch.save(timm.create_model(arch.split(".")[0], num_classes=0).state_dict(), tmp_path / "x.pt")
    model = load(f"{arch}@{tmp_path / 'x.pt'}")
    assert model.match.layout == "timm" and model.options == {}
    notes = "; ".join(model.match.notes)
    assert said in notes and bool(notes) == bool(said)


@pytest.mark.parametrize(
    ("prefix", "nested"),
    [
        ("", False),
        ("unet.backbone.", True),
        slow("", True),
        slow("encoder.", False),
        slow("encoder.", True),
        slow("unet.backbone.", False),
    ],
)
def test_files_of_the_published_study(tmp_path, nested, prefix):
    """encoder_pretrained.tar has torchvision's names; finetuned_model.tar has them behind encoder. or unet.backbone."""
    network = lively(torchvision.models.resnet18())
    state = {prefix + name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}
    if prefix:
        state |= {
            "fc.weight": torch.ones(4, 512),
            "fc.bias": torch.ones(4),
            "unet.decoder.0.weight": torch.ones(3, 3, 1, 1),
        }
    torch.save({"state_dict": state, "epoch": 3} if nested else state, tmp_path / "model.tar")
    model = load(f"resnet18@{tmp_path / 'model.tar'}")
    network.fc = torch.nn.Identity()
    assert model.match.share_of_tensors == 1 and model.match.prefix == prefix
    with torch.no_grad():
        assert_same(model.network(images(32)), network(images(32)))
