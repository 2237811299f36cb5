"""Does pretraining in the domain pay? ImageNet, SimCLR on photographs, SimCLR on brain MRI and scratch, on an MRI task.

Makes the demo's images, pretrains twice, finetunes each of the four starts on the six axial levels of the head with 10 %
and 100 % of the training images and three seeds, and compares the test accuracies by Welch tests with Holm's correction.
Writes `runs.csv` and `does_pretraining_pay.csv` into RUN; run again, it goes on where it stopped.

    RUN=runs/pays python analyses/does_pretraining_pay.py
"""

# %% Imports
import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import ttest_ind

import featurespace as fs
from featurespace.data.demo import write_mri, write_photographs
from featurespace.demo import ARCH, imagenet_weights
from featurespace.progress import RichProgress
from featurespace.stats import holm

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/pays"))
EPOCHS = int(os.environ.get("EPOCHS", "10"))  # of pretraining
SEEDS = range(int(os.environ.get("SEEDS", "3")))
FRACTIONS = {0.1: 20, 1.0: 3}  # of the training images, and epochs over them
SHARED = {"image_size": 64, "loggers": ()}
RUN.mkdir(parents=True, exist_ok=True)
progress = RichProgress()

# %% Images
photos, mri = RUN / "photos" / "manifest.csv", RUN / "mri" / "manifest.csv"
for manifest, write in ((photos, write_photographs), (mri, write_mri)):
    if not manifest.exists():
        write(manifest.parent, seed=0)

# %% Pretraining
starts = {"scratch": f"{ARCH}@random", "ImageNet": f"{ARCH}@{imagenet_weights()}"}
for name, manifest in (("SimCLR photographs", photos), ("SimCLR MRI", mri)):
    config = fs.PretrainConfig(
        model=ARCH, method="simclr", data=(f"images={manifest}",), out=RUN / name.replace(" ", "-"), epochs=EPOCHS,
        batch_size=128, learning_rate=2e-3, warmup_epochs=EPOCHS / 10, **SHARED,
    )  # fmt: skip
    starts[name] = str(fs.pretrain(config, progress=progress))

# %% Finetuning: the same images for every start with the same seed
for (name, model), (fraction, epochs), seed in itertools.product(starts.items(), FRACTIONS.items(), SEEDS):
    label = name.replace(" ", "-")
    config = fs.FinetuneConfig(
        model=f"{label}={model}", data=f"mri={mri}", out=RUN / f"{label}-{fraction:g}-{seed}", epochs=epochs, batch_size=32,
        fraction=fraction, seed=seed, pretraining=name, runs=RUN / "runs.csv", **SHARED,
    )  # fmt: skip
    fs.finetune(config, progress=progress)

# %% The table: every two starts, by Welch's test over the seeds
runs = pd.read_csv(RUN / "runs.csv").query("metric == 'accuracy'")
rows = []
for task, (a, b) in itertools.product(runs["task"].unique(), itertools.combinations(starts, 2)):
    x, y = (runs.query("task == @task and pretraining == @each")["value"].to_numpy() for each in (a, b))
    test = ttest_ind(x, y, equal_var=False) if min(len(x), len(y)) > 1 else None
    low, high = test.confidence_interval() if test else (np.nan, np.nan)
    rows.append([task, a, b, x.mean(), y.mean(), x.mean() - y.mean(), low, high, test.pvalue if test else np.nan, len(x)])
table = pd.DataFrame(rows, columns=["task", "a", "b", "mean_a", "mean_b", "difference", "ci_low", "ci_high", "p_value", "n"])
table["p_holm"] = holm(table["p_value"])
ahead = np.where(table["difference"] > 0, table["a"], table["b"])
table["shown"] = np.where(table["p_holm"] < 0.05, "better: " + pd.Series(ahead), "nothing shown")
table

# %% Write
table.to_csv(RUN / "does_pretraining_pay.csv", index=False)
