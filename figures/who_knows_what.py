"""Paper figure: the share of test samples that each exact set of models gets right, against independent models.

Reads the table `agreement` of RUN, a directory that `featurespace compare` made with --predictions, and writes `who_knows_what`,
for its first task and label, to OUT as PDF, SVG and PNG, 180 mm wide.

    RUN=runs/published python figures/who_knows_what.py

Three seconds on two cores (2026-11-28). The numbers are the columns value, error and expected; nothing is computed here.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs
from featurespace.plots.agreement import who_knows_what

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/published"))
OUT = Path(os.environ.get("OUT", RUN / "paper"))

# %% Draw and write
fs.save_figure(who_knows_what(fs.load(RUN).tables["agreement"]), OUT / "who_knows_what")
