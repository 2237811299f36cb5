"""The published study from its own logs: who is ahead on which task, and what of it stands after correction?

Reads the log tree of the public repository of "Why does my medical AI look at pictures of birds?" (Jonske et al., CMPB 2025;
TIO-IKIM/Transfer-learning-across-domain-boundaries, under CC BY-NC 4.0), adds RadNet at its effective sizes (RLB, RUB), and
writes runs, curves and losses as CSV, and a comparison with tables, figures and a report.

    git clone https://github.com/TIO-IKIM/Transfer-learning-across-domain-boundaries study
    LOGS=study/logs_and_checkpoints/finetuning OUT=runs/published python analyses/published_study.py

Half a minute on two cores for E1. Expect (2026-11-28): of 120 comparisons of scores 2 show a difference after Holm's correction,
both on CX8 against Scratch, and 9 more would be significant alone; RUB against I1k on R is +0.438 %, p = .541, and would
need 76 runs of each. Means and deviations of E1, E2, E4, E6 and E8 (242) and times to convergence of E1, E2 and E4 (103)
are those that the study's notebooks print, to the last digit.
"""

# %% Imports
import os
from pathlib import Path

import pandas as pd

import featurespace as fs
from featurespace.progress import RichProgress
from featurespace.results.log_tree import read_log_tree

# %% Constants
LOGS = Path(os.environ.get("LOGS", "study/logs_and_checkpoints/finetuning"))
OUT = Path(os.environ.get("OUT", "runs/published"))
EXPERIMENTS = os.environ.get("EXPERIMENTS", "E1").split(",")  # E1: finetuning with all training data
ADJUST = os.environ.get("ADJUST", str(Path(__file__).parent / "effective_sizes.yaml")) or None
BATCH = {"I1k": 4096, "R": 4096, "CX8": 128, "BraTS": 128, "LiTS": 128}  # images a step, from the study's configurations
ORDER = ["Scratch", "I1k", "R", "RF"]

# %% Logs: tests that the study left behind (PT_..._testing) are no part of it
trees = [read_log_tree(LOGS / experiment, batch_sizes=BATCH) for experiment in EXPERIMENTS]
tables = {}
for name in ("runs", "curves", "losses"):
    table = pd.concat([getattr(tree, name) for tree in trees])
    tables[name] = table[~table["task"].str.endswith("_testing")]
[note for tree in trees for note in tree.notes]

# %% Write them in the paper's order
files = {}
for name, table in tables.items():
    if len(table):
        files[name] = OUT.with_name(f"{OUT.name}_{name}.csv")
        files[name].parent.mkdir(parents=True, exist_ok=True)
        rank = table["pretraining"].map(lambda each: ORDER.index(each) if each in ORDER else len(ORDER))
        table.iloc[rank.argsort(kind="stable")].to_csv(files[name], index=False)
files

# %% Compare
run = fs.compare(files.pop("runs"), OUT, adjust=ADJUST, progress=RichProgress(), **files)
run.tables["comparison"]
