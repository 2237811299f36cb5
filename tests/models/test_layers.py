import functools

import pytest
import timm
import torch
from torch import nn

from featurespace.errors import FeaturespaceError
from featurespace.models import capture, select_layers, trace_layers
from featurespace.models.layers import feature_kind
from featurespace.models.networks import create_network, remove_classifier


@functools.cache
def backbone(arch):
    if arch == "swin":
        return timm.models.SwinTransformer(
            img_size=56, embed_dim=16, depths=(2, 2), num_heads=(1, 2), num_classes=0
        ).eval()
    network = create_network(arch)
    remove_classifier(network)
    return network


def images(side):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


class Odd(nn.Module):
    """Calls one module twice, returns tuples and dicts, leaves one module out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pair = Pair()
        self.table = Table()
        self.unused = nn.Linear(2, 2)
        self.count = Count()
        self.windows = Windows()

    def forward(self, x):
        x = self.relu(self.conv(x))
        _, x = self.pair(x)
        x = self.relu(self.table(x)["deep"]["feature"])
        self.count(x)
        self.windows(x)
        return x.mean(dim=(2, 3))


class Pair(nn.Module):
    def forward(self, x):
        return torch.zeros(2, dtype=torch.long), x - 0.5


class Table(nn.Module):
    def forward(self, x):
        return {"none": None, "deep": {"feature": x[:, :4] - 0.1}}


class Count(nn.Module):
    def forward(self, x):
        return len(x)


class Windows(nn.Module):
    def forward(self, x):
        return x.reshape(8, 4, 4, 4)


@pytest.mark.parametrize(
    ("arch", "side", "count", "stem", "last"),
    [
        ("resnet18", 32, 10, "maxpool", "layer4.1"),
        ("resnet50", 32, 18, "maxpool", "layer4.2"),
        ("tf_efficientnet_lite1", 32, 23, "bn1", "blocks.6.0"),
        ("tf_efficientnetv2_s", 32, 42, "bn1", "blocks.5.14"),
        ("mobilenetv3_large_100", 32, 18, "bn1", "blocks.6.0"),
        ("convnext_tiny", 32, 20, "stem", "stages.3.blocks.2"),
        ("regnety_002", 32, 15, "stem", "s4.b7"),
        ("densenet121", 32, 60, "features.pool0", "features.denseblock4.denselayer16"),
        ("vit_small_patch16_224", 224, 14, "pos_drop", "blocks.11"),
        ("swin", 56, 6, "patch_embed", "layers.1.blocks.1"),
        ("mobilevit_xxs", 64, 12, "stem", "stages.4.1"),
        ("test_maxvit", 160, None, "stem", None),
        ("fastvit_t8", 64, 12, "stem", "stages.3.blocks.1"),
        ("torchvision/resnet18", 32, 10, "maxpool", "layer4.1"),
        ("torchvision/efficientnet_b0", 32, 18, "features.0", "features.7.0"),
    ],
)
def test_blocks(arch, side, count, stem, last):
    layers = select_layers(backbone(arch), "blocks", images(side))
    names = [layer.name for layer in layers]
    assert count is None or len(names) == count
    assert names[0] == stem and names[-1] == "pooled"
    assert last is None or names[-2] == last
    assert all(layer.kind != "other" for layer in layers)


@pytest.mark.parametrize("arch", [pytest.param("torchvision/vgg11", marks=pytest.mark.slow), "vgg11"])
def test_networks_without_blocks_fall_back_to_stages(arch):
    layers = select_layers(backbone(arch), "blocks", images(32))
    assert [layer.name for layer in layers][:2] == ["features.1", "features.4"] and len(layers) == 7


@pytest.mark.parametrize(
    ("arch", "side", "count"),
    [
        ("resnet18", 32, 5),
        ("resnet50", 32, 5),
        ("tf_efficientnet_lite1", 32, 5),
        ("regnety_002", 32, 5),
        ("convnext_tiny", 32, 4),
        ("densenet121", 32, 5),
        ("test_vit", 160, 6),
        ("swin", 56, 2),
        ("test_coatnet", 160, None),
        ("test_byobnet", 64, None),
    ],
)
def test_stages_are_the_tensors_of_forward_intermediates(arch, side, count):
    network, example = backbone(arch), images(side)
    with torch.no_grad():
        expected = [t.clone() for t in network.forward_intermediates(example, intermediates_only=True)]
        layers = select_layers(network, "stages", example)
        with capture(network, layers, pool="avg") as captured:
            output = network(example)
    assert layers[-1].name == "pooled" and len(layers) == len(expected) + 1
    assert count is None or len(expected) == count
    for layer, tensor in zip(layers[:-1], expected):
        torch.testing.assert_close(captured.features[layer.name], tensor.mean(dim=(2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(captured.features["pooled"], output, rtol=0, atol=0)


def test_stage_names_are_the_stages_even_where_blocks_start_as_identities():
    names = [layer.name for layer in select_layers(backbone("resnet18"), "stages", images(32))]
    assert names == ["act1", "layer1", "layer2", "layer3", "layer4", "pooled"]
    names = [layer.name for layer in select_layers(backbone("torchvision/resnet18"), "stages", images(64))]
    assert names == ["relu", "layer1", "layer2", "layer3", "layer4", "pooled"]


def test_a_network_without_stages_says_which_parts_it_has():
    with pytest.raises(FeaturespaceError, match="VisionTransformer has no stages .* its parts are conv_proj, encoder"):
        select_layers(backbone("torchvision/vit_b_32"), "stages", images(224))
    with pytest.raises(FeaturespaceError, match="Sequential has no stages .* its parts are 1"):
        select_layers(nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), "blocks", images(8))
    with pytest.raises(FeaturespaceError, match="crossvit_tiny_240 has no stages .* its parts are patch_embed, blocks"):
        select_layers(backbone("crossvit_tiny_240"), "stages", images(240))  # whose tensors are no module's output


def test_a_network_whose_stages_cannot_be_had_says_which_parts_it_has():
    class Planned(nn.Sequential):
        def forward_intermediates(self, x, **options):
            raise NotImplementedError

    network = Planned(nn.Conv2d(3, 4, 3), nn.Flatten())
    with pytest.raises(FeaturespaceError, match="Planned has no stages .* name layers instead: its parts are 0, and"):
        select_layers(network, "stages", images(8))


def test_calls_are_traced_in_order_with_all_shapes():
    calls = trace_layers(Odd(), images(8))
    assert [(call.name, call.call) for call in calls] == [
        ("conv", 0), ("relu", 0), ("pair", 0), ("table", 0), ("relu", 1), ("count", 0), ("windows", 0), ("", 0),
    ]  # fmt: skip
    shapes = {(call.name, call.call): call.shapes for call in calls}
    assert shapes["pair", 0] == ((2, 8, 8, 8),) and shapes["relu", 1] == ((2, 4, 8, 8),) and shapes["count", 0] == ()
    assert calls[0].class_name == "Conv2d"


def test_tracing_leaves_the_network_as_it_was():
    network = create_network("test_resnet").train()
    network.bn1.eval() if hasattr(network, "bn1") else None
    modes = [module.training for module in network.modules()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trace_layers(network, images(32))
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks for module in network.modules())


def test_shares_of_the_depth_are_blocks_of_networks_of_any_depth():
    names = [layer.name for layer in select_layers(backbone("test_resnet"), "blocks", images(32))]
    for share, place in ((0, 0), (100, -1), (50, len(names) // 2)):
        assert [each.name for each in select_layers(backbone("test_resnet"), f"{share}%", images(32))] == [names[place]]
    found = [layer.name for layer in select_layers(backbone("test_vit"), "100%,0%,50%", images(160))]
    assert len(found) == 3 and found[-1] == "pooled" and "blocks." in found[1]
    for word in ("101%", "half%", "nan%"):
        with pytest.raises(FeaturespaceError, match=f"layer '{word}' is no depth; write 0% .the stem. to 100%"):
            select_layers(backbone("test_resnet"), word, images(32))


def test_names_globs_and_calls_in_order_of_execution():
    network, example = Odd(), images(8)

    def names(selection):
        return [layer.name for layer in select_layers(network, selection, example)]

    assert names("relu, conv") == ["conv", "relu:0", "relu:1"]
    assert names("relu:1") == ["relu:1"]
    assert names(["pooled", "table", "pair"]) == ["pair", "table", "pooled"]
    assert names("*") == ["conv", "relu:0", "pair", "table", "relu:1"]  # windows has no row an image
    assert names("re*,relu:0") == ["relu:0", "relu:1"]
    resnet = backbone("test_resnet")
    assert [n.name for n in select_layers(resnet, "layer1.*", images(32))][0].startswith("layer1.0.")


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        ("cnov", "layer 'cnov' is not known in Odd; did you mean 'conv'.*featurespace inspect Odd` lists them"),
        ("layer9.*", "layer pattern 'layer9"),
        ("relu:2", "'relu:2' of Odd gives no feature: .* 'relu' returns a tensor 2 times"),
        ("unused", "'unused' of Odd gives no feature: .* returns a tensor 0 times"),
        ("count", "'count' of Odd gives no feature"),
        ("windows", "does not return one row an image"),
        ("", "no layers are selected"),
        ([], "no layers are selected"),
    ],
)
def test_a_wrong_selection_says_what_there_is(selection, message):
    with pytest.raises(FeaturespaceError, match=message):
        select_layers(Odd(), selection, images(8))


def test_an_unfit_example_is_reported_with_its_shape():
    with pytest.raises(FeaturespaceError, match="give two"):
        select_layers(Odd(), "conv", images(8)[:1])
    with pytest.raises(FeaturespaceError, match=r"cannot process images of shape \(3, 32, 32\)"):
        select_layers(backbone("vit_tiny_patch16_224"), "blocks", images(32))


@pytest.mark.parametrize(
    ("shape", "side", "declared", "kind"),
    [
        ((2, 64, 8, 8), (32, 32), None, "nchw"),
        ((2, 8, 8, 64), (32, 32), None, "nhwc"),
        ((2, 8, 8, 8), (32, 32), None, "nchw"),
        ((2, 8, 8, 8), (32, 32), "NHWC", "nhwc"),
        ((2, 64, 4, 8), (32, 64), None, "nchw"),
        ((2, 4, 8, 64), (32, 64), None, "nhwc"),
        ((2, 64, 3, 7), (33, 70), None, "nchw"),
        ((2, 512, 1, 1), (32, 32), None, "nchw"),
        ((2, 12, 197, 64), (224, 224), None, "other"),
        ((2, 197, 64), (224, 224), None, "tokens"),
        ((2, 64), (32, 32), None, "vector"),
        ((2, 1, 2, 3, 4), (32, 32), None, "other"),
    ],
)
def test_the_layout_follows_from_the_proportions_of_the_image(shape, side, declared, kind):
    assert feature_kind(shape, torch.zeros(2, 3, *side), declared) == kind


def test_prefix_tokens_are_known_only_where_they_are():
    network = timm.create_model("test_vit", num_classes=0)
    layers = {layer.name: layer for layer in select_layers(network, ["*", "pooled"], images(160))}
    assert (layers["patch_embed"].num_prefix_tokens, layers["patch_embed"].has_class_token) == (0, False)
    assert (layers["blocks.0"].num_prefix_tokens, layers["blocks.0"].has_class_token) == (1, True)
    assert layers["pooled"].kind == "vector"
