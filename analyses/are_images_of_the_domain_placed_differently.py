"""Does training in a domain place its images differently from those of another domain?

Reads a run of `featurespace analyze` with two models and two data sets (RUN, by default the demo's) and writes
`are_images_of_the_domain_placed_differently.csv` into it: layer by layer the distance between the two data sets in either model
(unbiased MMD²), the paired test of the two distances, and how many directions each data set spreads over.

    RUN=runs/demo python analyses/are_images_of_the_domain_placed_differently.py

Under a second on two cores.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/demo"))
ALPHA = 0.05

# %% The distance between the data sets in each layer of both models
run = fs.load(RUN)
before, after = run.summary["models"][:2]
gap = run.tables["domain_gap"].query("metric == 'mmd2'")
distance = gap[gap["model"].isin([before, after])].pivot_table(index="layer", columns="model", values="value", sort=False)
distance

# %% The paired test: does the distance differ between the two models?
differences = run.tables["differences"].query("analysis == 'gap' and metric == 'mmd2'")
tested = differences[(differences["a"] == after) & (differences["b"] == before)].set_index("layer")
result = distance.join(tested[["value", "ci_low", "ci_high", "p_value", "p_holm", "n"]].add_prefix("difference_"))
result["placed"] = "no difference shown"
shown = result["difference_p_holm"] <= ALPHA
result.loc[shown, "placed"] = result.loc[shown, "difference_value"].map(lambda each: "further" if each > 0 else "closer")
result

# %% How many directions each data set spreads over, in either model
spread = run.tables["geometry"].query("metric == 'participation_ratio_debiased'")
spread = spread[spread["model"].isin([before, after])]
directions = spread.pivot_table(index="layer", columns=["data", "model"], values="value", sort=False)
directions.columns = [f"directions_{data}_{model}" for data, model in directions.columns]
result = result.join(directions)
result

# %% The answer
counts = result["placed"].value_counts().to_dict()
answer = f"In {counts} of {len(result)} layers, the data sets lie so in {after}, beside {before} (p after Holm over the layers)."
answer

# %% Write
result.to_csv(RUN / "are_images_of_the_domain_placed_differently.csv")
