"""What methods take from libraries, against slow loops written from the papers."""

import numpy as np
import pytest
import torch
from torch import nn

from featurespace.training.batches import Batch
from featurespace.training.methods.simclr import SimCLROptions, Views
from featurespace.training.optimizers import build_optimizer, parameter_groups, schedule
from featurespace.training.settings import PretrainConfig


def nt_xent(first, second, temperature):
    """Return equation 1 of Chen et al. 2020 for every ordered positive pair, averaged."""
    z = np.concatenate([first, second]).astype(float)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    n, losses = len(first), []
    for i in range(2 * n):
        j = (i + n) % (2 * n)
        others = sum(np.exp(z[i] @ z[k] / temperature) for k in range(2 * n) if k != i)
        losses.append(-np.log(np.exp(z[i] @ z[j] / temperature) / others))
    return np.mean(losses)


@pytest.mark.parametrize(("n", "temperature"), [(2, 0.5), (5, 0.1), (8, 1.0)])
def test_nt_xent_is_the_papers(n, temperature):
    from lightly.loss import NTXentLoss

    rng = np.random.default_rng(n)
    first, second = rng.normal(size=(2, n, 6))
    found = NTXentLoss(temperature)(torch.tensor(first), torch.tensor(second)).item()
    assert found == pytest.approx(nt_xent(first, second, temperature), rel=1e-6)


def config(**changes):
    return PretrainConfig(model="test_resnet", data=("x",), out="out", **{"epochs": 4, "batch_size": 16} | changes)


def test_lars_is_the_papers_and_leaves_vectors_alone():
    # You, Gitman, Ginsburg 2017: local rate = 0.001 |w| / (|g| + decay |w|); momentum of the scaled gradient.
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    settings = config(optimizer="lars", learning_rate=0.5, weight_decay=0.1, momentum=0.9)
    optimizer = build_optimizer(parameter_groups(layer.named_parameters(), settings.weight_decay), settings)
    w, b = (each.detach().numpy().astype(float) for each in (layer.weight, layer.bias))
    velocity = [np.zeros_like(w), np.zeros_like(b)]
    for step in range(3):
        gradients = [np.full((2, 3), 0.3 + step), np.array([1.0, -2.0])]
        layer.weight.grad, layer.bias.grad = (torch.tensor(each, dtype=torch.float32) for each in gradients)
        optimizer.step()
        local = 0.001 * np.linalg.norm(w) / (np.linalg.norm(gradients[0]) + 0.1 * np.linalg.norm(w))
        velocity[0] = 0.9 * velocity[0] + local * (gradients[0] + 0.1 * w)
        velocity[1] = 0.9 * velocity[1] + gradients[1]
        w, b = w - 0.5 * velocity[0], b - 0.5 * velocity[1]
        np.testing.assert_allclose(layer.weight.detach(), w, rtol=1e-5)
        np.testing.assert_allclose(layer.bias.detach(), b, rtol=1e-5)


def test_schedules():
    steps, total = 10, 40
    cosine = schedule(config(warmup_epochs=1), steps)
    assert [cosine(each) for each in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert cosine(25) == pytest.approx(0.5) and 0 < cosine(total - 1) < 0.01
    decay = schedule(config(schedule="exponential", decay=0.97), steps)
    assert [decay(each) for each in (0, 9, 10, 39)] == pytest.approx([1, 1, 0.97, 0.97**3])
    assert {schedule(config(schedule="constant"), steps)(each) for each in range(total)} == {1.0}
    assert config(learning_rate=0.1, learning_rate_rule="linear", batch_size=512).peak_learning_rate == pytest.approx(
        0.2
    )


def test_views_of_half_a_batch_are_those_of_the_whole_one():
    pixels = torch.randint(0, 256, (8, 3, 40, 40), dtype=torch.uint8)
    rows = np.arange(8)
    views = Views(SimCLROptions(), 32)
    whole = views(Batch(pixels, torch.zeros(8), rows, 0, 8, slice(0, 8)), np.random.default_rng(3))
    for own in (slice(0, 4), slice(4, 8)):
        part = views(Batch(pixels[own], torch.zeros(4), rows[own], 0, 8, own), np.random.default_rng(3))
        torch.testing.assert_close(part, whole[own], atol=1e-5, rtol=0)
    assert whole.min() >= 0 and whole.max() <= 1 + 1e-6
    other = views(Batch(pixels, torch.zeros(8), rows, 0, 8, slice(0, 8)), np.random.default_rng(4))
    assert not torch.allclose(other, whole, atol=0.1)
