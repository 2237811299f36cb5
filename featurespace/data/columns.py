"""CSV and Parquet files as a table of columns."""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd

from featurespace import memory
from featurespace.errors import FeaturespaceError
from featurespace.spreadsheets import unguarded

SEPARATORS = ",;\t"  # the one that the header line holds most often counts
HEADER_CHARACTERS = 1_000_000


def read_table(path: Path, *, text: tuple[str, ...] | None = None) -> pd.DataFrame:
    """Read a CSV (UTF-8, separated by comma, semicolon or tab) or Parquet file.

    Parameters
    ----------
    text : the columns of a CSV, in lower case, that are text whatever they hold (0007 is not 7); by default all of them,
        and empty cells alone are missing

    Raises
    ------
    FeaturespaceError
        with path and reason, whatever is wrong with the file
    """
    try:
        if path.suffix.lower() == ".parquet":
            table = _read_parquet(path)
        elif text is None:
            table = unguarded(_read_csv(path))
        else:
            table = unguarded(_read_csv(path, text))
    except UnicodeDecodeError as error:
        raise FeaturespaceError(
            f"{path} is not UTF-8 ({error.reason}, byte {error.start + 1}); save it as CSV UTF-8"
        ) from error
    except FeaturespaceError:
        raise
    except Exception as error:  # of a broken file pandas and pyarrow raise anything
        memory.pass_on(error, f"reading {path}")
        raise FeaturespaceError(f"{path} cannot be read as a table ({str(error) or type(error).__name__})") from error
    if not isinstance(table.index, pd.RangeIndex) and path.suffix.lower() == ".csv":
        raise FeaturespaceError(f"{path}: its rows have more cells than its header; name every column")
    table.columns = [str(column).strip() for column in table.columns]
    _refuse_repeated(path, list(table.columns))
    return table


def _refuse_repeated(path: Path, names: list[str]) -> None:
    for name in names:
        if name and names.count(name) > 1:
            raise FeaturespaceError(f"{path} has two columns {name!r}; take one out")


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow.parquet

    columns = pyarrow.parquet.read_table(path)
    columns.validate(full=True)  # text that is no UTF-8 would show only later
    table = columns.to_pandas()
    return table.reset_index() if any(table.index.names) else table  # an index with a name is a column


def _read_csv(path: Path, text: tuple[str, ...] | None = None) -> pd.DataFrame:
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline(HEADER_CHARACTERS)
    separator = max(SEPARATORS, key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    _refuse_repeated(path, names)  # pandas would rename them
    if text is None:
        return pd.read_csv(
            path, sep=separator, encoding="utf-8-sig", dtype="string", keep_default_na=False, na_values=[""]
        )
    types = {name: "string" for name in names if name.strip().lower() in text}
    return pd.read_csv(path, sep=separator, encoding="utf-8-sig", dtype=types)
