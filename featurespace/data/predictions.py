"""Predictions of a finetuned model on test samples: which of its answers are right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from featurespace.data.columns import read_table
from featurespace.data.samples import as_text
from featurespace.errors import FeaturespaceError

ONE_ANSWER = "all"
"""In place of a label where a sample has one answer: its class."""
NEEDED = ("id", "label", "predicted")


def read_predictions(path: str | Path) -> pd.DataFrame:
    """Return one row an answer of ``predictions.csv``, as `featurespace train finetune` writes it.

    Parameters
    ----------
    path : a table with the columns ``id``, ``label``, ``predicted``, where present ``group``, and ``p_CLASS`` for each class.
        Where probabilities do not add up to 1, labels are separated by ``|`` and each is an answer of its own: yes or no;
        those marked ``?`` are known of nobody and left out

    Returns
    -------
    DataFrame
        ``answer`` (the label that is asked for, or "all"), ``id``, ``group``, ``truth`` (the class, or yes and no) and
        ``correct``.

    Raises
    ------
    FeaturespaceError
        If the file cannot be read or lacks a column, holds Dice scores instead of answers, a sample has no id, label or
        prediction, or an id stands twice.
    """
    path = Path(path)
    table = read_table(path)
    lacking = [name for name in NEEDED if name not in table.columns]
    dice = [name for name in table.columns if name.startswith("dice_")]
    if lacking and dice:
        raise FeaturespaceError(
            f"{path} is of a segmentation: it holds one Dice score an image ({dice[0]}), not which pixels are right; count "
            "them with featurespace.metrics.answer_counts from masks and predictions"
        )
    if lacking:
        raise FeaturespaceError(
            f"{path} has no column {lacking[0]!r} (it has {', '.join(table.columns[:12])}); needed are {', '.join(NEEDED)}, as "
            "in predictions.csv of `featurespace train finetune`"
        )
    if table.empty:
        raise FeaturespaceError(f"{path} has no rows; it needs one a test sample")
    columns = {name: [as_text(each) for each in table[name]] for name in NEEDED}
    columns["group"] = [as_text(each) for each in table["group"]] if "group" in table.columns else [None] * len(table)
    found = pd.DataFrame(columns, dtype="string")
    _check(path, found)
    chances = _chances(path, table)
    if len(chances.columns) and (np.abs(chances.sum(axis=1) - 1) > 1e-3).any():
        return _answers_by_label(path, found, [name.removeprefix("p_") for name in chances.columns])
    if found["predicted"].isna().any():
        raise FeaturespaceError(
            f"{path}: sample {found.loc[found['predicted'].isna(), 'id'].iloc[0]!r} has no prediction"
        )
    right = (found["label"] == found["predicted"]).to_numpy(bool)
    return found[["id", "group"]].assign(answer=ONE_ANSWER, truth=found["label"], correct=right)


def _chances(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    written = table[[name for name in table.columns if name.startswith("p_")]]
    found = written.apply(pd.to_numeric, errors="coerce")
    wrong = np.argwhere(found.isna().to_numpy())
    if len(wrong):
        row, column = wrong[0]
        raise FeaturespaceError(
            f"{path}: column {written.columns[column]!r} holds {written.iloc[row, column]!r} in row {row + 1}; it is a probability"
        )
    return found


def _check(path: Path, found: pd.DataFrame) -> None:
    for name in ("id", "label"):
        empty = np.flatnonzero(found[name].isna())
        if len(empty):
            raise FeaturespaceError(f"{path}: row {empty[0] + 1} has no {name}; {len(empty)} such rows")
    doubled = found.loc[found["id"].duplicated(), "id"]
    if len(doubled):
        raise FeaturespaceError(f"{path}: sample {doubled.iloc[0]!r} stands there twice ({len(doubled)} such rows)")


def _answers_by_label(path: Path, found: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    parts = []
    truths = [{part.strip() for part in each.split("|")} for each in found["label"]]
    answers = [set(each.split("|")) for each in found["predicted"].fillna("")]
    strange = [each for each in answers if not each - {""} <= set(names)]
    if strange:
        raise FeaturespaceError(
            f"{path}: predicted is {'|'.join(sorted(strange[0]))!r}; the labels are {', '.join(names)}"
        )
    for name in names:
        known = np.array([f"?{name}" not in each for each in truths])
        truth, answer = (np.array([name in each for each in sets]) for sets in (truths, answers))
        rows = found[["id", "group"]].assign(answer=name, truth=np.where(truth, "yes", "no"), correct=truth == answer)
        parts.append(rows[known])
    return pd.concat(parts, ignore_index=True)
