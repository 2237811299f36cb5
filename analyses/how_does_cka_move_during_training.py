"""How does CKA move while a network is finetuned: when do which layers leave the start, and when do they arrive?

Finetunes the ImageNet network on the demo's MRI slices and keeps a checkpoint after every epoch, compares them all with the
start and with the last one on the same slices, and writes `how_does_cka_move_during_training.csv` and `trajectory.pdf` into
RUN: one row a layer and epoch. Run again, it goes on where it stopped.

    RUN=runs/trajectory python analyses/how_does_cka_move_during_training.py

Some minutes on two cores without a GPU.
"""

# %% Imports
import os
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

import featurespace as fs
from featurespace.data.demo import write_mri
from featurespace.demo import ARCH, imagenet_weights
from featurespace.progress import RichProgress

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/trajectory"))
EPOCHS = int(os.environ.get("EPOCHS", "5"))
LAYERS = "bn1,blocks.1.0,blocks.2.0,blocks.3.0,blocks.4.0,blocks.5.0,blocks.6.0,pooled"
RUN.mkdir(parents=True, exist_ok=True)
progress = RichProgress()

# %% Images, and a finetuning of which every epoch is kept
mri, start = RUN / "mri" / "manifest.csv", f"{ARCH}@{imagenet_weights()}"
if not mri.exists():
    write_mri(mri.parent, seed=0)
config = fs.FinetuneConfig(
    model=f"ImageNet={start}", data=f"mri={mri}", out=RUN / "tuned", epochs=EPOCHS, batch_size=32, image_size=64, snapshots=1,
    loggers=(),
)  # fmt: skip
last = fs.finetune(config, progress=progress)

# %% Every epoch as a model
epochs = {f"epoch{number}": RUN / "tuned" / f"epoch_{number:04d}.safetensors" for number in range(1, EPOCHS)}
models = [f"start={start}", *(f"{name}={file}" for name, file in epochs.items()), f"epoch{EPOCHS}={last}"]
run = fs.analyze(
    models, [f"mri={mri}"], RUN / "analysis", layers=LAYERS, image_size=64, only="similarity", control=False, progress=progress
)

# %% CKA of each epoch with the start and with the end, layer by layer
cka = run.tables["similarity"].query("metric == 'cka_debiased' and layer_a == layer_b and model_a != model_b")
parts = []
for reference in ("start", f"epoch{EPOCHS}"):
    of = cka[(cka["model_a"] == reference) | (cka["model_b"] == reference)]
    other = of["model_b"].where(of["model_a"] == reference, of["model_a"])
    number = other.str.removeprefix("epoch").replace("start", "0").astype(int)
    columns = ["layer_a", "value", "ci_low", "ci_high", "n", "n_groups"]
    parts.append(of[columns].rename(columns={"layer_a": "layer"}).assign(reference=reference, epoch=number))
trajectory = pd.concat(parts, ignore_index=True).sort_values(["reference", "layer", "epoch"])
trajectory

# %% The picture: away from the start
away = trajectory[trajectory["reference"] == "start"]
figure = Figure(figsize=(88 / 25.4, 60 / 25.4), layout="constrained")
axes = figure.add_subplot(xlabel="epoch", ylabel="CKA with the start", xticks=range(1, EPOCHS + 1))
for layer, rows in away.groupby("layer", sort=False):
    axes.errorbar(
        rows["epoch"], rows["value"], [rows["value"] - rows["ci_low"], rows["ci_high"] - rows["value"]], marker="o", label=layer
    )
axes.legend(fontsize=7)
figure

# %% Write
trajectory.to_csv(RUN / "how_does_cka_move_during_training.csv", index=False)
fs.save_figure(figure, RUN / "trajectory")
