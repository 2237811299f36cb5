"""Sentences and a table on ways of training with several seeds each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from featurespace.errors import counted
from featurespace.report.numbers import count_of, number, p_text, with_interval

ALPHA = 0.05
NAMES = {"cka_debiased": "linear CKA", "mmd2": "MMD²"}
KINDS = {
    "difference": "first less second", "within_a": "seeds of the first", "within_b": "seeds of the second",
    "between": "first and second", "within_less_between": "within less between",
}  # fmt: skip


def arm_sentences(table: pd.DataFrame) -> Iterator[tuple[str, str, bool]]:
    """Yield data set, sentence and whether a difference is shown: CKA and MMD² of every two arms in the last layer."""
    for (analysis, data, a, b), rows in table.groupby(["analysis", "data", "arm_a", "arm_b"], sort=False):
        of_last = rows[rows["layer"] == rows["layer"].iloc[-1]].set_index("kind")
        first = of_last.iloc[0]
        names = [
            f"{name} ({counted(int(count), 'seed')})" for name, count in ((a, first["seeds_a"]), (b, first["seeds_b"]))
        ]
        if analysis == "similarity":
            yield data, *_similarity(of_last, data, names)
        elif analysis == "gap":
            yield data, *_gap(of_last.loc["difference"], data, names)


def _similarity(rows: pd.DataFrame, data: str, names: list[str]) -> tuple[str, bool]:
    between = rows.loc["between"]
    values = f"CKA between them {with_interval(between)}"
    within = [
        f"{name} {number(rows.loc[kind, 'value'])}"
        for name, kind in zip(names, ("within_a", "within_b"))
        if kind in rows.index
    ]
    if within:
        values += f", between seeds of {' and of '.join(within)}"
    if "within_less_between" not in rows.index:
        lead = f"the last layers of the arms {names[0]} and {names[1]} could not be compared by a test"
        return f"On {data}, {lead}: {values}.", False
    test = rows.loc["within_less_between"]
    shown = bool(test["p_value"] <= ALPHA)
    both = f"the last layers of the arms {names[0]} and {names[1]} are less alike than those of seeds of one arm"
    lead = both if shown else f"it is not shown that {both}"
    p = f"{p_text(test['p_value'])} for this layer alone, by permutation of the models"
    if test["p_least"] > ALPHA:
        p += f", where so few seeds cannot give less than {number(test['p_least'])}"
    return f"On {data}, {lead}: {values}; {p}; {count_of(test)}.", shown


def _gap(test: pd.Series, data: str, names: list[str]) -> tuple[str, bool]:
    values = f"mean MMD² {number(test['value_a'])} and {number(test['value_b'])}, difference {with_interval(test)}"
    where = f"in the last layer of the arms {names[0]} and {names[1]}"
    if pd.isna(test["p_value"]):
        return f"The distance from {data} {where} could not be compared by a test: {values}.", False
    shown = bool(test["p_value"] <= ALPHA)
    word = "larger" if test["value"] > 0 else "smaller"
    lead = (
        f"The distance from {data} is {word} in the last layer of the arm {names[0]} than in {names[1]}"
        if shown
        else f"No difference is shown between the distances from {data} {where}"
    )
    p = f"{p_text(test['p_value'])} for this layer alone; seeds and images both count as chance"
    return f"{lead}: {values}, {p}; {count_of(test)}.", shown


def arm_tables(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield, for every two arms, what is known of them in the last layer."""
    for (data, a, b), rows in table.groupby(["data", "arm_a", "arm_b"], sort=False):
        last = rows.groupby(["analysis", "metric", "kind"], sort=False).tail(1)
        yield {
            "title": f"Arms {a} and {b} on {data}, last layer (95 % intervals over seeds and images)",
            "columns": ["of", "what", a, b, "value", "p", "seeds"],
            "rows": [[NAMES.get(row["metric"], row["metric"].replace("_", " ")), KINDS[row["kind"]],
                      *("" if pd.isna(row[side]) else number(row[side]) for side in ("value_a", "value_b")), with_interval(row),
                      "" if pd.isna(row["p_value"]) else number(row["p_value"]), f"{row['seeds_a']} and {row['seeds_b']}"]
                     for _, row in last.iterrows()],
        }  # fmt: skip
