"""The published study from its own logs: who is ahead on which task, and what of it stands after correction?

Reads the log tree of the public repository of "Why does my medical AI look at pictures of birds?" (Jonske et al., CMPB 2025;
TIO-IKIM/Transfer-learning-across-domain-boundaries, under CC BY-NC 4.0), adds RadNet at its effective sizes (RLB, RUB), and
writes runs, curves and losses as CSV, and a comparison with tables, figures and a report.

    git clone https://github.com/TIO-IKIM/Transfer-learning-across-domain-boundaries study
    LOGS=study/logs_and_checkpoints/finetuning OUT=runs/published python analyses/published_study.py

@RESULT@
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
ADJUST = Path(__file__).parent / "effective_sizes.yaml"
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
