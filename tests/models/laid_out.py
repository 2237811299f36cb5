"""What the tests of layouts share: weights that tell exchanges, and features compared."""

import pytest
import torch

from featurespace.models import load_model, parse_model_spec


def lively(network, seed=0):
    """Give every tensor values of its own, at a scale that keeps signals alive, so that an exchange shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if not value.is_floating_point() or "coords_table" in name:
            continue
        if value.ndim >= 2 and "layer_scale" not in name:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif name.endswith("running_var"):
            value.uniform_(0.8, 1.2, generator=generator)
        else:
            value.normal_(float(name.endswith("weight")), 0.2, generator=generator)
    return network.eval()


def load(text, **options):
    return load_model(parse_model_spec(str(text)), **options)


def images(side, channels=3, seed=3):
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(seed))


def assert_same(got, expected, tolerance=1e-5):
    """Equal to 1e-5 of the largest feature; and the two images differ, or equality would say nothing."""
    scale = float(expected.abs().max())
    assert float((expected[0] - expected[1]).abs().max()) > 1e-3 * scale
    assert float((got - expected).abs().max()) <= tolerance * scale


def slow(*values):
    """A case that the quick suite leaves out: alike others, or of a larger network."""
    return pytest.param(*values, marks=pytest.mark.slow)
