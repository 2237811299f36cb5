"""Slow loops from the papers' formulas; nothing of the package is imported here."""

import math

import numpy as np


def mae_loss(images, told, hidden, patch, normalised=True):
    """He et al. 2021, section 3: the mean over hidden patches of the mean squared error of their (normalised) pixels.

    ``told`` (b, hidden, patch * patch * channels) has the pixels of a patch row by row, the channels of a pixel
    together. The variance is unbiased and 1e-6 is added, as in the authors' code.
    """
    channels, across = images.shape[1], images.shape[3] // patch
    errors = []
    for image, numbers, values in zip(images, hidden, told):
        for number, value in zip(numbers, values):
            top, left = number // across * patch, number % across * patch
            pixels = []
            for y in range(patch):
                for x in range(patch):
                    for channel in range(channels):
                        pixels.append(float(image[channel, top + y, left + x]))
            if normalised:
                mean = sum(pixels) / len(pixels)
                variance = sum((each - mean) ** 2 for each in pixels) / (len(pixels) - 1)
                pixels = [(each - mean) / math.sqrt(variance + 1e-6) for each in pixels]
            errors.append(sum((a - float(b)) ** 2 for a, b in zip(pixels, value)) / len(pixels))
    return float(np.mean(errors))
