"""Paper figure: who is right where, on the images of a segmentation that divide the models most.

Reads true masks (MASKS), their images (IMAGES) and predicted masks (PREDICTIONS: LABEL=FOLDER,LABEL=FOLDER), all of the same names,
and writes `overlays` to OUT as PDF, SVG and PNG, 180 mm wide.

    MASKS=masks IMAGES=slices PREDICTIONS=scratch=a,ImageNet=b OUT=paper python figures/overlays.py

All masks are read once.
"""

# %% Imports
import os
from pathlib import Path

import featurespace as fs
from featurespace.plots.agreement import answer_overlays
from featurespace.tables.overlays import divided_images

# %% Constants
MASKS = Path(os.environ.get("MASKS", "masks"))
IMAGES = Path(os.environ.get("IMAGES", "images"))
PREDICTIONS = {
    label: Path(folder)
    for label, folder in (each.split("=", 1) for each in os.environ.get("PREDICTIONS", "a=a,b=b").split(","))
}
OUT = Path(os.environ.get("OUT", "paper"))
COUNT = 8

# %% Choose, draw and write
names, images, maps = zip(*divided_images(MASKS, IMAGES, PREDICTIONS, count=COUNT))
fs.save_figure(answer_overlays(images, maps, list(PREDICTIONS), titles=names), OUT / "overlays")
