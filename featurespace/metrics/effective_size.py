"""How many images the slices of volumes are worth, since neighbours are alike: two bounds."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurespace.stats.checks import check_counts, check_generator
from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import jackknife_estimate

BINS = 64
SIGMA = 1.0  # bins, of the Gaussian that smooths a joint histogram
REFERENCES = 3  # slices of another volume that a slice is compared with, for what unlike slices have in common


def compression_ratio(volumes: Sequence[Any], *, rng: np.random.Generator, shuffles: int = 5) -> float:
    """Gzip size of slices shuffled across volumes over that of slices in order, near 1 where neighbours are not alike.

    By this factor, a lower bound, slices are worth fewer images than they are many.

    Parameters
    ----------
    volumes : of (k_i, h, w) uint8 arrays, slices of one volume in order; all slices have one size
    rng : source of randomness
    shuffles : orders whose mean size is taken

    Returns
    -------
    float
        Above 0.

    Raises
    ------
    ValueError
        If there are fewer than two volumes, one is no (k, h, w) array of uint8 or empty, or sizes differ.

    Notes
    -----
    Gzip looks back 32 KiB, so what neighbours share is seen where a slice has less: 128 x 128 pixels are 16 KiB. A lower bound for
    that reason, too. There is no interval: the size of a file is no mean over slices. Cost O(n h w) for each shuffle.

    References
    ----------
    Jonske et al. 2025, Comput. Methods Programs Biomed.: 1.136 for RadNet-1.28M.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> alike = [np.repeat(rng.integers(0, 256, (1, 32, 32)), 8, axis=0).astype(np.uint8) for _ in range(20)]
    >>> compression_ratio(alike, rng=rng) > 2
    True
    """
    check_generator(rng)
    check_counts(shuffles=shuffles)
    slices = np.concatenate(_volumes(volumes))
    ordered = len(gzip.compress(slices.tobytes(), mtime=0))
    sizes = [len(gzip.compress(slices[rng.permutation(len(slices))].tobytes(), mtime=0)) for _ in range(shuffles)]
    return float(np.mean(sizes) / ordered)


def mutual_information(x: Any, y: Any) -> float:
    """Mutual information of the grey values of two images at the same places, in nats, at least 0.

    From a 64 x 64 joint histogram between the least and the largest value of each, smoothed with a Gaussian of one bin.

    Parameters
    ----------
    x, y : arrays of one shape

    Raises
    ------
    ValueError
        If shapes differ.

    Examples
    --------
    >>> x = np.random.default_rng(0).normal(size=(64, 64))
    >>> mutual_information(x, x) > 5 * mutual_information(x, x[::-1])
    True
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.shape != y.shape:
        raise ValueError(f"images have the shapes {x.shape} and {y.shape}; scale them to one")
    return _information(_levels(x), _levels(y))


def effective_slices(volumes: Sequence[Any], *, rng: np.random.Generator) -> Estimate:
    """Share of slices that tell something new, in (0, 1], with a jackknife over volumes; 1 over it is an upper bound of the factor.

    Each slice adds 1 less its largest relative information with the earlier slices of its volume. The relative information of a
    slice with another is their mutual information on a scale from that with slices of another volume (0) to its own (1).

    Parameters
    ----------
    volumes : of (k_i, h, w) arrays, slices of one volume in order; all slices have one size (published: 256 x 256)
    rng : source of randomness, for the slices of other volumes

    Returns
    -------
    Estimate
        `n` counts slices, `n_groups` volumes. Without interval below 5 volumes.

    Raises
    ------
    ValueError
        As `compression_ratio`, for arrays of any type; if a slice is of one grey.

    Notes
    -----
    Cost O(sum k_i^2 h w). Three slices of another volume, drawn, stand for what unlike slices have in common.

    References
    ----------
    Jonske et al. 2025, Comput. Methods Programs Biomed.: a factor of 3.807 for RadNet-1.28M.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> alike = [np.repeat(rng.normal(size=(1, 32, 32)), 5, axis=0) for _ in range(6)]
    >>> round(effective_slices(alike, rng=rng).value, 6)
    0.2
    """
    check_generator(rng)
    levels = [np.stack([_levels(slice_) for slice_ in volume]) for volume in _volumes(volumes, kind=None)]
    for number, volume in enumerate(levels):
        flat = np.flatnonzero((volume == volume[:, :1]).all(axis=1))
        if len(flat):
            raise ValueError(f"slice {flat[0]} of volume {number} is of one grey and has no information; leave it out")
    worth = np.array([_worth(levels, number, rng) for number in range(len(levels))])
    counts = np.array([len(volume) for volume in levels])
    value = float(worth.sum() / counts.sum())
    leave_out = (worth.sum() - worth) / (counts.sum() - counts)
    return jackknife_estimate(value, leave_out, n=int(counts.sum()), sizes=counts, unit="group")


def _worth(levels: Sequence[np.ndarray], number: int, rng: np.random.Generator) -> float:
    """Return how many images the slices of a volume are worth."""
    own, total = levels[number], 0.0
    others = [other for other in range(len(levels)) if other != number]
    for position, slice_ in enumerate(own):
        if position == 0:
            total += 1.0
            continue
        other = levels[others[int(rng.integers(len(others)))]]
        unlike = np.mean([_information(slice_, other[int(rng.integers(len(other)))]) for _ in range(REFERENCES)])
        span = _information(slice_, slice_) - unlike
        most = max(_information(slice_, earlier) for earlier in own[:position])
        total += 1.0 - float(np.clip((most - unlike) / span, 0.0, 1.0))
    return total


def _levels(values: np.ndarray) -> np.ndarray:
    """Return the bin of each value, all of them equally wide from the least to the largest one, flat."""
    values = np.asarray(values, dtype=float).ravel()
    low, high = values.min(), values.max()
    if low == high:
        return np.zeros(len(values), np.int64)
    return np.minimum(((values - low) / (high - low) * BINS).astype(np.int64), BINS - 1)


def _information(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.ndimage import gaussian_filter

    joint = np.bincount(a * BINS + b, minlength=BINS * BINS).reshape(BINS, BINS).astype(float)
    joint = gaussian_filter(joint, SIGMA, mode="constant")
    joint /= joint.sum()
    product = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    some = joint > 0
    return float((joint[some] * np.log(joint[some] / product[some])).sum())


def _volumes(volumes: Sequence[Any], kind: type | None = np.uint8) -> list[np.ndarray]:
    found = [np.asarray(volume) for volume in volumes]
    if len(found) < 2:
        raise ValueError(f"there is {len(found)} volume; at least 2 are needed, to tell alike from unlike")
    for number, volume in enumerate(found):
        if volume.ndim != 3 or not volume.size:
            raise ValueError(f"volume {number} has shape {volume.shape}; expected slices as (k, h, w)")
        if kind is not None and volume.dtype != kind:
            raise ValueError(f"volume {number} holds {volume.dtype}; gzip sizes need uint8, as images are stored")
        if volume.shape[1:] != found[0].shape[1:]:
            raise ValueError(
                f"slices are {found[0].shape[1:]} in volume 0 and {volume.shape[1:]} in volume {number}; scale them"
            )
    return found
