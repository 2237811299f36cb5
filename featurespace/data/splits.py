"""Training and test samples: as given, or drawn by group and class."""

from __future__ import annotations

import numpy as np
import pandas as pd

from featurespace.errors import FeaturespaceError


def train_test_rows(
    samples: pd.DataFrame, *, rng: np.random.Generator, test_fraction: float = 0.3
) -> tuple[np.ndarray, np.ndarray, str]:
    """Return training rows, test rows, and how they were chosen.

    The ``split`` column decides where there is one (``val`` serves as test only where there is no ``test``).
    Otherwise ``test_fraction`` of the groups (of the samples, where there are no groups) is drawn, stratified by
    label; a group is never on both sides. Samples without a label take no part.
    """
    labelled = samples["label"].notna().to_numpy()
    split = samples["split"]
    if split.notna().any():
        held_out = "test" if (split == "test").any() else "val"
        train = np.flatnonzero(labelled & (split == "train").fillna(False).to_numpy(bool))
        test = np.flatnonzero(labelled & (split == held_out).fillna(False).to_numpy(bool))
        if not len(train) or not len(test):
            raise FeaturespaceError(
                f"the split column leaves {len(train)} labelled training and {len(test)} labelled test samples; "
                "it must name both train and test, or be left out"
            )
        return train, test, f"split column ({held_out} is the test)"
    rows = np.flatnonzero(labelled)
    labels = samples["label"].iloc[rows].astype(str)
    units = samples["group"].fillna(samples["id"]).iloc[rows].astype(str)
    test_units = _draw_units(labels, units, rng=rng, test_fraction=test_fraction)
    is_test = np.array([each in test_units for each in units.tolist()])
    how = "groups" if samples["group"].notna().any() else "samples"
    return rows[~is_test], rows[is_test], f"{test_fraction:.0%} of the {how} drawn at random, stratified by label"


def _draw_units(labels: pd.Series, units: pd.Series, *, rng: np.random.Generator, test_fraction: float) -> set[str]:
    # A unit counts under its most frequent label; within each label a fixed share of its units is drawn.
    table = pd.DataFrame({"unit": units, "label": labels})
    counts = table.value_counts(sort=False).rename("count").reset_index()  # a call for each unit would take minutes
    counts = counts.sort_values(["unit", "count", "label"], ascending=[True, False, True])
    main = counts.drop_duplicates("unit").set_index("unit")["label"]
    chosen: set[str] = set()
    for _, members in sorted(main.groupby(main).groups.items()):
        names = sorted(members)
        if len(names) < 2:
            continue  # its only unit stays in training: a class without training samples cannot be learnt
        count = min(max(1, round(len(names) * test_fraction)), len(names) - 1)
        chosen.update(rng.permutation(names)[:count].tolist())
    if not chosen:
        raise FeaturespaceError(
            "no class has two groups (or samples), so no test set can be drawn; add images or a split column"
        )
    return chosen


def stratified_rows(samples: pd.DataFrame, limit: int, *, rng: np.random.Generator) -> np.ndarray:
    """Return ``limit`` row numbers in ascending order, in proportion to label and split, at least one of each."""
    label, split = (pd.factorize(samples[name].fillna("").astype(str))[0] for name in ("label", "split"))
    shuffled = rng.permutation(len(samples))
    strata = pd.Series((label * (split.max(initial=0) + 1) + split)[shuffled])
    # Place of each sample within its stratum, as a share: the smallest shares are a proportional sample.
    share = strata.groupby(strata).cumcount().to_numpy() / np.bincount(strata)[strata]
    return np.sort(shuffled[np.argsort(share, kind="stable")[:limit]])


def fraction_rows(samples: pd.DataFrame, rows: np.ndarray, fraction: float, *, rng: np.random.Generator) -> np.ndarray:
    """Return that share of ``rows``: of each label, at least one image, and group after group.

    Within a label the groups come in random order and so do the images of a group; the share is the beginning of that
    list. So a smaller share lies within a larger one of the same ``rng``, and 10 % of the images come from about 10 % of
    the patients.
    """
    samples = samples.iloc[rows]
    labels = samples["label"].to_numpy(str)
    groups = samples["group"].fillna(samples["id"]).to_numpy(str)
    names, code = np.unique(groups, return_inverse=True)
    order = np.lexsort((rng.permutation(len(rows)), rng.permutation(len(names))[code]))
    chosen = []
    for label in np.unique(labels):
        own = order[labels[order] == label]
        chosen.append(own[: max(1, round(fraction * len(own)))])
    return np.sort(rows[np.concatenate(chosen)])
