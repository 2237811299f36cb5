import numpy as np
import pytest
import torch
from oracles.training import nt_xent

from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec
from featurespace.training.batches import Batch
from featurespace.training.methods.simclr import Method, SimCLROptions, Views
from featurespace.training.settings import PretrainConfig


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
@pytest.mark.parametrize("n", [2, 7])
def test_the_loss_is_the_papers(monkeypatch, temperature, n):
    settings = PretrainConfig(model="test_resnet", data=("x=y",), out="out", device="cpu")
    model = load_model(parse_model_spec("test_resnet", bare=True), image_size=32)
    with torch.random.fork_rng(devices=[]):
        method = Method(settings, model, 1, 0, SimCLROptions(temperature=temperature))
    generator = torch.Generator().manual_seed(n)
    projections = 3 * torch.randn(2 * n, 6, generator=generator)
    views = iter((torch.zeros(n, 3, 32, 32), torch.ones(n, 3, 32, 32)))
    monkeypatch.setattr(method, "views", lambda batch, rng: next(views))
    monkeypatch.setattr(method, "backbone", torch.nn.Flatten())
    monkeypatch.setattr(method, "head", torch.nn.Identity())
    seen = []
    monkeypatch.setattr(method.head, "forward", lambda pixels: seen.append(pixels) or projections)
    loss = method.loss(None, None).item()
    assert loss == pytest.approx(nt_xent(projections[:n].numpy(), projections[n:].numpy(), temperature), rel=1e-5)
    # The first half of what went through is the first view of every image, the second half the second.
    low, high = method.normalised(torch.zeros(1, 3, 32, 32)), method.normalised(torch.ones(1, 3, 32, 32))
    assert torch.equal(seen[0], torch.cat([low.expand(n, -1, -1, -1), high.expand(n, -1, -1, -1)]).flatten(1))


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
