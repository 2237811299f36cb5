import numpy as np
import pytest
import torch
from PIL import Image

from featurespace.data.specs import open_data
from featurespace.errors import FeaturespaceError
from featurespace.features.batchnorm import estimate_batchnorm
from featurespace.features.extract import input_batches
from featurespace.models.load import load_model
from featurespace.models.specs import parse_model_spec


@pytest.fixture
def model():
    return load_model(parse_model_spec("m=test_resnet@random"), image_size=32)


def test_statistics_are_those_of_the_data(model, two_domains):
    data = [open_data(f"d{index}={path}") for index, path in enumerate(two_domains)]
    inputs = np.concatenate([x for each in data for _, x, _ in input_batches(each, model.preprocessing, batch_size=99)])
    before = model.weights_hash
    result = estimate_batchnorm(model, data, rng=np.random.default_rng(0))
    name, norm = next((n, m) for n, m in result.network.named_modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen = []
    position = list(dict(result.network.named_modules())).index(name)
    handle = norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].mean((0, 2, 3))))
    with torch.no_grad():
        result.network(torch.from_numpy(inputs))
    handle.remove()
    # The first BatchNorm sees the data itself: its mean is the mean over all images, up to an uneven last batch.
    np.testing.assert_allclose(norm.running_mean, seen[0], atol=0.05)
    assert position > 0 and not result.network.training and not norm.training and norm.momentum is not None
    assert result.weights_hash != before and "BatchNorm statistics from the data" in result.source


def test_features_no_longer_collapse(two_domains):
    data = [open_data(f"d={two_domains[0]}")]
    spread = []
    for estimated in (False, True):
        model = load_model(parse_model_spec("m=resnet18@random"), image_size=32)
        if estimated:
            model = estimate_batchnorm(model, data, rng=np.random.default_rng(0))
        inputs = torch.from_numpy(next(input_batches(data[0], model.preprocessing, batch_size=72))[1])
        with torch.no_grad():
            features = model.network(inputs)
        spread.append(float(features.std(0).mean() / features.abs().mean()))
    assert spread[1] > 1.5 * spread[0]


def test_a_network_without_batchnorm_is_left_alone(two_domains):
    model = load_model(parse_model_spec("m=test_vit@random"))
    assert estimate_batchnorm(model, [open_data(f"d={two_domains[0]}")], rng=np.random.default_rng(0)) is model


def test_a_last_image_alone_is_in_no_batch(model, two_domains, monkeypatch):
    """Of one image there is no variance: the statistics are those of the batch before it."""
    from featurespace.features import batchnorm as room

    monkeypatch.setattr(room, "BATCH", 71)  # of 72 images
    data = open_data(f"d={two_domains[0]}")
    inputs = np.concatenate([x for _, x, _ in input_batches(data, model.preprocessing, batch_size=99)])
    rng = np.random.default_rng(0)
    inputs = inputs[np.sort(rng.permutation(72))][rng.permutation(72)][:71]
    result = estimate_batchnorm(model, [data], rng=np.random.default_rng(0))
    name, norm = next((n, m) for n, m in result.network.named_modules() if isinstance(m, torch.nn.BatchNorm2d))
    seen = []
    handle = norm.register_forward_pre_hook(lambda module, args: seen.append(args[0].mean((0, 2, 3))))
    with torch.no_grad():
        result.network(torch.from_numpy(inputs))
    handle.remove()
    np.testing.assert_allclose(norm.running_mean, seen[0], atol=1e-5)


def test_one_image_that_can_be_read_is_too_few(model, tmp_path, rng):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(b"broken")
    Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "2.png")
    with pytest.raises(FeaturespaceError, match="BatchNorm statistics cannot be estimated on 1 image$"):
        estimate_batchnorm(model, [open_data(f"d={tmp_path}")], rng=rng)
