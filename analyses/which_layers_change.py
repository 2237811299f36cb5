"""Which layers does finetuning change, and is the change more than noise?

Reads a run directory of `featurespace analyze` (RUN, by default the demo's) and writes `which_layers_change.csv` into it:
one row a layer with the CKA of the first two models, its interval, and the paired test against the untrained control.

    RUN=runs/demo python analyses/which_layers_change.py

Under a second on two cores. Expected on the demo (2026-11-24): on brain MRI the CKA of the ImageNet network and the one
finetuned on brain MRI lies between 0.85 and 0.98 up to blocks.4.2 and falls to 0.53 at the pooled output.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/demo"))
LAST_REUSED = 0.8  # a layer counts as reused where the whole interval lies above this CKA

# %% The similarity of corresponding layers
run = fs.load(RUN)
before, after = run.summary["models"][:2]
similarity = run.tables["similarity"]
pair = similarity[
    (similarity["metric"] == "cka_debiased")
    & (similarity["model_a"] == before)
    & (similarity["model_b"] == after)
    & (similarity["layer_a"] == similarity["layer_b"])
][["data", "layer_a", "value", "ci_low", "ci_high", "n", "n_groups"]].rename(columns={"layer_a": "layer"})
pair

# %% The paired test: are the two models closer to each other than the first is to its untrained control?
differences = run.tables["differences"]
tested = differences[(differences["analysis"] == "similarity") & (differences["a"] == f"{before} / {after}")]
result = pair.merge(
    tested[["data", "layer", "value", "p_holm"]], on=["data", "layer"], how="left", suffixes=("", "_above_control")
)
result["reused"] = result["ci_low"] > LAST_REUSED
result

# %% The deepest layer that is still reused, on each data set
deepest = result[result["reused"]].groupby("data", sort=False)["layer"].last()
deepest

# %% Write
result.to_csv(RUN / "which_layers_change.csv", index=False)
