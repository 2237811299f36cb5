import numpy as np
import pytest
import timm
import torch
from torch import nn

from featurespace.errors import FeaturespaceError
from featurespace.models import capture, select_layers
from featurespace.models.networks import create_network, remove_classifier


def backbone(arch):
    network = create_network(arch)
    remove_classifier(network)
    return network


def images(side, count=2):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def linear_cka(X, Y):
    X, Y = (Z.double().numpy() - Z.double().numpy().mean(0) for Z in (X, Y))
    K, L = X @ X.T, Y @ Y.T
    return (K * L).sum() / (np.linalg.norm(K) * np.linalg.norm(L))


def test_features_are_copied_before_they_are_overwritten():
    """A kept reference to bn2 would show layer1.0: ``+=`` and the in-place ReLU write into the same memory."""
    network, example = backbone("torchvision/resnet18"), images(64, 24)
    layers = select_layers(network, "layer1.0.bn2,layer1.0", example[:2])
    kept = {}
    handles = [
        network.get_submodule(layer.module).register_forward_hook(
            lambda module, inputs, output, name=layer.name: kept.__setitem__(name, output)
        )
        for layer in layers
    ]
    with torch.no_grad(), capture(network, layers, pool="none") as captured:
        network(example)
    for handle in handles:
        handle.remove()
    first, second = captured.features["layer1.0.bn2"], captured.features["layer1.0"]
    assert linear_cka(first, second) < 0.999  # random weights preserve much; trained ones give 0.86
    assert linear_cka(kept["layer1.0.bn2"].flatten(1), kept["layer1.0"].flatten(1)) == pytest.approx(1)
    assert float(first.min()) < 0 <= float(second.min())


@pytest.mark.parametrize("pool", ["avg", "none"])
def test_pools_of_images_channels_first_and_last(pool):
    swin = timm.models.SwinTransformer(img_size=56, embed_dim=16, depths=(2, 2), num_heads=(1, 2), num_classes=0)
    cases = ((backbone("test_resnet"), 32, "layer1", (2, 3)), (swin.eval(), 56, "layers.0", (1, 2)))
    for network, side, name, axes in cases:
        example = images(side)
        with torch.no_grad():
            module, seen = network.get_submodule(name), []
            handle = module.register_forward_hook(lambda m, i, output, seen=seen: seen.append(output.clone()))
            with capture(network, select_layers(network, name, example), pool=pool) as captured:
                network(example)
            handle.remove()
        expected = seen[-1].mean(dim=axes) if pool == "avg" else seen[-1].flatten(1)
        torch.testing.assert_close(captured.features[name], expected)


def test_tokens_are_averaged_without_prefix_and_the_class_token_taken():
    network, example = timm.create_model("test_vit", num_classes=0).eval(), images(160)
    seen = []
    network.blocks[1].register_forward_hook(lambda m, i, output: seen.append(output.clone()))
    layers = select_layers(network, "blocks.1,pooled", example)
    with torch.no_grad():
        for pool, expected in (("avg", lambda t: t[:, 1:].mean(1)), ("cls", lambda t: t[:, 0])):
            with capture(network, layers, pool=pool) as captured:
                output = network(example)
            torch.testing.assert_close(captured.features["blocks.1"], expected(seen[-1]))
            torch.testing.assert_close(captured.features["pooled"], output)


def test_means_accumulate_in_float32_under_autocast():
    network, example = backbone("test_resnet"), images(64)
    layers = select_layers(network, "layer1,pooled", example)
    seen = []
    network.layer1.register_forward_hook(lambda m, i, output: seen.append(output.clone()))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16), capture(network, layers) as captured:
        network(example)
    assert {value.dtype for value in captured.features.values()} == {torch.float32}
    torch.testing.assert_close(captured.features["layer1"], seen[-1].float().mean(dim=(2, 3)))


def test_every_pass_starts_anew_and_hooks_are_gone_afterwards():
    network = backbone("torchvision/resnet18")
    layers = select_layers(network, "layer1.0.relu:1,layer1.0.relu:0,pooled", images(32))
    assert [layer.name for layer in layers] == ["layer1.0.relu:0", "layer1.0.relu:1", "pooled"]
    with torch.no_grad(), capture(network, layers) as captured:
        network(images(32, 3))
        first = dict(captured.features)
        network(images(32, 3))
    assert list(captured.features) == [layer.name for layer in layers]
    for name, value in captured.features.items():
        assert value.shape[0] == 3 and torch.equal(value, first[name]) and not value.requires_grad
    assert not torch.equal(first["layer1.0.relu:0"], first["layer1.0.relu:1"])
    with pytest.raises(ValueError, match="inside"), capture(network, layers):
        raise ValueError("inside")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_what_cannot_be_pooled_is_said_before_any_pass():
    resnet, vit = backbone("test_resnet"), timm.create_model("test_vit", num_classes=0)
    layers = select_layers(resnet, "layer1", images(32))
    with (
        pytest.raises(FeaturespaceError, match="pool 'max' is not known; allowed: avg, cls, none"),
        capture(resnet, layers, pool="max"),
    ):
        pass
    with (
        pytest.raises(FeaturespaceError, match="layer 'layer1' of test_resnet has none"),
        capture(resnet, layers, pool="cls"),
    ):
        pass
    with pytest.raises(FeaturespaceError, match="no layers to capture"), capture(resnet, []):
        pass
    layers = select_layers(vit, "patch_embed", images(160))
    with pytest.raises(FeaturespaceError, match="'patch_embed' of test_vit has none"), capture(vit, layers, pool="cls"):
        pass


class Heads(nn.Module):
    def __init__(self, skip):
        super().__init__()
        self.heads, self.skip = nn.Identity(), skip

    def forward(self, x):
        if not (self.skip and len(x) > 2):
            x = self.heads(x.reshape(len(x), 3, 5, 7))
        return x.flatten(1)


def test_features_without_axes_of_space_need_pool_none():
    network, example = Heads(False), torch.rand(2, 3, 5, 7).reshape(2, 1, 3, 35)
    layers = select_layers(network, "heads", example)
    with (
        pytest.raises(FeaturespaceError, match="no axes of space were recognised; use pool 'none'"),
        capture(network, layers),
    ):
        pass
    with capture(network, layers, pool="none") as captured:
        network(example)
    assert captured.features["heads"].shape == (2, 105)


def test_a_layer_that_does_not_run_every_time_is_reported():
    network, example = Heads(True), torch.rand(2, 1, 3, 35)
    with (
        capture(network, select_layers(network, "heads", example), pool="none"),
        pytest.raises(FeaturespaceError, match="layers heads of Heads did not run in this forward pass"),
    ):
        network(torch.rand(3, 1, 3, 35))


class Moody(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()

    def forward(self, x):
        out = self.inner(x)
        return (out if torch.is_tensor(out) else x).flatten(1)


class Inner(nn.Module):
    def forward(self, x):
        return x if len(x) == 2 else None


def test_a_layer_that_returns_nothing_is_reported():
    network = Moody()
    layers = select_layers(network, "inner", images(8))
    with capture(network, layers), pytest.raises(FeaturespaceError, match="'inner' returned no floating tensor"):
        network(images(8, 3))
