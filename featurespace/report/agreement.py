"""Sentences and tables on who knows what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from featurespace.report.findings import Finding
from featurespace.report.numbers import number, with_interval

ALPHA = 0.05
KEY = ["task", "label"]


def agreement_findings(tables: Mapping[str, pd.DataFrame]) -> Iterator[Finding]:
    """Yield what all models get right and none, against independent models, and the two that err most alike."""
    for (task, label), rows in tables["agreement"].groupby(KEY, sort=False):
        where = task if label == "all" else f"{task}, {label}"
        everyone, nobody = rows.loc[rows["n_models"].idxmax()], rows.loc[rows["n_models"].idxmin()]
        parts = [
            f"{words} {number(100 * row['value'], 1)} % ({number(100 * row['expected'], 1)} % if they were right independently)"
            for words, row in (("all models are right on", everyone), ("none on", nobody))
        ]
        shown = rows["p_holm"] <= ALPHA
        if rows["p_holm"].isna().all():
            test = "the sets are not tested"
        else:
            test = f"{shown.sum():,} of {len(rows):,} exact sets of models differ from chance after Holm's correction"
        sentence = f"On {where}, {', '.join(parts)}; {test}; n = {everyone['n']:,}."
        yield Finding("agreement", str(task), sentence, bool(shown.any()))
        pairs = tables["error_consistency"]
        own = pairs[(pairs["task"] == task) & (pairs["label"] == label) & pairs["value"].notna()]
        if len(own):
            most = own.loc[own["value"].idxmax()]
            names = f"{most['a']} and {most['b']}"
            sentence = f"On {where}, the errors of {names} are most alike: error consistency {with_interval(most)}."
            yield Finding("agreement", str(task), sentence, bool(most["ci_low"] > 0))


def agreement_report(tables: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Yield title, columns and rows of the tables of who knows what."""
    for (task, label), rows in tables["agreement"].groupby(KEY, sort=False):
        where = task if label == "all" else f"{task}, {label}"
        yield {
            "title": f"Exact sets of models that are right on {where} (95 % interval)",
            "columns": ["models", "count", "share", "if independent", "p", "after Holm"],
            "rows": [[row["set"], f"{row['count']:,}", with_interval(row), number(row["expected"]),
                      *("" if pd.isna(row[each]) else number(row[each]) for each in ("p_value", "p_holm"))]
                     for _, row in rows.iterrows()],
        }  # fmt: skip
    yield {
        "title": "Error consistency (Cohen's kappa of being right; 95 % interval)",
        "columns": ["on", "label", "a", "b", "error consistency", "n"],
        "rows": [[row["task"], row["label"], row["a"], row["b"], with_interval(row), f"{row['n']:,}"]
                 for _, row in tables["error_consistency"].iterrows()],
    }  # fmt: skip
