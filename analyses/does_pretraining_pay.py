"""Does pretraining in the domain pay? ImageNet, SimCLR on photographs, SimCLR on brain MRI and scratch, on an MRI task.

Makes the demo's images, pretrains twice, finetunes each of the four starts on the six axial levels of the head with 10 %
and 100 % of the training images and three seeds, and compares the test accuracies by Welch tests with Holm's correction.
Writes `runs.csv`, `does_pretraining_pay.csv` and a directory `comparison` with tables, figures and a report into RUN; run again, it
goes on where it stopped.

    RUN=runs/pays python analyses/does_pretraining_pay.py

15 minutes on two x86-64 cores without a GPU. Expect (2026-11-28, mean accuracy over three seeds with 100 % and with 10 %): ImageNet
0.79 and 0.33, SimCLR on MRI 0.48 and 0.22, on photographs 0.45 and 0.23, scratch 0.40 and 0.17 (chance 0.17). ImageNet is shown
to be better than all others with 100 %, and than scratch with 10 %; between SimCLR on MRI and on photographs nothing is shown.
"""

# %% Imports
import itertools
import os
from pathlib import Path

import featurespace as fs
from featurespace.data.demo import write_mri, write_photographs
from featurespace.demo import ARCH, imagenet_weights
from featurespace.progress import RichProgress

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/pays"))
EPOCHS = int(os.environ.get("EPOCHS", "7"))  # of pretraining
SEEDS = range(int(os.environ.get("SEEDS", "3")))
FRACTIONS = {0.1: 10, 1.0: 3}  # of the training images, and epochs over them
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

# %% The table: every two starts, by Welch's test over the seeds, with Holm's correction over the six pairs of a task
run = fs.compare(RUN / "runs.csv", RUN / "comparison", progress=progress)
table = run.tables["comparison"].query("metric == 'accuracy' and a < b")
table.to_csv(RUN / "does_pretraining_pay.csv", index=False)
table[["task", "a", "b", "mean_a", "mean_b", "difference", "welch_low", "welch_high", "p_holm", "verdict", "runs_needed"]]

# %% In words
[each["sentence"] for each in run.summary["findings"] if "(accuracy" in each["sentence"]]
