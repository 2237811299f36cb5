"""Numbers as the report's sentences write them."""

from __future__ import annotations

import pandas as pd


def number(value: float, digits: int = 3) -> str:
    """Return a value with ``digits`` decimals, or with as many significant digits where it is small."""
    if pd.isna(value):
        return "not estimated"
    if value != 0 and abs(value) < 0.5 * 10.0**-digits:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:,.0f}"


LEAST_P = 1e-15


def p_text(value: float) -> str:
    """Return e.g. ``p = 0.012``; of the smallest only that they are below 1e-15, since no distribution is known so far out."""
    return f"p < {LEAST_P:.0e}" if value < LEAST_P else f"p = {number(value)}"


def with_interval(row: pd.Series) -> str:
    """Return e.g. ``0.812 (0.790 to 0.834)``; without an interval, the reason."""
    if pd.isna(row["ci_low"]):
        reason = str(row["interval"]).removeprefix("none: ")
        return f"{number(row['value'])} (no interval: {reason})"
    return f"{number(row['value'])} ({number(row['ci_low'])} to {number(row['ci_high'])})"


def count_of(row: pd.Series) -> str:
    """Return e.g. ``n = 2,100 images in 108 groups``."""
    if "n" in row:
        images = f"{row['n']:,} images"
    elif "n_a" in row:
        images = f"{row['n_a']:,} and {row['n_b']:,} images"
    else:
        images = f"{row['n_train']:,} training and {row['n_test']:,} test images"
    return f"n = {images}" + (
        f" in {row['n_groups']:,} groups" if row["unit"] == "group" and pd.notna(row["n_groups"]) else ""
    )
