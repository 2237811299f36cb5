"""Tables of what was compared: models, tensors, data sets and classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from featurespace.plots.many import MANY
from featurespace.run import Run

NO_LABEL, NO_SPLIT = "no label", "no split"


def about_tables(run: Run) -> Iterator[dict[str, Any]]:
    """Yield title, columns and rows of the tables of models and data; those that a reader needs first are open."""
    provenance = run.provenance
    yield {
        "title": "Models", "columns": ["model", "architecture", "weights", "match with the checkpoint"],
        "rows": [[each["label"], each["arch"], each["source"], each["match"] or ""] for each in provenance["models"]],
        **({"open": True} if len(provenance["models"]) <= MANY else {}),
    }  # fmt: skip
    if "match" in run.tables and len(run.tables["match"]):
        counts = run.tables["match"].groupby(["model", "status"], sort=False).size()
        yield {
            "title": "Tensors by how they matched", "columns": ["model", "status", "tensors"],
            "rows": [[model, status, f"{count:,}"] for (model, status), count in counts.items()],
        }  # fmt: skip
    yield {
        "title": "Data", "columns": ["data", "images", "left out", "source", "SHA-256"], "open": True,
        "rows": [[each["label"], f"{each['images']:,}", f"{each['left_out']:,}", each["source"], each["sha256"][:16]]
                 for each in provenance["data"]],
    }  # fmt: skip
    if "classes" in run.tables:
        for data, rows in run.tables["classes"].groupby("data", sort=False):
            yield _class_counts(str(data), rows)


def _class_counts(data: str, rows: pd.DataFrame) -> dict[str, Any]:
    rows = rows.assign(split=rows["split"].replace("", NO_SPLIT), label=rows["label"].replace("", NO_LABEL))
    splits = list(dict.fromkeys(rows["split"]))
    counts = rows.pivot_table(index="label", columns="split", values="images", aggfunc="sum", fill_value=0)
    grouped = rows["groups"].notna().any()
    return {
        "title": f"Classes of {data}: images{' (groups)' if grouped else ''}", "columns": ["label", *splits],
        "rows": [[label, *(_count(rows, label, split, int(counts.loc[label, split])) for split in splits)]
                 for label in counts.index],
    }  # fmt: skip


def _count(rows: pd.DataFrame, label: str, split: str, images: int) -> str:
    groups = rows.loc[rows["label"].eq(label) & rows["split"].eq(split), "groups"].dropna()
    return f"{images:,} ({int(groups.sum()):,})" if len(groups) else f"{images:,}"
