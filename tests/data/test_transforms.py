from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from featurespace.data.transforms import network_input, resize_and_crop, to_unit_range

FORM = SimpleNamespace(input_size=(3, 8, 8), mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.4), interpolation="bicubic")


def test_normalisation_per_channel(rng):
    array = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    expected = (array.transpose(2, 0, 1) / 255 - np.reshape(FORM.mean, (3, 1, 1))) / np.reshape(FORM.std, (3, 1, 1))
    result = network_input(Image.fromarray(array), FORM)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (20, 8), (8, 30), (100, 60), (5, 3)])
def test_every_size_becomes_the_input_size(size):
    assert network_input(Image.new("L", size, 128), FORM).shape == (3, 8, 8)


def test_the_crop_is_the_centre():
    array = np.zeros((8, 24), np.uint8)
    array[:, 8:16] = 200
    assert (np.asarray(resize_and_crop(Image.fromarray(array), 8, 8)) == 200).all()


def test_the_same_size_is_left_alone(rng):
    image = Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8))
    assert resize_and_crop(image, 8, 8) is image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "I;16", "F"])
def test_every_mode_gives_the_channels(mode):
    if mode == "I;16":
        image = Image.fromarray(np.full((9, 9), 30000, np.uint16))
    else:
        image = Image.new(mode, (9, 9))
    for channels in (1, 3):
        array = to_unit_range(image, channels=channels)
        assert array.shape == (channels, 9, 9) and array.min() >= 0 and array.max() <= 1


def test_16_bit_keeps_values_apart_that_8_bit_would_join():
    image = Image.fromarray(np.array([[30000, 30010]], np.uint16))
    low, high = to_unit_range(image, channels=1)[0, 0]
    assert high - low == pytest.approx(10 / 65535, rel=1e-2)


@pytest.mark.parametrize("size", [(1, 10_000), (10_000, 1)])
def test_a_very_long_image_takes_little_memory_and_keeps_its_centre(size):
    along = np.linspace(0, 255, 10_000).astype(np.uint8).reshape(size[::-1])
    array = np.asarray(resize_and_crop(Image.fromarray(along), 224, 224))
    assert array.shape == (224, 224) and abs(array.astype(float).mean() - 127) < 2


def test_scaling_the_centre_alone_changes_no_value(rng, monkeypatch):
    from featurespace.data import transforms

    image = Image.fromarray(rng.random((40, 90), dtype=np.float32) * 255)
    whole = np.asarray(resize_and_crop(image, 32, 32))
    monkeypatch.setattr(transforms, "MAX_SCALED", 0)
    np.testing.assert_allclose(np.asarray(resize_and_crop(image, 32, 32)), whole, atol=0.01)
