"""Masks beside volumes: NIfTI files of class numbers on the grids of their volumes."""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from featurespace import files, memory
from featurespace.data.folders import walk
from featurespace.data.nifti import NIFTI, nifti_scans
from featurespace.data.resampling import resampled_scan
from featurespace.data.scans import NotUsed, Scan, plane, reason
from featurespace.data.slices import KEPT, Volumes
from featurespace.data.windows import VolumeSettings
from featurespace.errors import FeaturespaceError
from featurespace.progress import shortened

MASK_WORDS = frozenset({"lbl", "label", "labels", "mask", "masks", "seg", "segmentation"})
IMAGE_WORDS = frozenset({
    "ct", "flair", "image", "images", "img", "mr", "mri", "pd", "scan", "t1", "t1c", "t1ce", "t1w", "t2", "t2w", "vol", "volume",
})  # fmt: skip
CHANNEL = re.compile(r"\d{4}\Z")  # nnU-Net numbers the channels of an image at the end of its name
Name = tuple[str, tuple[str, ...]]


@dataclass
class VolumeMasks:
    """The mask of each image of a data set of volumes; ``found`` is the mask file of each volume, by the volume's number."""

    volumes: Volumes
    found: dict[int, tuple[str, str]]  # folder, and name below it
    kept: OrderedDict[int, np.ndarray] = field(default_factory=OrderedDict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def paths(self) -> Sequence[str]:
        """The file of each image's mask."""
        return [os.path.join(*self.found[number]) for number, _ in self.volumes.rows]

    def numbers(self, index: int) -> np.ndarray:
        """Return the (h, w) class numbers of image ``index``; raises FeaturespaceError if the file holds anything else."""
        number, position = self.volumes.rows[index]
        with self.lock:
            if number not in self.kept:
                while len(self.kept) >= KEPT:
                    self.kept.popitem(last=False)
                self.kept[number] = self._load(number)
            self.kept.move_to_end(number)
            scan = self.volumes.scans[number]
            return np.ascontiguousarray(plane(self.kept[number], self.volumes.axis(scan), position))

    def called(self, index: int) -> str:
        """Return what an error calls the mask of an image."""
        number, position = self.volumes.rows[index]
        return f"{self.found[number][1]}, slice {position},"

    def fingerprint(self) -> str:
        """Return a hash of the bytes of all masks, volume by volume."""
        used = sorted({number for number, _ in self.volumes.rows})
        return files.hash_value([files.hash_file(os.path.join(*self.found[each])) for each in used])

    def take(self, rows: np.ndarray) -> VolumeMasks:
        """Return the masks of the given images, in the given order."""
        return VolumeMasks(self.volumes.take(rows), self.found)

    def _load(self, number: int) -> np.ndarray:
        (folder, name), scan = self.found[number], self.volumes.scans[number]
        try:
            own = nifti_scans(folder, name)[0]
            if scan.own is not None:  # the spacings differ by rounding at most
                own = resampled_scan(replace(own, spacing=scan.own.spacing), scan.spacing, nearest=True)
            values = own.load()
        except Exception as error:  # of a damaged file nibabel raises anything
            memory.pass_on(error, f"reading mask {name}")
            raise FeaturespaceError(f"mask {name} cannot be read ({reason(error)})") from error
        wrong = ~((values >= 0) & (values <= 255) & (values == np.floor(values)))  # NaN is wrong, too
        if wrong.any():
            raise FeaturespaceError(
                f"mask {name} holds the value {values[wrong][0]:g}; a mask holds class numbers, whole and from 0 to 255"
            )
        return values.astype(np.uint8)


def volume_masks(volumes: Volumes, root: Path) -> VolumeMasks:
    """Return the masks of volumes below ``root``, matched by name; their headers are read.

    The mask of a volume has its name, or one that differs in the words of `MASK_WORDS` and `IMAGE_WORDS` (img_1 and lbl_1,
    case_ct and case_seg) or in nnU-Net's number of the channel at the end; a DICOM series is called by its folder.

    Raises
    ------
    FeaturespaceError
        a volume has no mask or several, or one of another shape or place
    """
    masks = mask_files(volumes.settings, root)
    folder = str(volumes.settings.masks)
    if not masks:
        raise FeaturespaceError(
            f"{folder} holds no masks; they are .nii or .nii.gz files (DICOM SEG is not read: save it as NIfTI)"
        )
    by_name: dict[Name, list[str]] = {}
    for each in masks:
        by_name.setdefault(_core(_stem(each)), []).append(each)
    exact = {_stem(each): each for each in masks}
    found, missing = {}, []
    for number in sorted({number for number, _ in volumes.rows}):
        scan = volumes.scans[number]
        called = _called(scan, root)
        several = [exact[called]] if called in exact else _matching(called, by_name)
        if len(several) > 1:
            raise FeaturespaceError(
                f"volume {_joined(called)} has several masks in {folder}: {shortened(several)}; keep one"
            )
        if several:
            _refuse_other_grid(scan.own or scan, folder, several[0])
            found[number] = (folder, several[0])
        else:
            missing.append(_joined(called))
    if missing:
        raise FeaturespaceError(
            f"{len(missing)} of {len(found) + len(missing)} volumes have no mask in {folder}, e.g. {missing[0]}; a mask has the "
            "name of its volume, with _seg, _mask or _label behind it or lbl in the place of img"
        )
    return VolumeMasks(volumes, found)


def mask_files(settings: VolumeSettings, root: Path) -> list[str]:
    """Return the names of the NIfTI masks below the folder of the masks; none where no masks are asked for.

    Where the volumes lie in that folder too, those of its files are masks whose names say so.
    """
    if settings.masks is None:
        return []
    folder = Path(settings.masks)
    if not folder.is_dir():
        raise FeaturespaceError(f"masks: {folder} is no folder; name the folder of the NIfTI masks")
    names, _ = walk(folder, lambda name: name.lower().endswith(NIFTI), lambda count: None)
    try:
        below = root.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:  # the volumes lie elsewhere
        return names
    return [each for each in names if not _is_below(each, below) or MASK_WORDS & set(_words(_stem(each)[1]))]


def _is_below(name: str, folder: str) -> bool:
    return folder == "." or name.startswith(f"{folder}/")


def _stem(name: str) -> tuple[str, str]:
    """Return the folder of a file and its name without the suffix."""
    path = PurePosixPath(name)
    return ("" if str(path.parent) == "." else str(path.parent)), re.sub(r"(?i)\.(nii(\.gz)?|npy)\Z", "", path.name)


def _words(text: str) -> list[str]:
    return [each for each in re.split(r"[^a-z0-9]+", text.lower()) if each]


def _core(stem: tuple[str, str]) -> Name:
    """Return what is left of a name without the words that tell an image from its mask."""
    return stem[0], tuple(each for each in _words(stem[1]) if each not in MASK_WORDS | IMAGE_WORDS)


def _called(scan: Scan, root: Path) -> tuple[str, str]:
    relative = PurePosixPath(Path(scan.files[0]).relative_to(root if root.is_dir() else root.parent).as_posix())
    single = len(scan.files) == 1 and str(relative).lower().endswith((*NIFTI, ".npy"))
    if not single and str(relative.parent) == ".":
        return "", root.name
    return _stem(str(relative if single else relative.parent))


def _joined(stem: tuple[str, str]) -> str:
    return "/".join(each for each in stem if each)


def _matching(called: tuple[str, str], by_name: dict[Name, list[str]]) -> list[str]:
    folder, words = _core(called)
    choices: list[Name] = [(folder, words), (_joined(called), ())]
    if words and CHANNEL.match(words[-1]):
        choices.append((folder, words[:-1]))
    return next((by_name[each] for each in choices if each in by_name), [])


def _refuse_other_grid(scan: Scan, folder: str, name: str) -> None:
    try:
        masks = nifti_scans(folder, name)
    except NotUsed as error:
        raise FeaturespaceError(f"mask {name} cannot be read: {error}") from None
    if len(masks) != 1:
        raise FeaturespaceError(f"mask {name} holds {len(masks)} volumes; a mask holds one class number a voxel")
    mask = masks[0]
    if mask.shape != scan.shape:
        raise FeaturespaceError(
            f"mask {name} has {_times(mask.shape)} voxels (right, front, head) and its volume {_times(scan.shape)}; resample the "
            "mask to the grid of its volume"
        )
    if scan.origin is None or mask.origin is None:
        return
    off = np.linalg.norm(np.subtract(mask.origin, scan.origin))
    if off > min(scan.spacing) / 2 or not np.allclose(mask.spacing, scan.spacing, rtol=0.01):
        raise FeaturespaceError(
            f"mask {name} lies elsewhere than its volume: voxels of {_times(mask.spacing)} mm from {_point(mask.origin)} on, "
            f"those of the volume of {_times(scan.spacing)} mm from {_point(scan.origin)} on; give the mask its volume's header"
        )


def _times(numbers: Sequence[float]) -> str:
    return " x ".join(f"{each:.4g}" for each in numbers)


def _point(numbers: Sequence[float]) -> str:
    return "(" + ", ".join(f"{each:.4g}" for each in numbers) + ")"
