"""Studies: a grid of trainings as cells, each a folder, run once and in the order of their parents."""
