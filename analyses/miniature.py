"""The published study in miniature: six starts, three tasks, small data, linear evaluation and noise, on real images.

Writes the demo's photographs and MRI slices (with masks) and the ImageNet weights of an installed package into RUN, runs the
study of miniature.yaml (48 cells), and shows who is ahead. Run again, it goes on where it stopped.

    RUN=runs/miniature python analyses/miniature.py
"""

# %% Imports
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd

import featurespace as fs
from featurespace.data.demo import write_photographs
from featurespace.demo import imagenet_weights
from featurespace.progress import RichProgress
from featurespace.studying import read_study

# %% Constants
HERE = Path(__file__).parent
RUN = Path(os.environ.get("RUN", "runs/miniature"))
CHANGES = tuple(filter(None, os.environ.get("SET", "").split(";")))  # KEY=VALUE;KEY=VALUE for the study
RUN.mkdir(parents=True, exist_ok=True)

# %% Images and weights
if not (RUN / "photographs" / "manifest.csv").exists():
    write_photographs(RUN / "photographs", seed=0)
if not (RUN / "mri" / "colour.csv").exists():
    script = HERE / "recipes" / "miniature" / "write_images.py"
    subprocess.run([sys.executable, script], check=True, env={**os.environ, "OUT": str(RUN / "mri")})
shutil.copyfile(imagenet_weights(), RUN / "imagenet.pth")

# %% The study: its paths are below RUN
text = (HERE / "miniature.yaml").read_text().replace("runs/miniature/", f"{RUN}/")
(RUN / "miniature.yaml").write_text(text)
out = fs.study(read_study(RUN / "miniature.yaml", CHANGES), progress=RichProgress())

# %% Who is ahead
run = fs.load(out / "comparison")
[each["sentence"] for each in run.summary["findings"]]

# %% Does anything measured on the features of the starts put them in the order of their finetunings?
pd.read_csv(out / "prediction.csv")[["task", "score", "value", "ci_low", "ci_high", "n", "p_value", "p_holm", "verdict"]]

# %% What finetuning left as it was, layer by layer
changed = pd.read_csv(out / "freezing.csv")
changed.groupby(["pretraining", "layer"], sort=False)[["reuse", "gain", "reused"]].mean()
