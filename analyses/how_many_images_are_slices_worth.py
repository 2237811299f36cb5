"""How many images are the slices of volumes worth, since neighbours are alike?

Reads a folder of volumes (DATA: DICOM, NIfTI or .npy, or a volumes.yaml) and writes `how_many_images_are_slices_worth.csv` into
RUN: the two bounds of the published study, by which factor slices are worth fewer images than they are many. The lower one is
from gzip, the upper one from mutual information within each volume. `featurespace compare --adjust` moves a pretraining to
another size of its data by such a factor.

    DATA=ct=slices/ RUN=runs/worth python analyses/how_many_images_are_slices_worth.py

The upper bound takes the square of a volume's slices: MOST volumes are drawn.
"""

# %% Imports
import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from featurespace import seeding
from featurespace.data.specs import open_data
from featurespace.metrics import compression_ratio, effective_slices

# %% Constants
DATA = os.environ.get("DATA", "volumes=volumes/")
RUN = Path(os.environ.get("RUN", "runs/worth"))
MOST = int(os.environ.get("MOST", "50"))  # volumes
SIDES = {"lower": 128, "upper": 256}  # gzip looks back 32 KiB, two slices of 128 x 128
rng = seeding.child(0, "slices")

# %% The volumes: slices in order, those of one grey left out
data = open_data(DATA)
volume = data.samples["id"].str.rpartition("/")[0]
drawn = rng.permutation(volume.unique())[:MOST]
volumes: dict[str, list[np.ndarray]] = {side: [] for side in SIDES}
for name in drawn:
    slices = [np.asarray(data.image(row), dtype=float) for row in np.flatnonzero(volume == name)]
    slices = [each if each.ndim == 2 else each.mean(axis=2) for each in slices]
    slices = [np.clip(255 * each / max(each.max(), 1e-9), 0, 255).astype(np.uint8) for each in slices if np.ptp(each) > 0]
    for side, pixels in SIDES.items() if slices else ():
        volumes[side].append(np.stack([np.asarray(Image.fromarray(each).resize((pixels, pixels))) for each in slices]))

# %% The bounds
share = effective_slices(volumes["upper"], rng=rng)
lower = compression_ratio(volumes["lower"], rng=rng)
counts = {"n": share.n, "n_volumes": share.n_groups}
table = pd.DataFrame([
    {"bound": "lower", "factor": lower, "ci_low": np.nan, "ci_high": np.nan, **counts},
    {"bound": "upper", "factor": 1 / share.value, "ci_low": 1 / share.ci_high, "ci_high": 1 / share.ci_low, **counts},
])  # fmt: skip
table

# %% Write
RUN.mkdir(parents=True, exist_ok=True)
table.to_csv(RUN / "how_many_images_are_slices_worth.csv", index=False)
