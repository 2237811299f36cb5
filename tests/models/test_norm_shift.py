import json

import pytest
import timm
import torch
from torch import nn
from typer.testing import CliRunner

from featurespace.cli import app
from featurespace.models.norm_shift import norm_shifts


def network_of(images):
    """A network whose statistics are those of the images."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.BatchNorm2d(4))
    for module in (network[1], network[4]):
        module.momentum = None  # a plain mean over batches
    with torch.no_grad():
        network.train()(images)
        for module in (network[1], network[4]):
            module.reset_running_stats()
        network(images)
    return network.eval()


def test_images_of_the_training_are_near_and_others_far():
    images = torch.randn(64, 3, 12, 12, generator=torch.manual_seed(1))
    near = norm_shifts(network_of(images), [images[:40], images[40:]])
    assert [each.layer for each in near] == ["1", "4"] and not any(each.far for each in near)
    assert near[0].shift == pytest.approx(0, abs=1e-6) and near[0].ratio == pytest.approx(1, rel=1e-3)
    assert norm_shifts(network_of(images), [5 + 3 * images])[0].far


def test_shift_is_in_standard_deviations_of_the_layer():
    layer = nn.BatchNorm2d(2, eps=0.0).eval()
    layer.running_mean[:] = torch.tensor([1.0, 0.0])
    layer.running_var[:] = torch.tensor([4.0, 1.0])
    images = torch.tensor([[3.0, 1.0], [7.0, -1.0]])[:, :, None, None]  # means 5 and 0, variances 4 and 1
    [found] = norm_shifts(layer, [images])
    assert found.shift == pytest.approx((4 / 2 + 0 / 1) / 2) and found.ratio == pytest.approx(1)


def test_a_network_without_batchnorm_has_none():
    assert norm_shifts(timm.create_model("test_vit", num_classes=0).eval(), [torch.zeros(2, 3, 160, 160)]) == []


def test_inspect_tells_it_of_a_model_and_data(two_domains, checkpoints):
    spec, data = f"test_resnet@{checkpoints[0]}", f"bright={two_domains[0]}"
    told = CliRunner().invoke(app, ["inspect", spec, "--data", data, "--json"], catch_exceptions=False)
    found = json.loads(told.stdout)["batchnorm"]
    assert found["data"] == "bright" and found["images"] == 72 and len(found["layers"]) > 3
    text = CliRunner().invoke(app, ["inspect", spec, "--data", data], catch_exceptions=False).stdout
    assert "BatchNorm" in text and "72 images of bright" in text
    refused = CliRunner().invoke(app, ["inspect", str(checkpoints[0]), "--data", data])
    assert "--data goes with a model, ARCH@" in str(refused.exception)
    vit = CliRunner().invoke(app, ["inspect", "test_vit@random", "--data", data], catch_exceptions=False).stdout
    assert "no BatchNorm that keeps statistics" in vit
