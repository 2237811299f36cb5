"""Paper table: mean and deviation of each pretraining on each task, best in bold, stars by Holm's correction.

Reads the tables `runs_summary` and `comparison` of RUN, a directory that `featurespace compare` made, and writes
`results.tex` (booktabs) and `results.html` of one EXPERIMENT to OUT.

    RUN=runs/published EXPERIMENT=E1 python figures/results_table.py

One second on two cores (2026-11-28). The numbers are the columns mean, std and p_holm; nothing is computed here.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs
from featurespace.report.paper_tables import results, to_html, to_latex

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/published"))
OUT = Path(os.environ.get("OUT", RUN / "paper"))
EXPERIMENT = os.environ.get("EXPERIMENT", "E1")
DIGITS = 5

# %% Make
tables = fs.load(RUN).tables
summary = tables["runs_summary"]
chosen = summary[(summary["experiment"] == EXPERIMENT) & ~summary["metric"].str.startswith("epochs_to_convergence")]
table = results(chosen, tables["comparison"])

# %% Write
OUT.mkdir(parents=True, exist_ok=True)
(OUT / "results.tex").write_text(to_latex(table, digits=DIGITS), encoding="utf-8")
(OUT / "results.html").write_text(to_html(table, digits=DIGITS), encoding="utf-8")
