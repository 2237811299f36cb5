"""The runs table: experiment, pretraining, task, run, metric, value; each training appends its rows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from featurespace import files
from featurespace.errors import FeaturespaceError
from featurespace.spreadsheets import guarded, unguarded
from featurespace.training.settings import FinetuneConfig

COLUMNS = ["experiment", "pretraining", "task", "run", "metric", "value"]
KEYS = COLUMNS[:-1]


def append_rows(file: Path, config: FinetuneConfig, model: str, data: str, metrics: dict[str, float]) -> None:
    """Append a training's test scores; rows of the same names are replaced, since they are of the same training.

    ``task`` tells what was trained how: data set, linear where only a classifier was, share of the data, noise; training
    from scratch is the same task by another start, the ``pretraining`` scratch. Several trainings may write to one table
    at once.
    """
    from filelock import FileLock

    start = "scratch" if config.mode == "scratch" else model
    parts = [
        data,
        "linear" if config.mode == "linear" else "",
        "" if config.fraction == 1 else f"{100 * config.fraction:g}%",
    ]
    parts.append(f"held to {config.freeze}" if config.freeze else "")
    parts.append(f"{config.noise.kind} noise {config.noise.sigma:g} ({config.noise.at})" if config.noise else "")
    names = {
        "experiment": config.experiment or data, "pretraining": config.pretraining or start,
        "task": " ".join(each for each in parts if each), "run": config.run or str(config.seed),
    }  # fmt: skip
    rows = pd.DataFrame(
        [names | {"metric": metric, "value": value} for metric, value in metrics.items()], columns=COLUMNS
    )
    with files.writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_name(f".{file.name}.lock")):
            if file.exists():
                rows = pd.concat([_read(file), rows]).drop_duplicates(KEYS, keep="last")
            files.write_atomic(file, lambda path: guarded(rows).to_csv(path, index=False))


def _read(file: Path) -> pd.DataFrame:
    try:
        table = unguarded(pd.read_csv(file, dtype=str, keep_default_na=False))
        table["value"] = table["value"].map(float)  # exact, as pandas' own reader is not
    except (ValueError, KeyError) as error:
        raise FeaturespaceError(f"{file} is no runs table ({error}); name another file as runs") from error
    if list(table) != COLUMNS:
        raise FeaturespaceError(
            f"{file} has the columns {list(table)}, a runs table has {COLUMNS}; name another file as runs"
        )
    return table
