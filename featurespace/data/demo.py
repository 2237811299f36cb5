"""The demo's images: two domains, cut from files that come with scikit-image, scikit-learn and nilearn.

Both are written as PNG files with a manifest, the way a user's own images would lie on disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files as package_files
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from featurespace import files, seeding
from featurespace.errors import needs_extra

PATCH = 64  # pixels a side, of every image written

PHOTOGRAPHS = {
    "astronaut": "skimage.data/astronaut.png", "brick": "skimage.data/brick.png",
    "camera": "skimage.data/camera.png", "cat": "skimage.data/chelsea.png",
    "china": "sklearn.datasets.images/china.jpg", "coffee": "skimage.data/coffee.png",
    "flower": "sklearn.datasets.images/flower.jpg", "grass": "skimage.data/grass.png",
    "gravel": "skimage.data/gravel.png", "hubble": "skimage.data/hubble_deep_field.jpg",
    "motorcycle": "skimage.data/motorcycle_left.png", "rocket": "skimage.data/rocket.jpg",
}  # fmt: skip
BLOCKS = (4, 3)  # blocks across and down a photograph; a patch never leaves its block
PATCHES_PER_BLOCK = 7

LEVELS = 6  # axial slabs of equal height, the classes
MRI_PATCH_MM = 40
MRI_BAND_MM, MRI_BANDS = 45, 4  # from back to front
MRI_COUNTS = {"train": 1500, "test": 600}
MIN_BRAIN = 0.4  # share of a patch that must lie in the brain


@dataclass(frozen=True)
class Patch:
    """One image with its class, group and split, and of MRI its place in the volume."""

    image: Image.Image
    label: str
    group: str
    split: str
    place: tuple[slice, slice, int] | None = None


def write_photographs(folder: Path, *, seed: int) -> Path:
    """Write patches of 12 photographs and return the manifest.

    Class = source image; group = one of its 12 blocks; every third block is the test, and since a patch never
    leaves its block, no pixel is on both sides.
    """
    return _write(folder, photograph_patches(rng=seeding.child(seed, "demo", "photographs")))


def write_mri(folder: Path, *, seed: int) -> Path:
    """Write patches of the MNI152 T1 template and return the manifest.

    40 mm axial patches of one hemisphere, intensity standardised per patch; class = one of 6 axial levels of the
    head. Training patches come from the left hemisphere, test patches from the mirrored right. The template is
    exactly symmetric, so that alone would put the same voxels on both sides: slices are held out too, and no test
    slice lies within 3 mm of a training slice. Group = level, run of slices and 45 mm band from back to front; a patch
    never leaves its band, so no voxel is in two groups.
    """
    return _write(folder, mri_patches(load_mni152(), rng=seeding.child(seed, "demo", "mri")))


def photograph_patches(*, rng: np.random.Generator) -> Iterator[Patch]:
    """Yield patches of 96 px (or of the whole block, where that is smaller), scaled to 64 px."""
    for label, where in PHOTOGRAPHS.items():
        with Image.open(_packaged(where)) as opened:
            picture = opened.convert("RGB")
        width, height = picture.width // BLOCKS[0], picture.height // BLOCKS[1]
        side = min(96, width, height)
        for block in range(BLOCKS[0] * BLOCKS[1]):
            column, row = block % BLOCKS[0], block // BLOCKS[0]
            split = "test" if (column + row) % 3 == 2 else "train"
            for _ in range(PATCHES_PER_BLOCK):
                left = column * width + int(rng.integers(0, width - side + 1))
                top = row * height + int(rng.integers(0, height - side + 1))
                patch = picture.crop((left, top, left + side, top + side)).resize(
                    (PATCH, PATCH), Image.Resampling.BICUBIC
                )
                yield Patch(patch, label, f"{label}-{column}{row}", split)


def mri_patches(volume: np.ndarray, *, rng: np.random.Generator) -> Iterator[Patch]:
    """Yield patches of a (x, y, z) volume at 1 mm whose first axis runs from left to right."""
    half = MRI_PATCH_MM // 2
    middle = volume.shape[0] // 2
    inside = np.flatnonzero((volume > 0).any(axis=(0, 1)))
    bottom, top = int(inside[0]), int(inside[-1]) + 1
    edges = np.linspace(bottom, top, LEVELS + 1)
    back = int(np.flatnonzero((volume > 0).any(axis=(0, 2)))[0])
    for split, hemisphere in (("train", volume[:middle]), ("test", volume[::-1][:middle])):
        for level in range(LEVELS):
            slices = _slices(edges[level], edges[level + 1], split)
            centre = (edges[level] + edges[level + 1]) / 2
            used: set[tuple[int, int, int]] = set()
            while len(used) < MRI_COUNTS[split] // LEVELS:
                z, x = int(rng.choice(slices)), int(rng.integers(half, middle - half + 1))
                band = int(rng.integers(MRI_BANDS))
                y = back + band * MRI_BAND_MM + int(rng.integers(half, MRI_BAND_MM - half + 1))
                patch = hemisphere[x - half : x + half, y - half : y + half, z]
                if (x, y, z) in used or (patch > 0).mean() < MIN_BRAIN:
                    continue
                used.add((x, y, z))
                slices_name = "middle" if split == "test" else "lower" if z < centre else "upper"
                group = f"{split}-level{level + 1}-{slices_name}-band{band + 1}"
                across = slice(x - half, x + half)
                if split == "test":  # counted from the right
                    across = slice(volume.shape[0] - 1 - across.start, volume.shape[0] - 1 - across.stop, -1)
                place = (across, slice(y - half, y + half), z)
                yield Patch(to_grey(patch), f"level{level + 1}", group, split, place)


def load_mni152() -> np.ndarray:
    """Return the MNI152 T1 template at 1 mm, brain only, as (x, y, z) in 0..1."""
    try:
        from nilearn.datasets import load_mni152_template
    except ImportError as error:
        raise needs_extra("the demo", "nilearn", "demo") from error
    return np.asarray(load_mni152_template(resolution=1).get_fdata(), dtype=np.float32)


def _slices(low: float, high: float, split: str) -> np.ndarray:
    # The middle of each level is the test; 3 mm on either side of it belong to neither.
    z = np.arange(int(np.ceil(low)), int(np.ceil(high)))
    distance = np.abs(z - (low + high) / 2)
    held_out = distance <= (high - low) / 8
    gap = distance <= (high - low) / 8 + 3
    return z[held_out] if split == "test" else z[~gap]


def to_grey(patch: np.ndarray) -> Image.Image:
    """Return a slice (x, y) as an 8-bit image from front to back, -3..3 of its standard deviations over the whole range."""
    standard = (patch - patch.mean()) / patch.std()
    grey = np.rint(np.clip((standard + 3) / 6, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(grey.T[::-1]).resize((PATCH, PATCH), Image.Resampling.BICUBIC)


def _write(folder: Path, patches: Iterator[Patch]) -> Path:
    rows = []
    for number, patch in enumerate(patches):
        name = f"{patch.split}/{patch.label}/{number:05d}.png"
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        patch.image.save(target)
        rows.append({"path": name, "label": patch.label, "group": patch.group, "split": patch.split})
    return files.write_atomic(folder / "manifest.csv", lambda path: pd.DataFrame(rows).to_csv(path, index=False))


def _packaged(where: str) -> Path:
    package, _, name = where.partition("/")
    try:
        return Path(str(package_files(package) / name))
    except ImportError as error:
        raise needs_extra("the demo", package.partition(".")[0], "demo") from error
