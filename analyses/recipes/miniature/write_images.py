"""Images for the miniature recipes: brain MRI in the layouts that the published recipes expect.

The patches are the demo's (MNI152 template at 1 mm, from nilearn), and so are groups and splits; what a voxel is comes from
the grey and white matter maps beside it. Writes into OUT, with relative paths:

- `levels.parquet`: slices, one label each, the axial level of the head (SimCLR, MAE, RadNet)
- `findings.csv`: slices, labels A|B of what a slice holds much of (ChestX-ray8)
- `tissue.csv`: slices and masks, 0 background, 1 grey matter, 2 white matter (LiTS)
- `colour.csv`: a slice and its two neighbours as RGB, masks with 1 fluid, 2 grey matter, 3 white matter (BraTS)

It takes 6 s. The recipes are then run from the same directory, each by the command in its head.

    python analyses/recipes/miniature/write_images.py
"""

# %% Imports
import os
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template
from PIL import Image

from featurespace.data.demo import PATCH, load_mni152, mri_patches, to_grey
from featurespace.seeding import child

# %% Constants
OUT = Path(os.environ.get("OUT", "runs/miniature/images"))
EVERY = 3  # of the demo's 2,100 patches
TISSUES = ["outside", "fluid", "grey matter", "white matter"]
MUCH = {"outside": 0.3, "fluid": 0.07, "white matter": 0.2}  # share of the voxels from which a slice has the label
FOLDERS = ("slices", "colour", "tissue", "colour-masks")

# %% What each voxel is: of the brain the likeliest of fluid, grey and white matter
volume = load_mni152()
maps = (load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1))
grey, white = (np.asarray(each.get_fdata(), dtype=np.float32) for each in maps)
tissue = np.where(volume > 0, 1 + np.argmax([1 - grey - white, grey, white], axis=0), 0).astype(np.uint8)

# %% Images and masks
for folder in FOLDERS:
    (OUT / folder).mkdir(parents=True, exist_ok=True)
rows = []
for number, patch in enumerate(islice(mri_patches(volume, rng=child(0, "demo", "mri")), 0, None, EVERY)):
    across, along, z = patch.place
    voxels = tissue[patch.place]
    shares = np.bincount(voxels.ravel(), minlength=len(TISSUES)) / voxels.size
    # One slice up and down: slices of training and test lie 4 apart.
    colour = Image.merge("RGB", [to_grey(volume[across, along, z + step]) for step in (-1, 0, 1)])
    masks = [Image.fromarray(np.ascontiguousarray(each.T[::-1])) for each in (np.maximum(voxels, 1) - 1, voxels)]
    masks = [each.resize((PATCH, PATCH), Image.Resampling.NEAREST) for each in masks]
    for folder, image in zip(FOLDERS, (patch.image, colour, *masks)):
        image.save(OUT / folder / f"{number:03d}.png")
    findings = [name for name, share in zip(TISSUES, shares) if share >= MUCH.get(name, 2)]
    rows.append({"file": f"{number:03d}.png", "level": patch.label, "findings": "|".join(findings) or "No Finding",
                 "group": patch.group, "split": patch.split})  # fmt: skip

# %% Manifests
table = pd.DataFrame(rows)
slices = table[["group", "split"]].assign(path="slices/" + table["file"])
slices.assign(label=table["level"]).to_parquet(OUT / "levels.parquet", index=False)
slices.assign(label=table["findings"]).to_csv(OUT / "findings.csv", index=False)
slices.assign(mask="tissue/" + table["file"]).to_csv(OUT / "tissue.csv", index=False)
slices.assign(path="colour/" + table["file"], mask="colour-masks/" + table["file"]).to_csv(OUT / "colour.csv", index=False)
table
