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


def nt_xent(first, second, temperature):
    """Chen et al. 2020, equation 1 and algorithm 1: the mean over all 2n views of their cross-entropy."""
    views = [view for pair in zip(first, second) for view in pair]  # 2k and 2k + 1 are of one image

    def similarity(a, b):
        dot = sum(float(x) * float(y) for x, y in zip(a, b))
        return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))

    total = 0.0
    for i, view in enumerate(views):
        partner = i + 1 if i % 2 == 0 else i - 1
        below = 0.0
        for k, other in enumerate(views):
            if k != i:
                below += math.exp(similarity(view, other) / temperature)
        total -= math.log(math.exp(similarity(view, views[partner]) / temperature) / below)
    return total / len(views)


def lars(weights, gradients, *, rate, momentum, decay, trust=0.001):
    """You, Gitman, Ginsburg 2017 (arXiv 1708.03888), algorithm 1, for one layer: its weights after each gradient."""
    w, v, found = np.array(weights, float), np.zeros(np.shape(weights)), []
    for g in gradients:
        local = trust * math.sqrt((w**2).sum()) / (math.sqrt((g**2).sum()) + decay * math.sqrt((w**2).sum()))
        v = momentum * v + rate * local * (g + decay * w)
        w = w - v
        found.append(w)
    return found
