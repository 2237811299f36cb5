"""From an image to the array that a network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    Pixels = Image | np.ndarray  # an array is (h, w, 3) float32 in 0..255: colour deeper than 8 bit

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as Pillow makes grey of colour


MAX_SCALED = 64  # times the pixels that are kept


class InputFormat(Protocol):
    """What a network wants to see: (channels, height, width), normalisation per channel, interpolation."""

    @property
    def input_size(self) -> tuple[int, int, int]: ...  # noqa: D102
    @property
    def mean(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def std(self) -> tuple[float, ...]: ...  # noqa: D102
    @property
    def interpolation(self) -> str: ...  # noqa: D102


def resize_and_crop(image: Pixels, height: int, width: int, *, interpolation: str = "bicubic") -> Pixels:
    """Scale an image until it just covers (height, width), then crop the centre; the same size is left as it is."""
    from PIL import Image as images
    from PIL.Image import Resampling

    if isinstance(image, np.ndarray):
        planes = (images.fromarray(np.ascontiguousarray(image[..., channel])) for channel in range(image.shape[-1]))
        return np.dstack(
            [np.asarray(resize_and_crop(plane, height, width, interpolation=interpolation)) for plane in planes]
        )
    if image.size == (width, height):
        return image
    methods = {"nearest": Resampling.NEAREST, "bilinear": Resampling.BILINEAR, "lanczos": Resampling.LANCZOS}
    scale = max(width / image.width, height / image.height)
    size = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    method = methods.get(interpolation, Resampling.BICUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    if size[0] * size[1] > MAX_SCALED * width * height:  # 1 x 10,000 pixels would need gigabytes: scale only the centre
        across, down = image.width / size[0], image.height / size[1]
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        return image.resize((width, height), method, box=box)
    return image.resize(size, method).crop((left, top, left + width, top + height))


def to_unit_range(image: Pixels, *, channels: int) -> np.ndarray:
    """Return (channels, h, w) float32 in 0..1; 16 bit are divided by 65535, never clipped to 8."""
    return _stack(_convert(image, channels), channels)


def network_input(image: Pixels, form: InputFormat) -> np.ndarray:
    """Return the (c, h, w) float32 input of a network: covered and centre-cropped, scaled to 0..1, normalised."""
    return normalised(network_pixels(image, form)[None].astype(np.float32), form)[0].transpose(2, 0, 1)


def network_pixels(image: Pixels, form: InputFormat) -> np.ndarray:
    """Return an image as a network sees it but for the normalisation: (h, w, c) in 0..255, uint8 or float32."""
    channels, height, width = form.input_size
    pixels = np.asarray(resize_and_crop(_convert(image, channels), height, width, interpolation=form.interpolation))
    return np.broadcast_to(pixels[..., None], (*pixels.shape, channels)) if pixels.ndim == 2 else pixels


def normalised(batch: np.ndarray, form: InputFormat) -> np.ndarray:
    """Scale (b, h, w, c) float32 pixels to 0..1, normalise each channel, and return them; done in place."""
    lines = batch.reshape(-1, batch.shape[2] * batch.shape[3])  # long lines: NumPy is slow on an axis of three
    lines /= np.float32(255.0)
    lines -= np.tile(np.asarray(form.mean, dtype=np.float32), batch.shape[2])
    lines /= np.tile(np.asarray(form.std, dtype=np.float32), batch.shape[2])
    return batch


def _convert(image: Pixels, channels: int) -> Pixels:
    # Convert before resizing: a palette's numbers cannot be averaged, and 16-bit grey becomes float.
    from PIL import Image as images

    if isinstance(image, np.ndarray):
        return image if channels == 3 else images.fromarray(image @ LUMA)
    if image.mode.startswith("I"):
        return images.fromarray(np.asarray(image, dtype=np.float32) * np.float32(255.0 / 65535))
    if image.mode == "F":
        return image
    return image.convert("L" if channels == 1 else "RGB")


def _stack(image: Pixels, channels: int) -> np.ndarray:
    array = np.asarray(image, dtype=np.float32) / np.float32(255.0)
    if array.ndim == 2:
        return np.broadcast_to(array, (channels, *array.shape))
    return np.ascontiguousarray(array.transpose(2, 0, 1))
