"""Who knows what: which test samples each exact set of models gets right, and whether two models err on the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.data.masks import predicted_masks
from featurespace.data.predictions import ONE_ANSWER, read_predictions
from featurespace.errors import FeaturespaceError
from featurespace.metrics.agreement import Agreement, pixel_agreement, sample_agreement
from featurespace.metrics.answers import MOST_MODELS, answer_counts
from featurespace.metrics.consistency import error_consistency, pixel_error_consistency
from featurespace.stats.estimate import Estimate
from featurespace.tables.schema import AGREEMENT, ERROR_CONSISTENCY, interval_columns, validate

NONE = "none"
"""The set of no models."""
AND = " + "


def agreement_tables(
    predictions: Mapping[str, str | Path],
    *,
    task: str = "test",
    by_class: bool = False,
    seed: int = 0,
    permutations: int = 9999,
) -> dict[str, pd.DataFrame]:
    """Return the tables agreement and error_consistency of 2 to 6 models on the same test samples.

    Parameters
    ----------
    predictions : label of a model -> its ``predictions.csv``, as `featurespace train finetune` writes it
    task : what they were tested on, for the tables
    by_class : what independent models would give within each class, so that easy and hard classes are no agreement
    seed : of the permutations
    permutations : how many

    Returns
    -------
    dict
        ``agreement``, one row an exact set of models, and ``error_consistency``, one row a pair. Where a sample can have
        several labels, each label has rows of its own. With groups (patients) everything is by group.

    Raises
    ------
    FeaturespaceError
        If there are fewer than 2 or more than 6 models, a label cannot be told from those of sets, a file cannot be read, or
        two files are of other samples, labels or groups; with the file and the sample.
    """
    names = _checked_labels(list(predictions))
    tables = [read_predictions(path) for path in predictions.values()]
    first = _matched(tables, [Path(path) for path in predictions.values()])
    rows: list[dict] = []
    pairs: list[dict] = []
    for answer in dict.fromkeys(first["answer"]):
        asked = (first["answer"] == answer).to_numpy(bool)
        correct = np.stack([table["correct"].to_numpy(bool)[asked] for table in tables], axis=-1)
        groups = _groups(tables, asked)
        labels = first["truth"].to_numpy(str)[asked] if by_class else None
        rng = seeding.child(seed, "agreement", task, answer)
        found = sample_agreement(correct, rng=rng, groups=groups, labels=labels, permutations=permutations)
        key = {"task": task, "label": answer}
        rows += _set_rows(found, names, key)
        both = combinations(range(len(names)), 2)
        estimates = [error_consistency(correct[:, i], correct[:, j], groups=groups) for i, j in both]
        pairs += _pair_rows(estimates, names, key)
    return {"agreement": validate(rows, AGREEMENT), "error_consistency": validate(pairs, ERROR_CONSISTENCY)}


def pixel_agreement_tables(
    counts: Any, models: Sequence[str], *, groups: Any = None, task: str = "test"
) -> dict[str, pd.DataFrame]:
    """Return the same tables over the foreground pixels of a segmentation.

    Parameters
    ----------
    counts : (images, 2^m) pixels of each image that each exact set of models gets right, from `answer_counts`
    models : (m,) labels of the models
    groups : (images,) labels (patients) of images that depend on each other; None if images are independent
    task : what they were tested on, for the tables

    Raises
    ------
    FeaturespaceError
        If the counts are not of so many models, or as in `agreement_tables`.
    """
    names = _checked_labels(list(models))
    if np.ndim(counts) != 2 or np.shape(counts)[1] != 2 ** len(names):
        raise FeaturespaceError(
            f"the counts have shape {np.shape(counts)}; of {len(names)} models ({', '.join(names)}) they are (images, "
            f"{2 ** len(names)}), from answer_counts"
        )
    key = {"task": task, "label": ONE_ANSWER}
    rows = _set_rows(pixel_agreement(counts, groups=groups), names, key)
    both = combinations(range(len(names)), 2)
    estimates = [pixel_error_consistency(counts, i, j, groups=groups) for i, j in both]
    pairs = _pair_rows(estimates, names, key)
    return {"agreement": validate(rows, AGREEMENT), "error_consistency": validate(pairs, ERROR_CONSISTENCY)}


def mask_agreement_tables(
    masks: str | Path,
    predictions: Mapping[str, str | Path],
    *,
    groups: Mapping[str, str] | None = None,
    background: int = 0,
    task: str = "test",
) -> dict[str, pd.DataFrame]:
    """Return the same tables from folders of mask files, true and predicted, one image in memory at a time.

    Parameters
    ----------
    masks : folder of the true masks; 255 is a pixel of which nobody knows the class
    predictions : label of a model -> folder of its predicted masks, under the same names
    groups : name of an image (its path below the folder, without suffix) -> group (patient); by default each is its own
    background : the class that is no foreground
    task : what they were tested on, for the tables

    Raises
    ------
    FeaturespaceError
        As `predicted_masks` and `pixel_agreement_tables`; if an image has no group, or no mask has foreground.
    """
    names = _checked_labels(list(predictions))
    counts, of_image = [], []
    for name, mask, predicted in predicted_masks(masks, predictions):
        if groups is not None and name not in groups:
            raise FeaturespaceError(
                f"image {name!r} has no group (groups name {len(groups)} images); give every image one"
            )
        counts.append(answer_counts(mask, predicted, background=background))
        of_image.append(None if groups is None else groups[name])
    if not np.any(counts):
        raise FeaturespaceError(
            f"no mask below {masks} has a pixel that is neither background ({background}) nor unknown"
        )
    return pixel_agreement_tables(np.array(counts), names, groups=of_image if groups else None, task=task)


def set_name(members: Sequence[int], models: Sequence[str]) -> str:
    """Return the name of a set of models: their labels joined by plus signs, or none."""
    return AND.join(models[each] for each in members) or NONE


def _checked_labels(models: list[str]) -> list[str]:
    if not 2 <= len(models) <= MOST_MODELS:
        raise FeaturespaceError(
            f"who knows what was asked of {len(models)} models ({', '.join(models) or 'none'}); it takes 2 to {MOST_MODELS}"
        )
    for each in models:
        if each == NONE or AND in each or models.count(each) > 1:
            raise FeaturespaceError(
                f"a model is labelled {each!r}; labels are given once, are not {NONE!r} and hold no {AND!r}, by which sets of "
                "models are named: choose another"
            )
    return models


def _matched(tables: list[pd.DataFrame], paths: list[Path]) -> pd.DataFrame:
    """Sort every table like the first one, in place; raise FeaturespaceError where they are of other samples."""
    first = tables[0]
    for place, (table, path) in enumerate(zip(tables[1:], paths[1:]), start=1):
        for one, other, where, there in ((first, table, path, paths[0]), (table, first, paths[0], path)):
            missing = one.loc[~one["id"].isin(other["id"]), "id"].unique()
            if len(missing):
                raise FeaturespaceError(
                    f"{where} lacks {len(missing)} samples of {there}, the first is {missing[0]!r}; give predictions on the same "
                    "test samples"
                )
        both = first[["answer", "id", "truth"]].merge(
            table, on=["answer", "id"], how="outer", suffixes=("", "_there"), sort=False
        )
        wrong = both[(both["truth"] != both["truth_there"]).fillna(True)]
        if len(wrong):
            row = wrong.fillna("not known").iloc[0]
            asked = "" if row["answer"] == ONE_ANSWER else f" {row['answer']}"
            raise FeaturespaceError(
                f"sample {row['id']!r}: label{asked} {row['truth']} in {paths[0]}, {row['truth_there']} in {path} "
                f"({len(wrong)} such samples); give predictions against the same labels"
            )
        order = pd.MultiIndex.from_frame(first[["answer", "id"]])
        tables[place] = table.set_index(["answer", "id"]).loc[order].reset_index()
        apart = tables[place]["group"].ne(first["group"]).fillna(False).to_numpy(bool)
        if apart.any():
            row = first[apart].iloc[0]
            raise FeaturespaceError(
                f"sample {row['id']!r}: group {row['group']} in {paths[0]}, {tables[place]['group'][apart].iloc[0]} in {path} "
                f"({apart.sum()} such samples); give predictions with the same groups"
            )
    return first


def _groups(tables: list[pd.DataFrame], asked: np.ndarray) -> np.ndarray | None:
    """Return the groups that any table has; a sample without one is a group of its own."""
    groups = tables[0]["group"]
    for table in tables[1:]:
        groups = groups.fillna(table["group"])
    groups = groups[asked]
    if groups.isna().all():
        return None
    return groups.fillna("\0" + tables[0]["id"][asked]).to_numpy(str)


def _set_rows(found: Agreement, models: list[str], key: dict[str, str]) -> list[dict]:
    return [
        {
            **key, "set": set_name(members, models), "n_models": len(members), "count": int(found.counts[place]),
            "n": found.shares[place].n, "error": found.errors[place], "expected": found.expected[place],
            "p_value": found.p_values[place], "p_holm": found.p_holm[place], **interval_columns(found.shares[place]),
        }
        for place, members in enumerate(found.sets)
    ]  # fmt: skip


def _pair_rows(estimates: list[Estimate], models: list[str], key: dict[str, str]) -> list[dict]:
    return [
        {**key, "a": a, "b": b, "n": found.n, "se": found.se, **interval_columns(found)}
        for (a, b), found in zip(combinations(models, 2), estimates, strict=True)
    ]
