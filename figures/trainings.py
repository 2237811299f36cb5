"""Paper figures: epochs to convergence and training losses of each pretraining.

Reads the tables `time_to_convergence` and `loss_curves` of RUN, a directory that `featurespace compare` made with --curves and
--losses, and writes `time_to_convergence`, `losses_over_samples` and `losses_over_epochs` to OUT as PDF, SVG and PNG.

    RUN=runs/published python figures/trainings.py

Seven seconds on two cores (2026-11-28). The numbers are columns of the two tables; nothing is computed here.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs
from featurespace.plots.results import convergence_bars, loss_curves, pretraining_colours
from featurespace.tables.comparison import of_first_metrics

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/published"))
OUT = Path(os.environ.get("OUT", RUN / "paper"))

# %% Draw what there is
tables = fs.load(RUN).tables
colours = pretraining_colours(tables["runs"]["pretraining"])
panels = {}
if "time_to_convergence" in tables:
    times = of_first_metrics(tables["time_to_convergence"])
    panels["time_to_convergence"] = convergence_bars(times, colours)
if "loss_curves" in tables:
    panels["losses_over_samples"] = loss_curves(tables["loss_curves"], colours)
    panels["losses_over_epochs"] = loss_curves(tables["loss_curves"], colours, over="epoch")

# %% Write
for name, figure in panels.items():
    fs.save_figure(figure, OUT / name)
