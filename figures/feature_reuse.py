"""Paper figures: what finetuning leaves of the first filters, and how much filters differ among themselves.

Reads `feature_reuse.csv` (experiment, pretraining, task, layer, value) and `feature_uniqueness.csv` (pretraining, layer, value,
std) from TABLES, and writes `feature_reuse` of one EXPERIMENT and `feature_uniqueness` to OUT as PDF, SVG and PNG.

    TABLES=tables OUT=runs/published/paper python figures/feature_reuse.py

Two seconds on two cores (2026-11-28). Values are columns of the two tables; `featurespace.metrics.feature_reuse` and
`feature_uniqueness` make them from weights; nothing is computed here.
"""

# %% Imports
import os
from pathlib import Path

import pandas as pd

import featurespace as fs
from featurespace.plots.groups import reuse_bars, uniqueness_bars
from featurespace.plots.results import pretraining_colours

# %% Constants
TABLES = Path(os.environ.get("TABLES", "tables"))
OUT = Path(os.environ.get("OUT", "runs/published/paper"))
EXPERIMENT = os.environ.get("EXPERIMENT", "E1")
ORDER = ["Scratch", "I1k", "R", "RLB", "RUB", "RF"]  # the colours of the other figures

# %% Read
reuse, uniqueness = (pd.read_csv(TABLES / f"feature_{name}.csv") for name in ("reuse", "uniqueness"))
reuse = reuse[reuse["experiment"] == EXPERIMENT]
colours = pretraining_colours([*ORDER, *reuse["pretraining"], *uniqueness["pretraining"]])

# %% Draw and write
fs.save_figure(reuse_bars(reuse, colours), OUT / "feature_reuse")
fs.save_figure(uniqueness_bars(uniqueness, colours), OUT / "feature_uniqueness")
