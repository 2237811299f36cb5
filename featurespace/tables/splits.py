"""Which images of a data set a probe learns from, and which it is tested on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.data.splits import train_test_rows
from featurespace.errors import FeaturespaceError, counted
from featurespace.progress import Progress, shortened
from featurespace.tables.stores import Stores

MIN_PER_CLASS = 2  # training images; with one, no cross-validation can hold any back


@dataclass(frozen=True)
class Split:
    """Training and test rows of a data set, with labels and groups."""

    train: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None

    def take(self, rows: np.ndarray) -> np.ndarray | None:
        """Groups of the given rows."""
        return None if self.groups is None else self.groups[rows]


def probe_split(stores: Stores, data: str, *, seed: int, progress: Progress) -> Split | None:
    """Return the split of a data set; None where a probe cannot be made, and the progress says why."""
    labels = stores.column(data, "label")
    if labels is None:
        progress.say(f"no probe on {data!r}: its images have no labels (class folders, or a column 'label')")
        return None
    if len(set(labels) - {""}) < 2:
        progress.say(f"no probe on {data!r}: all labels are {str(labels[0])!r}; a probe needs two classes")
        return None
    try:
        train, test, how = train_test_rows(stores.samples(data), rng=seeding.child(seed, "split"))
    except FeaturespaceError as error:
        progress.say(f"no probe on {data!r}: {error}")
        return None
    _tell_left_out(stores.samples(data), np.r_[train, test], data, progress)
    names, counts = np.unique(labels[train], return_counts=True)
    learnable = names[counts >= MIN_PER_CLASS]
    kept = [rows[np.isin(labels[rows], learnable)] for rows in (train, test)]
    lost = len(train) + len(test) - len(kept[0]) - len(kept[1])
    if lost:
        classes = sorted(set(labels[np.r_[train, test]]) - set(learnable))
        progress.say(
            f"probe on {data!r}: {counted(lost, 'image')} of {counted(len(classes), 'class', 'classes')} with fewer than "
            f"{MIN_PER_CLASS} training images left out ({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''})"
        )
    if len(learnable) < 2 or not len(kept[1]):
        progress.say(
            f"no probe on {data!r}: {counted(len(learnable), 'class has', 'classes have')} {MIN_PER_CLASS} training images or "
            f"more, and {counted(len(kept[1]), 'test image is', 'test images are')} of those; a probe needs two such classes "
            "and a test image"
        )
        return None
    groups = stores.column(data, "group")
    shared = set() if groups is None else set(groups[kept[0]]) & set(groups[kept[1]])
    if shared:
        progress.say(
            f"probe on {data!r}: {counted(len(shared), 'group is', 'groups are')} in training and test "
            f"({shortened(sorted(shared))}), so the test "
            "tells less about new groups than it seems; leave the column 'split' out to split by group"
        )
    progress.say(f"probe on {data!r}: {len(kept[0]):,} training and {counted(len(kept[1]), 'test image')}, {how}")
    return Split(kept[0], kept[1], labels, groups)


def _tell_left_out(samples: pd.DataFrame, used: np.ndarray, data: str, progress: Progress) -> None:
    rest = samples.drop(index=samples.index[used])
    unlabelled = rest["label"].isna()
    splits = rest["split"][~unlabelled].fillna("").value_counts().sort_index(ascending=False)
    parts = [f"{count} {f'of split {split}' if split else 'without split'}" for split, count in splits.items()]
    parts += [f"{unlabelled.sum()} without label"] if unlabelled.any() else []
    if parts:
        verb = "takes" if len(rest) == 1 else "take"
        first, *more = parts
        counted = first.replace(" ", " image " if first.startswith("1 ") else " images ", 1)
        progress.say(f"probe on {data!r}: {' and '.join([counted, *more])} {verb} no part")
