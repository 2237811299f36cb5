"""Every rule is checked by outputs: both networks are built, the weights carried over, the features compared."""

import pytest
import timm
import torch
import torchvision
from models.laid_out import lively

from featurespace.models.fitting import match_network
from featurespace.models.networks import create_network, head_prefixes, remove_classifier
from featurespace.models.renames import natural


@pytest.mark.parametrize(
    ("source", "target", "side", "tolerance"),
    [
        ("torchvision/resnet18", "resnet18", 32, 1e-3),
        ("torchvision/densenet121", "densenet121", 32, 1e-3),
        ("torchvision/efficientnet_b0", "efficientnet_b0", 64, 1e-3),
        ("torchvision/mobilenet_v2", "mobilenetv2_100", 64, 1e-3),
        ("torchvision/convnext_tiny", "convnext_tiny", 32, 1e-3),
        ("torchvision/regnet_y_400mf", "regnety_004", 32, 1e-3),
    ],
)
def test_torchvision_weights_give_the_same_features_in_timm(source, target, side, tolerance):
    check_same_features(create_network(source, seed=1), create_network(target, seed=2), side, tolerance)


def test_torchvision_transformers_give_the_same_features_in_timm():
    """Small ones of the same classes, because the named ones take ten seconds each."""
    theirs = torchvision.models.VisionTransformer(32, 16, num_layers=11, num_heads=2, hidden_dim=16, mlp_dim=32)
    options = {"embed_dim": 16, "depth": 11, "num_heads": 2, "mlp_ratio": 2}
    ours = timm.models.VisionTransformer(img_size=32, patch_size=16, **options)
    check_same_features(theirs, ours, 32, 1e-3)
    theirs = torchvision.models.SwinTransformer([4, 4], 16, [2, 2, 3, 1], [1, 2, 4, 8], [7, 7])
    ours = timm.models.SwinTransformer(img_size=224, embed_dim=16, depths=(2, 2, 3, 1), num_heads=(1, 2, 4, 8))
    check_same_features(theirs, ours, 224, 1e-3)


def check_same_features(theirs, ours, side, tolerance):
    lively(theirs.eval())
    tensors = {name: value.clone() for name, value in theirs.state_dict().items()}
    heads = head_prefixes(ours.eval())
    remove_classifier(theirs)
    remove_classifier(ours)
    found = match_network(ours, tensors, heads=heads, where="x.pth", arch="timm's")
    assert found.report.share_of_tensors == 1 and not found.report.unexpected
    assert len(found.report.ignored_head) == 2
    ours.load_state_dict(found.state)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, got = theirs(images), ours(images)
    between = float((expected[0] - expected[1]).abs().max())
    assert between > 1e-4 * float(expected.abs().max())
    assert float((expected - got).abs().max()) <= tolerance * between


def test_numbers_sort_as_numbers():
    assert sorted(["b.10.x", "b.2.x", "b.2.10", "b.2.9"], key=natural) == ["b.2.9", "b.2.10", "b.2.x", "b.10.x"]
