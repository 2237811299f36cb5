"""Which slices of volumes become images, and which of their values become black and white."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from featurespace.errors import FeaturespaceError, unknown
from featurespace.yaml_files import checked, read_yaml

# Level and width in Hounsfield units; full is all that 12 bit hold.
CT_WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600.0, 1500.0), "soft_tissue": (40.0, 400.0), "bone": (400.0, 1800.0), "brain": (40.0, 80.0),
    "liver": (60.0, 160.0), "full": (1023.5, 4095.0),
}  # fmt: skip
PER_VOLUME = ("percentiles", "zscore", "range")
Window = str | tuple[float, float]
Bounds = tuple[float, float]
DEVIATIONS = 3.0  # of a z-score that are black and white


class VolumeSettings(BaseModel):
    """How a data set of volumes is read; every option once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(description="Folder or file of the volumes; a relative path is looked for beside this file.")
    window: tuple[Window, ...] = Field(
        default=("auto",),
        description="What is black and white: a CT window ("
        + ", ".join(CT_WINDOWS)
        + "), [level, width], percentiles, "
        "zscore, range; three of them become the channels. auto: CT soft_tissue, others percentiles.",
    )
    percentiles: tuple[float, float] = Field(
        default=(0.5, 99.5),
        description="The percentiles of a volume that the window percentiles makes black and white.",
    )
    axis: Literal["acquired", "axial", "coronal", "sagittal"] = Field(
        default="acquired", description="Slices as they were acquired, or axial, coronal or sagittal ones."
    )
    spacing: tuple[float, float, float] | None = Field(
        default=None,
        description="Millimetres from voxel to voxel to resample to: one number, or three towards right, front and head.",
    )
    aspect: bool = Field(
        default=False, description="Resample slices whose pixels are not square to square ones, of the finer side."
    )
    every: int = Field(default=1, ge=1, description="Take every k-th slice, beginning with the middle one.")
    filled: float = Field(
        default=0.0, ge=0, lt=1,
        description="Leave out slices with less than this share of pixels above black; above 0 every volume is read first.",
    )  # fmt: skip
    neighbours: bool = Field(default=False, description="The slices before, at and after as the three channels.")
    label: Literal["none", "folder"] = Field(
        default="none", description="folder: the first folder below the path is the label (and is written)."
    )
    table: str | None = Field(
        default=None,
        description="CSV or Parquet beside this file with the columns label and split or one of them, a row a patient "
        "(column patient, the identifier in the headers) or a file or folder (column path, below the path above).",
    )
    masks: str | None = Field(
        default=None,
        description="Folder of NIfTI masks, beside this file: class numbers on the grids of the volumes, under their names, or "
        "with _seg, _mask or _label in them. For finetuning with task segmentation.",
    )
    salt: str | None = Field(
        default=None, min_length=8,
        description="Secret text that patients' identifiers are hashed with, so that data sets with one salt share them.",
    )  # fmt: skip
    identify: bool = Field(default=False, description="Write patients' identifiers and paths as they are.")

    @field_validator("window", mode="before")
    @classmethod
    def _windows(cls, value: Any) -> Any:
        one = isinstance(value, str) or (
            isinstance(value, list | tuple)
            and len(value) == 2
            and not any(isinstance(each, list | str) for each in value)
        )
        windows = (value,) if one else value
        if not isinstance(windows, list | tuple) or len(windows) not in (1, 3):
            raise ValueError("expected a name, [level, width], or three of them as channels")
        return tuple(_known_window(each) for each in windows)

    @field_validator("spacing", mode="before")
    @classmethod
    def _millimetres(cls, value: Any) -> Any:
        numbers = [value] * 3 if type(value) in (int, float) else value
        if value is not None and (
            not isinstance(numbers, list | tuple) or len(numbers) != 3
            or not all(type(each) in (int, float) and 0 < each < np.inf for each in numbers)
        ):  # fmt: skip
            raise ValueError("expected one number of millimetres above 0, or three")
        return numbers

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError("expected two percentiles, the lower one first, within 0 and 100")
        return value

    @field_validator("neighbours")
    @classmethod
    def _one_kind_of_channel(cls, value: bool, about: Any) -> bool:
        if value and len(about.data.get("window", ())) > 1:
            raise ValueError("channels are either three windows or three neighbouring slices; give one window")
        return value


def _known_window(value: Any) -> Window:
    if isinstance(value, str):
        choices = ("auto", *CT_WINDOWS, *PER_VOLUME)
        if value not in choices:
            raise ValueError(str(unknown("window", value, choices)))
        return value
    numbers = isinstance(value, list | tuple) and len(value) == 2 and all(type(each) in (int, float) for each in value)
    if not numbers or not np.isfinite(value).all() or value[1] <= 0:
        raise ValueError("a window in numbers is [level, width], the width above 0")
    return (float(value[0]), float(value[1]))


def read_volume_settings(path: Path) -> VolumeSettings:
    """Read the YAML file of a data set of volumes; raises FeaturespaceError with key, value and what is allowed."""
    values = read_yaml(path, VolumeSettings)
    try:
        settings = checked(VolumeSettings, values)
    except FeaturespaceError as error:
        raise FeaturespaceError(f"{path}: {error}") from error
    places = {
        name: getattr(settings, name) for name in ("path", "table", "masks") if getattr(settings, name) is not None
    }
    return settings.model_copy(
        update={name: str(path.parent / Path(place).expanduser()) for name, place in places.items()}
    )


def bounds(values: np.ndarray, window: Window, modality: str, percentiles: tuple[float, float]) -> Bounds:
    """Return the values that a window makes black and white in a volume, NaN not counted.

    Parameters
    ----------
    values : the voxels of the volume; only read where the window depends on them
    window : a name, or (level, width)
    modality : DICOM's name, by which ``auto`` decides
    """
    if window == "auto":
        window = "soft_tissue" if modality == "CT" else "percentiles"
    if isinstance(window, str) and window in CT_WINDOWS:
        window = CT_WINDOWS[window]
    if not isinstance(window, str):
        level, width = window
        return level - width / 2, level + width / 2
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise FeaturespaceError("the volume holds no finite value")
    if window == "percentiles":
        low, high = np.percentile(finite, percentiles)
    elif window == "zscore":
        mean, deviation = finite.mean(dtype=np.float64), finite.std(dtype=np.float64)
        low, high = mean - DEVIATIONS * deviation, mean + DEVIATIONS * deviation
    else:
        low, high = finite.min(), finite.max()
    return float(low), float(high)


def windowed(values: np.ndarray, limits: Bounds, *, inverted: bool = False) -> np.ndarray:
    """Return values as float32 in 0..255: the lower limit and all below is 0, the upper and all above 255; NaN is 0.

    ``inverted`` turns black and white around, NaN included. Where both limits are one, that value is the middle grey.
    """
    low, high = limits
    if high <= low:
        low, high = low - 0.5, low + 0.5  # a step
    inside = np.clip(np.where(np.isnan(values), low, values), low, high)
    scaled = ((inside - low) * (255.0 / (high - low))).astype(np.float32)
    return 255.0 - scaled if inverted else scaled
