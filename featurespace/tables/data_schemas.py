"""The columns of the tables about the images themselves."""

from __future__ import annotations

from featurespace.tables.schema import EMBEDDING, Schema

_SIDES = {"a": "string", "b": "string", "kind": "string"}

LEAKAGE = Schema(
    "leakage",
    {**_SIDES, "pairs": "Int64", "shared_a": "Int64", "shared_b": "Int64", "n_a": "int64", "n_b": "int64"},
    ("a", "b", "kind"),
)

LEAKAGE_PAIRS = Schema(
    "leakage_pairs",
    {**_SIDES, "sample_a": "string", "sample_b": "string", "likeness": "float64"},
    ("a", "b", "kind", "sample_a", "sample_b"),
)

ALIGNED_EMBEDDING = Schema(
    "aligned_embedding",
    {name: kind for name, kind in EMBEDDING.columns.items() if name != "method"},
    tuple(name for name in EMBEDDING.key if name != "method"),
)

CLASSES = Schema(
    "classes",
    {"data": "string", "label": "string", "split": "string", "images": "int64", "groups": "Int64"},
    ("data", "label", "split"),
)

NEAREST = Schema(
    "neighbours",
    {
        "model": "string", "layer": "string", "data": "string", "sample": "string", "rank": "int64",
        "neighbour_data": "string", "neighbour": "string", "distance": "float64",
    },
    ("model", "layer", "data", "sample", "rank"),
)  # fmt: skip

IMAGES = Schema(
    "images",
    {
        "data": "string", "sample": "string", "label": "string", "group": "string", "split": "string",
        "thumbnail": "string",
    },
    ("data", "sample"),
)  # fmt: skip

SAMPLING = Schema(
    "sampling",
    {"analysis": "string", "what": "string", "about": "string", "data": "string", "n": "int64", "n_total": "int64"},
    ("what", "data"),
)

PROBE_ANSWERS = Schema(
    "probe_answers",
    {"data": "string", "model": "string", "layer": "string", "sample": "string", "label": "string", "correct": "bool"},
    ("data", "model", "sample"),
)

SCHEMAS = {
    schema.name: schema
    for schema in (LEAKAGE, LEAKAGE_PAIRS, CLASSES, ALIGNED_EMBEDDING, NEAREST, IMAGES, SAMPLING, PROBE_ANSWERS)
}
