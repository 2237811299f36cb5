"""Masks: the class of every pixel of an image, from files as large as their images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featurespace.data.columns import read_table
from featurespace.data.dataset import ImageData
from featurespace.data.images import read_header
from featurespace.data.masks import SUFFIXES, MaskFiles
from featurespace.data.slices import Volumes
from featurespace.data.volume_masks import VolumeMasks, volume_masks
from featurespace.errors import FeaturespaceError
from featurespace.models.load import Preprocessing
from featurespace.training.pixels import Pixels
from featurespace.training.tasks.segmentation import IGNORED


class Masks(Pixels):
    """Masks of the images of a data set, brought to their size in the same way, as (h, w, 1) class numbers."""

    name = "masks"

    def __init__(
        self, data: ImageData, source: MaskFiles | VolumeMasks, classes: int, form: Preprocessing, pixels: Pixels
    ):
        self.source, self.classes = source, classes
        form = Preprocessing((1, *form.input_size[1:]), (0.0,), (1.0,), "nearest")
        super().__init__(
            [data], form, pixels.shape[0], cache=pixels.kept, folder=pixels.file.parent, workers=pixels.workers
        )

    def _files(self) -> Sequence[Path | str]:
        return self.source.paths

    def fingerprint(self) -> str:
        """Return a hash of the bytes of all masks."""
        return self.source.fingerprint()

    def _decode(self, row: int) -> np.ndarray:
        from PIL import Image

        from featurespace.data.transforms import resize_and_crop

        numbers = self.source.numbers(row)
        wrong = (numbers >= self.classes) & (numbers != IGNORED)
        if wrong.any():
            y, x = np.argwhere(wrong)[0]
            raise FeaturespaceError(
                f"mask {self.source.called(row)} has class {numbers[y, x]} at row {y}, column {x}; allowed are 0 to "
                f"{self.classes - 1}, and {IGNORED} for unknown; name all classes under 'classes', or mend the mask"
            )
        height, width = self.form.input_size[1:]
        return np.asarray(resize_and_crop(Image.fromarray(numbers), height, width, interpolation="nearest"))[..., None]


def find_masks(data: ImageData, folder: Path | None) -> MaskFiles | VolumeMasks:
    """Return the mask of each image: below ``folder`` under the image's id, or in the column ``mask`` of the manifest.

    Those of volumes lie in the folder that their settings name.

    Raises
    ------
    FeaturespaceError
        neither is there, a mask does not exist, or it has another size than its image
    """
    if isinstance(data.images, Volumes):
        if data.images.settings.masks is None or folder is not None:
            raise FeaturespaceError(
                f"data set {data.name!r}: name the folder of the volumes' masks under 'masks' in a volumes.yaml (path, masks), "
                "not in the file of the training"
            )
        return volume_masks(data.images, data.source)
    ids = data.samples["id"].tolist()
    if folder is not None:
        found = [_below(folder, each) for each in ids]
    else:
        table = read_table(data.source) if data.source.suffix.lower() in (".csv", ".parquet") else None
        if table is None or "mask" not in table.columns:
            raise FeaturespaceError(
                f"data set {data.name!r} has no masks; name their folder under 'masks', or use a manifest with a column 'mask'"
            )
        found = [data.source.parent / str(each) for each in table["mask"]]
    for row, (name, path) in enumerate(zip(ids, found)):
        if not path.is_file():
            raise FeaturespaceError(f"data set {data.name!r}: the mask {path} of image {name!r} does not exist")
        image, mask = data.images.header(row), read_header(path)
        if image and mask and image.size != mask.size:
            raise FeaturespaceError(
                f"data set {data.name!r}: image {name!r} is {image.size[0]} x {image.size[1]} and its mask {path} "
                f"{mask.size[0]} x {mask.size[1]} pixels; they must be of one size"
            )
    return MaskFiles(found)


def _below(folder: Path, name: str) -> Path:
    stem = folder / Path(name).with_suffix("")
    return next((each for suffix in SUFFIXES if (each := stem.with_name(stem.name + suffix)).is_file()), folder / name)
