"""What do the images share that a classifier on the features gets wrong?

Reads a run directory of `featurespace analyze` (RUN, by default the demo's), fits a linear probe on the last layer of every
model as the run does, and writes `errors.csv` into it: the test images with what each model says, and
`what_do_errors_share.csv`: the share of errors by label with its interval over groups.

    RUN=runs/demo python analyses/what_do_errors_share.py

Some seconds on two cores.
"""

# %% Imports
import os
from pathlib import Path

import pandas as pd

import featurespace as fs
from featurespace import seeding
from featurespace.data.splits import train_test_rows
from featurespace.metrics import error_consistency, linear_probe
from featurespace.stats.proportions import wilson_estimate

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/demo"))
LAYER = "pooled"
SEED = 0

# %% What each model's probe says of the test images of each data set
run = fs.load(RUN)
models = run.summary["models"]
tables = []
for data in run.summary["data"]:
    samples = run.features(models[0], data).samples
    train, test, _ = train_test_rows(samples, rng=seeding.child(SEED, "errors", data))
    labels, groups = samples["label"].to_numpy(str), samples["group"].fillna(samples["id"]).to_numpy(str)
    said = samples.iloc[test].assign(data=data)
    for model in models:
        X = run.features(model, data)[LAYER]
        probe = linear_probe(
            X[train], labels[train], X[test], groups=groups[train], rng=seeding.child(SEED, "errors", data, model)
        )
        said[model] = probe.predictions
    tables.append(said)
said = pd.concat(tables, ignore_index=True)
wrong = said[models].ne(said["label"], axis=0)
said["models_wrong"] = wrong.sum(axis=1)
said

# %% Are the same images wrong in both? Cohen's kappa of being right, 0 where errors fall independently
pairs = []
for data, of in said.groupby("data", sort=False):
    for model in models[1:]:
        first, second = wrong.loc[of.index, models[0]], wrong.loc[of.index, model]
        kappa = error_consistency(~first, ~second, groups=of["group"].fillna(of["id"]).to_numpy(str))
        pairs.append({"data": data, "a": models[0], "b": model, "both_wrong": int((first & second).sum()), "kappa": kappa.value,
                      "ci_low": kappa.ci_low, "ci_high": kappa.ci_high, "n": kappa.n})  # fmt: skip
pd.DataFrame(pairs)

# %% By label: the share of errors with its interval over groups (patients)
rows = []
for (data, label), of in said.groupby(["data", "label"], sort=False):
    for model in models:
        share = wilson_estimate(wrong.loc[of.index, model], groups=of["group"].fillna(of["id"]).to_numpy(str))
        rows.append({"data": data, "label": label, "model": model, "errors": share.value, "ci_low": share.ci_low,
                     "ci_high": share.ci_high, "n": share.n, "n_groups": share.n_groups})  # fmt: skip
by_label = pd.DataFrame(rows).sort_values("errors", ascending=False, ignore_index=True)
by_label

# %% Which labels are taken for which, by all models alike
confused = said[wrong.all(axis=1)].groupby(["data", "label", models[0]], sort=False).size().sort_values(ascending=False)
confused

# %% Write
said.to_csv(RUN / "errors.csv", index=False)
by_label.to_csv(RUN / "what_do_errors_share.csv", index=False)
