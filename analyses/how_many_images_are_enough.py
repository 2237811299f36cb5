"""How many images are enough to say how alike two models are?

Reads a run directory of `featurespace analyze` (RUN, by default the demo's) and writes `how_many_images_are_enough.csv` into
it: for each pair of corresponding layers how CKA stood at n/8, n/4, n/2 and n images, and how many groups (or images) would
bring its interval to WIDTH on either side, since it narrows with the root of their number.

    RUN=runs/demo python analyses/how_many_images_are_enough.py

Under a second on two cores.
"""

# %% Imports
import os
from pathlib import Path

import numpy as np

import featurespace as fs

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/demo"))
WIDTH = 0.02  # to either side

# %% CKA at n/8, n/4, n/2 and n
run = fs.load(RUN)
keys = ["data", "model_a", "model_b", "layer_a", "layer_b"]
convergence = run.tables["convergence"].query("metric == 'cka_debiased'")
values = convergence.pivot_table(index=keys, columns="part", values="value", sort=False).add_prefix("cka_at_")
values

# %% How far the value moved with the last doubling, beside its interval
whole = convergence[convergence["part"] == 1].set_index(keys)
table = values.join(whole[["value", "ci_low", "ci_high", "n", "n_groups", "unit"]])
table["moved"] = (table["value"] - table["cka_at_0.5"]).abs()
table["half_width"] = (table["ci_high"] - table["ci_low"]) / 2
table["settled"] = table["moved"] <= table["half_width"]
table

# %% How many groups, or images where there are none, would do
table["needed"] = np.ceil(table["n_groups"] * (table["half_width"] / WIDTH) ** 2)
table["enough"] = table["half_width"] <= WIDTH
table

# %% The answer for each data set
summary = table.groupby("data", sort=False).agg({"enough": ["size", "sum"], "settled": "sum", "n_groups": "max", "needed": "max"})
summary

# %% Write
table.reset_index().to_csv(RUN / "how_many_images_are_enough.csv", index=False)
