"""A signature of each image: a hash of its pixels, a perceptual hash, and a small picture to be sure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from featurespace.data.dataset import READERS, ImageData
from featurespace.errors import FeaturespaceError

SIDE = 32  # of the small picture
LOW = 8  # frequencies a side that the perceptual hash takes the signs of
FLAT = 0.01  # standard deviation, in shares of the range, below which a picture shows nothing


@dataclass(frozen=True)
class Signatures:
    """What images look like, a row an image.

    Attributes
    ----------
    pixels : (n,) hashes of shape and pixels as they are stored, "" where an image cannot be read
    hashes : (n,) uint64, perceptual hashes
    pictures : (n, 1024) float32, 32 x 32 grey pictures of mean 0 and length 1
    shows : (n,) booleans, false where an image cannot be read or is of one grey; such images are like no other
    """

    pixels: np.ndarray
    hashes: np.ndarray
    pictures: np.ndarray
    shows: np.ndarray


def signatures(data: ImageData, advance: Callable[[int], object] = lambda count: None) -> Signatures:
    """Return the signatures of the images of a data set. Cost: each image is decoded once, by four threads.

    The perceptual hash takes the sign, against their median, of the 8 x 8 lowest frequencies of a discrete cosine transform of
    the image as a 32 x 32 grey picture.

    References
    ----------
    Zauner 2010, Implementation and benchmarking of perceptual image hash functions.
    """

    def one(row: int) -> tuple[str, np.uint64, np.ndarray, bool]:
        try:
            content = np.asarray(data.image(row))
            found = hashlib.sha256(f"{content.shape}{content.dtype}".encode() + content.tobytes()).hexdigest()
            picture = small_picture(content)
        except FeaturespaceError:
            found, picture = "", None
        advance(1)
        if picture is None:
            return found, np.uint64(0), np.zeros(SIDE * SIDE, np.float32), False
        return found, perceptual_hash(picture), (picture / np.linalg.norm(picture)).ravel().astype(np.float32), True

    with ThreadPoolExecutor(READERS) as pool:
        rows = list(pool.map(one, range(len(data))))
    pixels, hashes, pictures, shows = zip(*rows)
    return Signatures(np.array(pixels), np.array(hashes, np.uint64), np.stack(pictures), np.array(shows))


def small_picture(content: np.ndarray) -> np.ndarray | None:
    """Return an image as a (32, 32) grey picture of mean 0, None where it is of one grey.

    Parameters
    ----------
    content : (h, w) or (h, w, c) values in any range
    """
    from PIL import Image

    values = content.astype(np.float32)
    grey = values if values.ndim == 2 else values[..., :3].mean(axis=2)
    range_ = 255.0 if content.dtype == np.uint8 else max(float(np.nanmax(grey) - np.nanmin(grey)), 1e-30)
    grey = np.nan_to_num(grey, nan=float(np.nanmin(grey)))
    small = np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=3.0))
    centred = small - small.mean()
    return centred if centred.std() >= FLAT * range_ else None


def perceptual_hash(picture: np.ndarray) -> np.uint64:
    """Return the hash of a (32, 32) picture, a bit a frequency."""
    from scipy.fft import dctn

    low = dctn(picture.astype(float))[:LOW, :LOW].ravel()
    bits = low > np.median(low)
    return np.packbits(bits).view(">u8")[0].astype(np.uint64)
