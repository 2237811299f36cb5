"""Noise on images, as MONAI makes it."""

from __future__ import annotations

import torch
from torch import Tensor

from featurespace.errors import needs_extra
from featurespace.training.settings import Noise


def noisy(images: Tensor, noise: Noise, seed: int) -> Tensor:
    """Return images in 0..1 with noise; grey images stay grey, as what a scanner measures is one number a pixel.

    Gaussian noise is added; Rician noise, that of the magnitude of a complex number, is never negative.
    """
    try:
        from monai.transforms import RandGaussianNoise, RandRicianNoise
    except ImportError as error:
        raise needs_extra("noise", "monai", "train") from error

    add = {"gaussian": RandGaussianNoise, "rician": RandRicianNoise}[noise.kind](
        prob=1.0, mean=0.0, std=noise.sigma, sample_std=False
    )
    add.set_random_state(seed=seed)
    grey = bool((images == images[:, :1]).all())
    changed = torch.as_tensor(add(images[:, :1] if grey else images))
    return changed.expand_as(images) if grey else changed
