"""Optimizers against the papers' updates, and what schedules promise."""

import math

import numpy as np
import pytest
import torch
from oracles import training as oracle

from featurespace.training.module import TrainingModule
from featurespace.training.optimizers import build_optimizer, parameter_groups, schedule
from featurespace.training.settings import TrainingConfig


def config(**changes):
    return TrainingConfig(**{"model": "resnet18", "out": "out"} | changes)


def steps_of(module, gradients, **changes):
    """Weights of every parameter after each step."""
    settings = config(optimizer="lars", **changes)
    optimizer = build_optimizer(parameter_groups(module.named_parameters(), settings.weight_decay), settings)
    found = []
    for index in range(len(gradients["weight"])):
        for name, each in module.named_parameters():
            each.grad = torch.from_numpy(gradients[name][index])
        optimizer.step()
        found.append({name: each.detach().numpy().copy() for name, each in module.named_parameters()})
    return found


@pytest.mark.parametrize("decay", [1e-2, 1e-6, 0.0])
@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_lars_is_the_papers_for_matrices_and_sgd_for_vectors(rng, decay, momentum):
    module = torch.nn.Linear(5, 4).double()
    start = {name: each.detach().numpy().copy() for name, each in module.named_parameters()}
    gradients = {name: rng.normal(0, 3, (3, *value.shape)) for name, value in start.items()}
    found = steps_of(module, gradients, learning_rate=0.7, weight_decay=decay, momentum=momentum)
    expected = oracle.lars(start["weight"], gradients["weight"], rate=0.7, momentum=momentum, decay=decay)
    for step, weights in zip(found, expected):
        # The difference is lightly's 1e-8 beside the norm of the gradient.
        np.testing.assert_allclose(step["weight"], weights, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(found[0]["bias"], start["bias"] - 0.7 * gradients["bias"][0], rtol=1e-12)


def test_lars_scales_the_rate_by_the_layer_where_the_gradient_is_large(rng):
    moved = []
    for factor in (1, 1000):
        torch.manual_seed(0)
        module = torch.nn.Linear(5, 4, bias=False)
        before = module.weight.detach().clone()
        gradient = np.random.default_rng(0).normal(size=(1, 4, 5)).astype(np.float32) * factor
        steps_of(module, {"weight": gradient}, weight_decay=0.0)
        moved.append((module.weight - before).norm().item())
    assert moved[0] == pytest.approx(moved[1], rel=1e-3)


CASES = [(epochs, steps, warm) for epochs in (1, 2, 7, 100) for steps in (1, 3, 50) for warm in (0, 0.5, 1, 5.5) if warm < epochs]  # fmt: skip


@pytest.mark.parametrize("kind", ["cosine", "exponential", "constant"])
@pytest.mark.parametrize(("epochs", "steps", "warm"), CASES)
def test_schedules(kind, epochs, steps, warm):
    settings = config(epochs=epochs, warmup_epochs=warm, schedule=kind)
    factors = np.array([schedule(settings, steps)(step) for step in range(epochs * steps)])
    first = round(warm * steps)
    rising, falling = factors[:first], factors[first:]
    np.testing.assert_allclose(np.diff(np.append(0, rising)), 1 / max(first, 1), rtol=1e-9)
    assert (factors > 0).all() and (factors <= 1).all() and (np.diff(falling) <= 0).all()
    if first:
        assert factors[first - 1] == 1
    if len(falling):
        assert falling[0] == 1
    if kind == "cosine" and len(falling) > 1:
        assert falling[-1] < 1.001 * (math.pi / 2 / len(falling)) ** 2
        np.testing.assert_allclose(falling[1:] + falling[1:][::-1], 1, atol=1e-12)  # point-symmetric about a half
    if kind == "exponential":
        np.testing.assert_allclose(falling[steps:], 0.97 * falling[:-steps], rtol=1e-12)
        assert len(np.unique(falling[:steps])) <= 1
    if kind == "constant":
        assert (falling == 1).all()


def test_the_rate_that_an_optimizer_has_is_the_peak_after_the_rule():
    settings = config(optimizer="sgd", learning_rate=0.1, learning_rate_rule="linear", batch_size=512)
    groups = parameter_groups(torch.nn.Linear(3, 2).named_parameters(), 0.5)
    groups[0]["lr_scale"] = 0.25
    optimizer = build_optimizer(groups, settings)
    assert [each["lr"] for each in optimizer.param_groups] == pytest.approx([0.05, 0.2])
    assert [each["weight_decay"] for each in optimizer.param_groups] == [0.5, 0.0]


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.9, 0.95), (0.0, 0.5)])
def test_adamw_is_torchs_with_these_betas(rng, betas):
    gradients = rng.normal(size=(4, 3, 5)).astype(np.float32)
    found = []
    for build in (
        lambda groups: build_optimizer(groups, config(betas=betas, learning_rate=0.1)),
        lambda groups: torch.optim.AdamW(groups, lr=0.1, betas=betas),
        lambda groups: torch.optim.AdamW(groups, lr=0.1, betas=(0.8, 0.9)),
    ):
        torch.manual_seed(0)
        module = torch.nn.Linear(5, 3, bias=False)
        optimizer = build(parameter_groups(module.named_parameters(), 0.01))
        for gradient in gradients:
            module.weight.grad = torch.from_numpy(gradient)
            optimizer.step()
        found.append(module.weight.detach())
    assert torch.equal(found[0], found[1]) and not torch.allclose(found[0], found[2])


def test_a_training_says_its_own_loss():
    with pytest.raises(NotImplementedError):
        TrainingModule.loss(None, None, None)
