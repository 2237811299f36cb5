"""Paper figure: similarity of corresponding layers and probe accuracy by depth, of one run.

Reads the tables of RUN (by default the demo's) and writes `layers_and_probes_a` and `_b` as PDF, SVG and PNG to OUT.

    RUN=runs/demo OUT=runs/demo/paper python figures/layers_and_probes.py

Three seconds on two cores. The numbers are columns of similarity.csv and probe.csv; nothing is computed here.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs
from featurespace.plots.depth import probe_by_depth
from featurespace.plots.similarity import similarity_by_layer

# %% Constants
RUN = Path(os.environ.get("RUN", "runs/demo"))
OUT = Path(os.environ.get("OUT", RUN / "paper"))

# %% Draw
tables = fs.load(RUN).tables
panels = {
    "layers_and_probes_a": similarity_by_layer(tables["similarity"], tables["layers"]),
    "layers_and_probes_b": probe_by_depth(tables["probe"], tables["layers"]),
}

# %% Write
for name, figure in panels.items():
    fs.save_figure(figure, OUT / name)
