"""Tables of results, one number a row, read strictly: what is wrong is named with its row and column."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from featurespace.data.columns import read_table
from featurespace.errors import FeaturespaceError, beside, nearest

RUN_KEYS = ("experiment", "pretraining", "task", "run", "metric")
CURVE_KEYS = ("experiment", "pretraining", "task", "run", "epoch", "metric")
LOSS_KEYS = ("experiment", "pretraining", "task", "run", "epoch", "step")
COUNTS = ("epoch", "step", "samples")  # whole numbers from 0 on; the other keys are text, whatever they hold


def read_runs(files: Sequence[str | Path]) -> pd.DataFrame:
    """Return the rows of runs tables: experiment, pretraining, task, run, metric, value.

    Parameters
    ----------
    files : CSV or Parquet files with exactly these columns, in any order

    Returns
    -------
    DataFrame
        The rows in the order of the files; names are text, value is float64 and finite.

    Raises
    ------
    FeaturespaceError
        a file cannot be read, a column is missing or unknown, a cell is empty or no number, a value is not finite, or two
        rows are of the same experiment, pretraining, task, run and metric; with file, row and column

    Examples
    --------
    >>> read_runs(["runs.csv"])  # doctest: +SKIP
    """
    return _read(files, RUN_KEYS, "value", "a runs table")


def read_curves(files: Sequence[str | Path]) -> pd.DataFrame:
    """Return the rows of curves tables: experiment, pretraining, task, run, epoch (from 0), metric, value.

    Errors are those of `read_runs`, and an epoch that is no whole number from 0 on.
    """
    return _read(files, CURVE_KEYS, "value", "a curves table")


def read_losses(files: Sequence[str | Path]) -> pd.DataFrame:
    """Return the rows of loss tables: experiment, pretraining, task, run, epoch (from 0), step, samples, loss.

    ``samples`` counts the training samples seen when the loss was taken. Errors are those of `read_runs`, and a count that is
    no whole number from 0 on.
    """
    return _read(files, LOSS_KEYS, "loss", "a table of losses", more=("samples",))


def _read(
    files: Sequence[str | Path], keys: tuple[str, ...], value: str, kind: str, more: tuple[str, ...] = ()
) -> pd.DataFrame:
    columns = [*keys, *more, value]
    tables = []
    for file in files:
        tables.append(_one(Path(file).expanduser(), columns, kind).assign(file=str(file)))
    if not tables:
        raise FeaturespaceError(
            f"no {kind.split(' ', 1)[1]} given; name at least one file with the columns {', '.join(columns)}"
        )
    table = pd.concat(tables, ignore_index=True)
    again = table.duplicated(list(keys))
    if again.any():
        second = table[again].iloc[0]
        same = (table[list(keys)] == second[list(keys)]).all(axis=1)
        first = table[same].iloc[0]
        names = ", ".join(f"{key} {second[key]}" for key in keys)
        raise FeaturespaceError(
            f"{second['file']} row {second['row']} and {first['file']} row {first['row']} are the same {value} ({names}); "
            "keep one of them, or give them different runs"
        )
    return table[columns]


def _one(file: Path, columns: list[str], kind: str) -> pd.DataFrame:
    if file.is_dir():
        raise FeaturespaceError(f"{file} is a folder; name {kind}, one file or several")
    if not file.is_file():
        raise FeaturespaceError(
            f"{file} does not exist; name {kind} with the columns {', '.join(columns)}{beside(file)}"
        )
    table = read_table(file)
    for name in table.columns:
        if name not in columns:
            close = nearest(name, set(columns) - set(table.columns))
            hint = f"did you mean {close[0]!r}?" if close else f"{kind} has {', '.join(columns)}"
            raise FeaturespaceError(f"{file}: unknown column {name!r}; {hint}")
    for name in columns:
        if name not in table.columns:
            raise FeaturespaceError(f"{file}: column {name!r} is missing; {kind} has {', '.join(columns)}")
    if table.empty:
        raise FeaturespaceError(f"{file} has no rows; {kind} needs at least one")
    found: dict[str, list] = {}
    for name in columns:
        cells = table[name].tolist()
        if name in COUNTS:
            found[name] = [_count(file, row, name, cell) for row, cell in enumerate(cells, start=1)]
        elif name == columns[-1]:
            found[name] = [_number(file, row, name, cell) for row, cell in enumerate(cells, start=1)]
        else:
            found[name] = [_text(file, row, name, cell) for row, cell in enumerate(cells, start=1)]
    return pd.DataFrame(found).assign(row=range(1, len(table) + 1))


def _text(file: Path, row: int, column: str, cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)  # a column of whole numbers in a Parquet file with empty cells
    text = "" if pd.isna(cell) else str(cell).strip()
    if not text:
        raise FeaturespaceError(f"{file} row {row}: {column!r} is empty; fill it in or delete the row")
    return text


def _number(file: Path, row: int, column: str, cell: object) -> float:
    text = _text(file, row, column, cell) if not isinstance(cell, float) or math.isnan(cell) else repr(cell)
    try:
        found = float(text)
    except ValueError:
        raise FeaturespaceError(
            f"{file} row {row}: {column!r} is {text!r}, which is no number (write a decimal point, no comma)"
        ) from None
    if not math.isfinite(found):
        raise FeaturespaceError(
            f"{file} row {row}: {column!r} is {found}; take the run out, or repeat it, since no mean holds such a value"
        )
    return found


def _count(file: Path, row: int, column: str, cell: object) -> int:
    found = _number(file, row, column, cell)
    if found < 0 or found != int(found):
        raise FeaturespaceError(f"{file} row {row}: {column!r} is {found:g}; it must be a whole number from 0 on")
    return int(found)
