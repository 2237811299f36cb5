"""Random changes of a whole batch of images at once, on its device, each image with numbers of its own.

torchvision draws one set of numbers a call; these functions take one number an image. The numbers are drawn by the
caller, on the CPU and for the batch of all processes, so that neither the device nor the number of processes changes
what an image goes through. Images are (b, 3 or 1, h, w) float tensors in 0..1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, NamedTuple, ParamSpec

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

P = ParamSpec("P")


def exactly(change: Callable[Concatenate[Tensor, P], Tensor]) -> Callable[Concatenate[Tensor, P], Tensor]:
    """Keep a change of images in their own precision where a training is mixed.

    Autocast would take the corners of crops as bfloat16, up to 0.6 pixels wrong at 224 px, with wrong classes in masks.
    """

    @wraps(change)
    def changed(images: Tensor, *args: P.args, **kwargs: P.kwargs) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return change(images, *args, **kwargs)

    return changed


class Crops(NamedTuple):
    """Boxes in shares of the image: left, top, width and height, and whether each is mirrored."""

    left: np.ndarray
    top: np.ndarray
    width: np.ndarray
    height: np.ndarray
    mirrored: np.ndarray


def draw_crops(n: int, *, rng: np.random.Generator, min_scale: float, ratio: float = 4 / 3, flip: float = 0.5) -> Crops:
    """Draw boxes of ``min_scale`` to 1 of the area, with sides of 1/ratio to ratio; too long sides are cut.

    torchvision draws again where a box does not fit, up to ten times; cutting needs no loop and touches only boxes of
    nearly the whole image.
    """
    area = rng.uniform(min_scale, 1, n)
    shape = np.exp(rng.uniform(-math.log(ratio), math.log(ratio), n))
    width, height = np.minimum(np.sqrt(area * shape), 1), np.minimum(np.sqrt(area / shape), 1)
    left, top = rng.uniform(0, 1, n) * (1 - width), rng.uniform(0, 1, n) * (1 - height)
    return Crops(left, top, width, height, rng.random(n) < flip)


def whole(n: int) -> Crops:
    """Return the boxes that leave n images whole."""
    return Crops(np.zeros(n), np.zeros(n), np.ones(n), np.ones(n), np.zeros(n, bool))


@exactly
def crop(images: Tensor, crops: Crops, size: int) -> Tensor:
    """Return the boxes scaled to (size, size), bilinear; a box much larger than ``size`` is halved first.

    Bilinear sampling skips pixels where a box shrinks by more than two, so the whole batch is averaged down by the
    factor that its largest box allows; boxes smaller than that lose detail they would have kept: keep images at about
    the size that the network sees.
    """
    shrink = int(min(images.shape[-2:]) // (2 * size))
    if shrink >= 2:
        images = functional.avg_pool2d(images, shrink)
    return functional.grid_sample(images, _grid(images, crops, size), padding_mode="border", align_corners=False)


@exactly
def crop_masks(masks: Tensor, crops: Crops, size: int) -> Tensor:
    """Return the boxes of (b, h, w) class numbers scaled to (size, size), each pixel the nearest one."""
    planes = masks[:, None].float()  # exact: class numbers are small
    grid = _grid(planes, crops, size)
    return functional.grid_sample(planes, grid, mode="nearest", padding_mode="border", align_corners=False)[:, 0].long()


def _grid(images: Tensor, crops: Crops, size: int) -> Tensor:
    half_width, half_height = crops.width, crops.height  # a share of the image is half of grid_sample's -1..1
    theta = np.zeros((len(images), 2, 3), np.float32)
    theta[:, 0, 0] = np.where(crops.mirrored, -half_width, half_width)
    theta[:, 1, 1] = half_height
    theta[:, 0, 2] = 2 * crops.left + crops.width - 1
    theta[:, 1, 2] = 2 * crops.top + crops.height - 1
    shape = [len(images), images.shape[1], size, size]
    return functional.affine_grid(torch.from_numpy(theta).to(images), shape, align_corners=False)


@exactly
def grey(images: Tensor) -> Tensor:
    """Return the luma (ITU-R 601-2) in every channel; grey images are returned as they are."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor([0.2989, 0.587, 0.114], device=images.device, dtype=images.dtype)
    return torch.einsum("bchw,c->bhw", images, weights)[:, None].expand_as(images)


def adjust_brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each image by its factor."""
    return (images * _each(factor, images)).clamp(0, 1)


def adjust_contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with the mean of its luma: 0 is flat grey, 1 the image."""
    mean = grey(images).mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(images), images, _each(factor, images)).clamp(0, 1)


def adjust_saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with its luma: 0 is grey, 1 the image."""
    return torch.lerp(grey(images), images, _each(factor, images)).clamp(0, 1)


def adjust_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of each image by a share of the circle, in HSV; grey images have none."""
    if images.shape[1] == 1:
        return images
    value, low = images.amax(dim=1), images.amin(dim=1)
    chroma = value - low
    red, green, blue = images.unbind(dim=1)
    safe = torch.where(chroma == 0, torch.ones_like(chroma), chroma)
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe),
    )
    hue = (hue / 6 + _each(turn, images)[:, 0]) % 1
    # Each channel falls from the value by up to the chroma, as a trapezoid of the hue around the circle.
    place = torch.stack([(5 + 6 * hue) % 6, (3 + 6 * hue) % 6, (1 + 6 * hue) % 6], dim=1)
    return value[:, None] - chroma[:, None] * torch.minimum(place, 4 - place).clamp(0, 1)


@exactly
def blur(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur each image with a Gaussian of its own width in pixels, 0 for none; borders are mirrored."""
    reach = min(max(1, math.ceil(3 * float(sigma.max()))), images.shape[-1] - 1, images.shape[-2] - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    width = torch.where(sigma > 0, sigma, torch.ones_like(sigma)).to(images)
    kernel = torch.exp(-((steps / width[:, None]) ** 2) / 2)
    kernel = torch.where((sigma > 0).to(images.device)[:, None], kernel, (steps == 0).to(images))
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(images.shape[1], 0)
    planes = images.reshape(1, -1, *images.shape[2:])
    planes = functional.pad(planes, (reach, reach, reach, reach), mode="reflect")
    planes = functional.conv2d(planes, kernel[:, None, :, None], groups=len(kernel))
    return functional.conv2d(planes, kernel[:, None, None, :], groups=len(kernel)).reshape_as(images)


def _each(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images)[:, None, None, None]
