"""Data sets: images with id, label, group and split."""
