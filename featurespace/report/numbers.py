"""Numbers as the report's sentences write them."""

from __future__ import annotations

from collections.abc import Sequence

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


def digits_for(*values: float) -> int:
    """Return how many decimals, 3 to 6, tell values apart.

    >>> digits_for(0.9996, 0.9999), digits_for(0.5, 0.7)
    (4, 3)
    """
    different = {round(value, 6) for value in values if not pd.isna(value)}
    return next(
        (digits for digits in range(3, 6) if len({number(each, digits) for each in different}) == len(different)), 6
    )


MOST_NAMES = 6  # of a sentence


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence lists them, of many the first and how many others.

    >>> listed(["a", "b", "c"]), listed([str(number) for number in range(20)])
    ('a, b and c', '0, 1, 2 and 17 others')
    """
    if len(names) > MOST_NAMES:
        names = [*names[:3], f"{len(names) - 3} others"]
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def with_interval(row: pd.Series, digits: int = 3) -> str:
    """Return e.g. ``0.812 (0.790 to 0.834)``; without an interval, the reason."""
    if pd.isna(row["ci_low"]):
        reason = str(row["interval"]).removeprefix("none: ")
        return f"{number(row['value'], digits)} (no interval: {reason})"
    return f"{number(row['value'], digits)} ({number(row['ci_low'], digits)} to {number(row['ci_high'], digits)})"


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
