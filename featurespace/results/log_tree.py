"""The log tree of the published study, as runs, curves and losses.

A folder a run, ``EXPERIMENT/PT_[SimCLR_]PRETRAINING_FT_TASK[_f1|_f2|_f3]``, the last part counting repeated runs from 1 (none
is run 0), with test.log (one row), val.log (a row an epoch, from 0) and train.log (epoch from 1, step, loss).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from featurespace.data.columns import read_table
from featurespace.errors import FeaturespaceError

RUN = re.compile(r"PT_(SimCLR_)?(?P<pretraining>.+?)_FT_(?P<task>.+?)(_f(?P<run>\d+))?")
METRICS = ("acc", "auc_avg_overall", "dice_avg_class_[1-9]*")
SAME = {"accuracy": "acc"}  # a score under two names


class LogTree(NamedTuple):
    """What a log tree holds, with the columns of `read_runs`, `read_curves` and `read_losses`; and what was left out."""

    runs: pd.DataFrame
    curves: pd.DataFrame
    losses: pd.DataFrame
    notes: list[str]


def read_log_tree(
    folder: str | Path, *, metrics: Sequence[str] = METRICS, batch_sizes: Mapping[str, int] | None = None
) -> LogTree:
    """Read the logs of the public repository of Jonske et al. 2025, or of a part of it.

    Parameters
    ----------
    folder : a clone of the repository, or any folder within it that holds those of runs
    metrics : patterns of the scores to keep; ``accuracy`` is called ``acc`` as in the paper
    batch_sizes : images a step by task, for the samples seen; a task without it has no losses

    Returns
    -------
    LogTree
        Rows in the order of experiments, pretrainings and runs by name. Losses are means over the steps of an epoch.

    Raises
    ------
    FeaturespaceError
        there are no runs, a log cannot be read, or two folders are the same run; with the file

    Examples
    --------
    >>> read_log_tree("Transfer-learning-across-domain-boundaries").runs  # doctest: +SKIP
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise FeaturespaceError(f"{folder} is no folder; name a clone of the study's repository")
    found = {
        path: match for path in sorted(folder.rglob("PT_*")) if path.is_dir() and (match := RUN.fullmatch(path.name))
    }
    if not found:
        raise FeaturespaceError(f"{folder} holds no run: no folder is called PT_..._FT_... in it")
    runs: list[dict] = []
    curves: list[pd.DataFrame] = []
    losses: list[pd.DataFrame] = []
    notes: list[str] = []
    seen: dict[tuple[str, ...], Path] = {}
    for path, match in found.items():
        names = {"experiment": path.parent.name, "pretraining": match["pretraining"], "task": match["task"],
                 "run": match["run"] or "0"}  # fmt: skip
        if not (path / "test.log").is_file():
            notes.append(f"{path.relative_to(folder)} has no test.log and is left out")
            continue
        key = tuple(names.values())
        if key in seen:
            raise FeaturespaceError(
                f"{path} and {seen[key]} are the same run ({', '.join(key)}); move one of them away"
            )
        seen[key] = path
        runs += [names | row for row in _scores(path / "test.log", metrics)]
        if (path / "val.log").is_file():
            curves.append(_curve(path / "val.log", metrics).assign(**names))
        if batch_sizes is not None and (path / "train.log").is_file():
            if names["task"] in batch_sizes:
                losses.append(_losses(path / "train.log", batch_sizes[names["task"]]).assign(**names))
            else:
                notes.append(f"{path.relative_to(folder)} has no losses: batch_sizes has no task {names['task']!r}")
    keys = ["experiment", "pretraining", "task", "run"]
    return LogTree(
        pd.DataFrame(runs, columns=[*keys, "metric", "value"]), _joined(curves, [*keys, "epoch", "metric", "value"]),
        _joined(losses, [*keys, "epoch", "step", "samples", "loss"]), notes,
    )  # fmt: skip


def _scores(file: Path, metrics: Sequence[str]) -> list[dict]:
    table = _log(file)
    if len(table) != 1:
        raise FeaturespaceError(f"{file} has {len(table)} rows below its header; a test has one")
    chosen = _chosen(file, table, metrics)
    return [{"metric": name, "value": float(chosen[name].iloc[0])} for name in chosen]


def _curve(file: Path, metrics: Sequence[str]) -> pd.DataFrame:
    table = _log(file, "epoch")
    chosen = _chosen(file, table, metrics).assign(epoch=table["epoch"].astype(int))
    return chosen.melt("epoch", var_name="metric", value_name="value")


def _losses(file: Path, batch: int) -> pd.DataFrame:
    table = _log(file, "epoch", "step", "loss")
    means = table.groupby("epoch").agg(step=("step", "max"), loss=("loss", "mean")).reset_index()
    return means.assign(
        epoch=means["epoch"].astype(int) - 1, step=means["step"].astype(int), samples=means["step"].astype(int) * batch
    )


def _log(file: Path, *needed: str) -> pd.DataFrame:
    """Return a log as numbers; dates are left out. Raises FeaturespaceError where a column that is needed is missing."""
    table = read_table(file)
    missing = [name for name in needed if name not in table]
    if missing:
        raise FeaturespaceError(f"{file} lacks the column {missing[0]!r}; it has {', '.join(table)}")
    try:
        return table.drop(columns="datetime", errors="ignore").apply(lambda column: column.map(float))
    except (TypeError, ValueError) as error:
        raise FeaturespaceError(f"{file} holds a cell that is no number ({error})") from error


def _chosen(file: Path, table: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    named = table.rename(columns=SAME)
    chosen = [name for name in named if any(fnmatchcase(name, pattern) for pattern in metrics)]
    if not chosen:
        raise FeaturespaceError(f"{file} has none of the scores {', '.join(metrics)}; it has {', '.join(table)}")
    return named[chosen]


def _joined(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
