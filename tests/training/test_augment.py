"""Each change of a batch against torchvision's change of one image with the same number."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as single

from featurespace.training import augment


@pytest.fixture
def images():
    images = torch.rand(6, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    images[1] = 0.3  # grey: no hue
    images[2, 0] = images[2, 1]  # two channels are the largest at once
    return images


@pytest.mark.parametrize(
    ("batched", "one", "factors"),
    [(augment.adjust_brightness, single.adjust_brightness, [0, 0.3, 1, 1.2, 1.8, 0.9]),
     (augment.adjust_contrast, single.adjust_contrast, [0, 0.3, 1, 1.2, 1.8, 0.9]),
     (augment.adjust_saturation, single.adjust_saturation, [0, 0.3, 1, 1.2, 1.8, 0.9]),
     (augment.adjust_hue, single.adjust_hue, [0, 0.3, -0.5, 0.2, -0.1, 0.5])],
)  # fmt: skip
def test_colours_are_torchvisions(images, batched, one, factors):
    expected = torch.stack([one(image, factor) for image, factor in zip(images, factors)])
    torch.testing.assert_close(batched(images, torch.tensor(factors)), expected, atol=2e-5, rtol=0)


def test_grey_is_torchvisions(images):
    expected = torch.stack([single.rgb_to_grayscale(image, 3) for image in images])
    torch.testing.assert_close(augment.grey(images), expected, atol=1e-3, rtol=0)  # weights of 4 digits
    assert augment.grey(images[:, :1]) is not None and torch.equal(augment.grey(images[:, :1]), images[:, :1])
    assert torch.equal(augment.adjust_hue(images[:, :1], torch.full((6,), 0.3)), images[:, :1])


def test_blur_is_torchvisions(images):
    sigmas = [0.0, 0.5, 1.0, 1.5, 2.0, 0.1]
    reach = 6  # three times the largest
    expected = torch.stack(
        [
            single.gaussian_blur(image, [2 * reach + 1] * 2, [sigma] * 2) if sigma else image
            for image, sigma in zip(images, sigmas)
        ]
    )
    torch.testing.assert_close(augment.blur(images, torch.tensor(sigmas)), expected, atol=1e-6, rtol=0)


def test_crops_are_where_they_should_be(images):
    crops = augment.Crops(
        *(np.array(each) for each in ([0.25, 0.25], [0.5, 0.5], [0.5, 0.5], [0.5, 0.5], [False, True]))
    )
    square = images[:2, :, :, :20]
    found = augment.crop(square, crops, 10)
    torch.testing.assert_close(found[0], square[0, :, 10:20, 5:15], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[1], square[1, :, 10:20, 5:15].flip(-1), atol=1e-6, rtol=0)


def test_a_large_image_is_averaged_before_it_is_sampled():
    image = torch.zeros(1, 1, 64, 64)
    image[..., ::4, :] = 1  # sampling alone would meet only some of the lines
    assert augment.crop(image, augment.whole(1), 8).std() < 1e-6


def test_drawn_boxes_lie_inside_and_have_the_areas_asked_for():
    crops = augment.draw_crops(20_000, rng=np.random.default_rng(0), min_scale=0.08)
    assert (crops.left >= 0).all() and (crops.left + crops.width <= 1 + 1e-12).all()
    assert (crops.top >= 0).all() and (crops.top + crops.height <= 1 + 1e-12).all()
    area = crops.width * crops.height
    assert area.min() > 0.079 and abs(area[area < 0.6].mean() - 0.34) < 0.01  # uniform where nothing was cut
    assert abs(crops.mirrored.mean() - 0.5) < 0.02


CHANGES = {
    "crop": lambda images, some: augment.crop(images, augment.draw_crops(6, rng=np.random.default_rng(0), min_scale=0.2), 16),
    "grey": lambda images, some: augment.grey(images),
    "brightness": augment.adjust_brightness,
    "contrast": augment.adjust_contrast,
    "saturation": augment.adjust_saturation,
    "hue": augment.adjust_hue,
    "blur": augment.blur,
    "masks": lambda images, some: augment.crop_masks(
        (9 * images[:, 0]).long(), augment.draw_crops(6, rng=np.random.default_rng(0), min_scale=0.2), 16
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_mixed_precision_changes_no_bit(images, name):
    some = torch.tensor([0.3, 0.5, 1, 1.2, 1.8, 0.9])
    expected = CHANGES[name](images, some)
    with torch.autocast("cpu", torch.bfloat16):
        found = CHANGES[name](images, some)
    assert found.dtype == expected.dtype and torch.equal(found, expected)
