"""Segmentation networks: their encoder as a timm network, and by name the decoder too."""

import sys
from dataclasses import replace

import pytest
import timm
import torch
from models.laid_out import assert_same, images, lively, load, slow

from featurespace.errors import FeaturespaceError
from featurespace.models import build_classifier, capture, select_layers, untrained_control, write_checkpoint
from featurespace.models.segmentation import build_unet, unet_state

smp = pytest.importorskip("segmentation_models_pytorch")


def written(tmp_path, kind, encoder, **options):
    network = lively(getattr(smp, kind)(encoder, encoder_weights=None, classes=2, **options))
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "x.ckpt")
    return network, tmp_path / "x.ckpt"


@pytest.mark.parametrize(
    ("kind", "encoder", "arch"),
    [
        ("Unet", "resnet18", "resnet18"), slow("FPN", "resnet18", "resnet18"), slow("Unet", "tu-resnet18", "resnet18"),
        slow("Unet", "densenet121", "densenet121"), ("Unet", "efficientnet-b0", "tf_efficientnet_b0"),
        slow("UnetPlusPlus", "mobilenet_v2", "mobilenetv2_100"),
    ],
)  # fmt: skip
def test_the_encoder_alone(tmp_path, kind, encoder, arch):
    network, file = written(tmp_path, kind, encoder)
    model = load(f"{arch}@{file}")
    assert model.match.share_of_tensors == 1
    assert any("decoder." in entry.source for entry in model.match.unexpected)
    assert {name.split(".")[1] for name in model.match.ignored_head} <= {"segmentation_head"}
    with torch.no_grad():
        theirs = network.encoder(images(64))[-1]
        if encoder == "efficientnet-b0":  # whose last convolution the decoder does not see
            got = model.network.forward_intermediates(images(64), intermediates_only=True)[-1]
        else:
            got = model.network.forward_features(images(64))
        assert_same(got.mean((2, 3)), (theirs.relu() if encoder == "densenet121" else theirs).mean((2, 3)))


def test_flattened_stages_of_an_encoder(tmp_path):
    network, file = written(tmp_path, "Unet", "tu-convnext_atto")
    model = load(f"convnext_atto@{file}")
    assert model.match.layout == "segmentation_models_pytorch"
    assert [entry.target for entry in model.match.missing] == ["head.norm.weight", "head.norm.bias"]
    with torch.no_grad():
        got = model.network.forward_features(images(64)).mean((2, 3))
        assert_same(got, network.encoder(images(64))[-1].mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "encoder"),
    [
        ("Unet", "resnet18"),
        slow("FPN", "resnet18"),
        ("DeepLabV3Plus", "resnet18"),
        slow("Unet", "efficientnet-b0"),
        slow("Linknet", "tu-resnet18"),
    ],
)
def test_the_decoder_by_name(tmp_path, kind, encoder):
    network, file = written(tmp_path, kind, encoder)
    model = load(f"{kind}=smp/{kind}-{encoder}@{file}")
    assert (model.arch, model.match.share_of_tensors) == (f"smp/{kind}-{encoder}", 1)
    assert model.match.layout == "segmentation_models_pytorch" and not model.match.unexpected
    assert all("segmentation_head" in name for name in model.match.ignored_head)
    with torch.no_grad():
        expected = network.decoder(network.encoder(images(64)))
        assert_same(model.network(images(64)), expected.mean((2, 3)))


def test_layers_of_a_decoder_are_seen_as_in_the_whole_network(tmp_path):
    network, file = written(tmp_path, "Unet", "resnet18")
    model = load(f"smp/Unet-resnet18@{file}")
    seen = {}
    for index, block in enumerate(network.decoder.blocks):
        block.register_forward_hook(
            lambda module, inputs, output, index=index: seen.update({index: output.mean((2, 3))})
        )
    layers = select_layers(model.network, "decoder.blocks.*", images(64))
    blocks = [layer for layer in layers if layer.name.count(".") == 2]
    assert [layer.name for layer in blocks] == [f"decoder.blocks.{index}" for index in range(5)]
    with torch.no_grad(), capture(model.network, blocks) as captured:
        network(images(64))
        model.network(images(64))
        for index, layer in enumerate(blocks):
            assert_same(captured.features[layer.name], seen[index])
    names = [layer.name for layer in select_layers(model.network, "blocks", images(64))]
    assert {"encoder.layer4.1", "decoder.blocks.4", "pooled"} <= set(names)


def test_a_grey_segmentation_network_and_its_control(tmp_path):
    network, file = written(tmp_path, "Unet", "resnet18", in_channels=1)
    model = load(f"smp/Unet-resnet18@{file}")
    assert model.preprocessing.input_size == (1, 224, 224)
    with torch.no_grad():
        expected = network.decoder(network.encoder(images(64, 1))).mean((2, 3))
        assert_same(model.network(images(64, 1)), expected)
    control = untrained_control(model, seed=0)
    assert control.arch == model.arch and control.weights_hash != model.weights_hash


@pytest.mark.parametrize("arch", ["test_resnet", slow("convnext_atto")])
def test_a_unet_that_featurespace_wrote_by_its_decoder(tmp_path, arch):
    torch.save(lively(timm.create_model(arch)).state_dict(), tmp_path / "start.pt")
    start = load(f"{arch}@{tmp_path / 'start.pt'}")
    network = lively(build_unet(start, 3, seed=0))
    manifest = dict.fromkeys(("config", "data_hash", "parent", "metrics"), None)
    manifest |= {"arch": arch, "num_classes": 0, "featurespace_version": "0", "input_size": [3, 64, 64],
                 "mean": [0.1] * 3, "std": [0.2] * 3}  # fmt: skip
    file = write_checkpoint(tmp_path / "own.safetensors", unet_state(network, start), manifest)
    model = load(f"smp/Unet-tu-{arch}@{file}")
    assert model.match.layout == "featurespace U-Net" and model.match.share_of_tensors == 1
    with torch.no_grad():
        expected = network.decoder(network.encoder(images(64))).mean((2, 3))
        assert_same(model.network(images(64)), expected)


def test_deeplab_s_wider_convolutions_are_said(tmp_path):
    _, file = written(tmp_path, "DeepLabV3Plus", "resnet18")
    assert "DeepLab widens the last convolutions" in load(f"resnet18@{file}").match.summary()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("smp/Unett-resnet18@random", "kind of segmentation network 'Unett' is not known.*did you mean 'Unet'"),
        ("smp/Unet-resnet18:pretrained", "has no weights of its own; write smp/Unet-resnet18@FILE"),
        ("smp/Unet@random", "write smp/KIND-ENCODER, as in smp/Unet-resnet18"),
        ("smp/Unet-resnet81@random", "encoder 'resnet81' is not known.*did you mean 'resnet18'.*as tu-NAME"),
        (
            "smp/Unet-tu-vit_tiny_patch16_224@random",
            "Unet of segmentation-models-pytorch cannot be built over tu-vit_tiny",
        ),
    ],
)
def test_unknown_segmentation_networks(text, message):
    with pytest.raises(FeaturespaceError, match=message):
        load(text)


def test_without_its_package_a_segmentation_network_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    message = r"smp/Unet-resnet18 needs segmentation-models-pytorch, which is not installed; run: .*\[train\]"
    with pytest.raises(FeaturespaceError, match=message):
        load("smp/Unet-resnet18@random")


def test_a_segmentation_network_takes_no_classifier():
    with pytest.raises(FeaturespaceError, match="takes no classifier; name the network of its encoder"):
        build_classifier(load("smp/Unet-resnet18@random"), 2)


def test_options_that_no_unet_can_have(tmp_path):
    model = replace(load("efficientnet_b0@random"), options={"pad_type": "same"})
    with pytest.raises(FeaturespaceError, match="built with pad_type='same', of which no U-Net can be built"):
        build_unet(model, 2)
