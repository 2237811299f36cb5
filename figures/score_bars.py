"""Paper figure: the score of each pretraining on each task, mean and standard deviation of its runs.

Reads the tables `runs_summary` and `runs` of RUN, a directory that `featurespace compare` made, and writes `score_bars` of one
EXPERIMENT, first metric of each task, to OUT as PDF, SVG and PNG, 180 mm wide.

    RUN=runs/published EXPERIMENT=E1 python figures/score_bars.py

Two seconds on two cores (2026-11-28). The numbers are the columns mean and std; nothing is computed here.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs
from featurespace.plots.results import pretraining_colours, score_bars
from featurespace.tables.comparison import of_first_metrics

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/published"))
OUT = Path(os.environ.get("OUT", RUN / "paper"))
EXPERIMENT = os.environ.get("EXPERIMENT", "E1")

# %% Draw
tables = fs.load(RUN).tables
summary, runs = (table[table["experiment"] == EXPERIMENT] for table in (tables["runs_summary"], tables["runs"]))
figure = score_bars(of_first_metrics(summary), runs, pretraining_colours(tables["runs"]["pretraining"]))

# %% Write
fs.save_figure(figure, OUT / "score_bars")
