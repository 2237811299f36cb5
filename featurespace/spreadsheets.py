"""CSV files that a spreadsheet may open: text that it would take for a formula is marked, and read back as it was."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_MARKED = re.compile(r"'+[=+\-@\t\r]")


def guarded(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which text that begins like a formula (= + - @, tab, return) has a quote in front.

    Numbers stay as they are, those in columns of text too: -1 is no formula. `unguarded` gives the table back.
    """
    return _texts_mapped(table, _guard, tuple("=+-@\t\r'"))


def unguarded(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table that `guarded` was given."""
    return _texts_mapped(table, lambda text: text[1:] if isinstance(text, str) and _MARKED.match(text) else text, "'")


def _guard(text: Any) -> Any:
    if not isinstance(text, str) or not _FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _texts_mapped(table: pd.DataFrame, change: Any, beginnings: str | tuple[str, ...]) -> pd.DataFrame:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    changed = {}
    for name in table.columns:
        column = table[name]
        if is_numeric_dtype(column.dtype) or is_bool_dtype(column.dtype):
            continue
        if column.astype("string").str.startswith(beginnings).any():  # seldom; looking is quick, changing is not
            changed[name] = column.map(change, na_action="ignore")
    return table.assign(**changed) if changed else table
