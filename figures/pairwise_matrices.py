"""Paper figure: every two pretrainings on each task, difference in percent and Welch's p, coloured by direction x (1 - p).

Reads the table `comparison` of RUN, a directory that `featurespace compare` made, and writes `pairwise_matrices` of one
EXPERIMENT, first metric of each task, to OUT as PDF, SVG and PNG, 180 mm wide.

    RUN=runs/published EXPERIMENT=E1 python figures/pairwise_matrices.py

Four seconds on two cores (2026-11-28). The numbers are the columns delta_percent and p_value; nothing is computed here.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs
from featurespace.plots.pairwise import pairwise_matrices
from featurespace.tables.comparison import of_first_metrics

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/published"))
OUT = Path(os.environ.get("OUT", RUN / "paper"))
EXPERIMENT = os.environ.get("EXPERIMENT", "E1")

# %% Draw
table = fs.load(RUN).tables["comparison"]
figure = pairwise_matrices(of_first_metrics(table[table["experiment"] == EXPERIMENT]))

# %% Write
fs.save_figure(figure, OUT / "pairwise_matrices")
