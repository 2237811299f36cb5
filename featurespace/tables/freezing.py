"""Which layers of a start finetuning left as they were, and up to where they could have been held."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from featurespace.errors import counted
from featurespace.stats.means import welch_interval
from featurespace.tables.result_schemas import FREEZING
from featurespace.tables.schema import validate

METRIC, PROBE = "cka_debiased", "accuracy"
REUSED = 0.9
"""CKA with the start, at the lower end of its interval, of a layer that counts as reused."""
ALPHA = 0.05


def freezing_rows(
    task: str, pretraining: str, start: str, runs: dict[str, str], tables: Mapping[str, pd.DataFrame]
) -> list[dict]:
    """Return, for each run and layer of a finetuning, how alike the layer stayed and what its probe gained.

    Parameters
    ----------
    task, pretraining : names in the rows
    start : label of the start among the models of the tables
    runs : label of each finetuned model, and the name of its run
    tables : ``similarity``, ``differences`` and ``layers`` of one analysis of all of them on images of the task

    Notes
    -----
    A layer is reused where the lower end of its CKA's interval is at least `REUSED`, and no gain of its linear probe is shown
    (Holm's p above 0.05 over all differences of the analysis, or a loss).
    """
    similarity, differences, layers = tables["similarity"], tables["differences"], tables["layers"]
    depths = layers[layers["model"] == start].set_index("layer")["depth"]
    alike = similarity[(similarity["metric"] == METRIC) & (similarity["layer_a"] == similarity["layer_b"])]
    probes = differences[(differences["analysis"] == "probe") & (differences["metric"] == PROBE)]
    rows = []
    for label, run in runs.items():
        of = _between(alike, start, label, "model_a", "model_b").set_index("layer_a")
        gains = _between(probes, start, label, "a", "b").set_index("layer")
        for layer in depths.sort_values().index:
            if layer not in of.index or layer not in gains.index:
                continue
            cka, gain = of.loc[layer], gains.loc[layer]
            turned = 1.0 if gain["a"] == label else -1.0
            low, high = sorted((turned * gain["ci_low"], turned * gain["ci_high"]))
            value = turned * gain["value"]
            shown = bool(gain["p_holm"] <= ALPHA and value > 0)
            rows.append({
                "task": task, "pretraining": pretraining, "run": run, "layer": layer, "depth": depths[layer],
                "reuse": cka["value"], "reuse_low": cka["ci_low"], "reuse_high": cka["ci_high"], "gain": value, "gain_low": low,
                "gain_high": high, "p_holm": gain["p_holm"], "n": cka["n"], "reused": bool(cka["ci_low"] >= REUSED) and not shown,
            })  # fmt: skip
    return rows


def freezing_table(rows: list[dict]) -> pd.DataFrame:
    """Return rows of `freezing_rows` as a table of the schema ``freezing``."""
    return validate(rows, FREEZING)


def frozen_up_to(table: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return, for each task and pretraining, the last layer that all runs reused together with all before it; "" for none."""
    found: dict[tuple[str, str], str] = {}
    for (task, pretraining), of in table.groupby(["task", "pretraining"], sort=False):
        kept = of.groupby(["depth", "layer"])["reused"].all().sort_index()
        before = kept.cumprod().astype(bool)
        found[task, pretraining] = before[before].index[-1][1] if before.any() else ""
    return found


def freezing_sentences(table: pd.DataFrame, results: pd.DataFrame) -> list[str]:
    """Return, for each task and pretraining, up to where layers could be held, and what runs that held a layer came to.

    Parameters
    ----------
    table : of the schema ``freezing``
    results : columns task, pretraining, layer, and lists of the accuracies of runs that held it and of runs that held none
    """
    found = []
    for (task, pretraining), layer in frozen_up_to(table).items():
        count = table[(table["task"] == task) & (table["pretraining"] == pretraining)]["run"].nunique()
        if layer:
            what = f"{counted(count, 'finetuning')} left the layers up to {layer} as they were, and no probe of them gained"
        else:
            what = f"the first layer changed already, in one of {counted(count, 'finetuning')} at least: hold none"
        found.append(f"{task}, {pretraining}: {what}")
        for _, row in results[(results["task"] == task) & (results["pretraining"] == pretraining)].iterrows():
            found.append(
                f"{task}, {pretraining}, {row['layer']} and all before it held: {_outcome(row['held'], row['full'])}"
            )
    return found


def _outcome(held: list[float], full: list[float]) -> str:
    """Return the means of runs with and without held layers, with the interval of their difference where runs allow one."""
    if not held or not full:
        return "no runs to compare"
    a, b = float(np.mean(held)), float(np.mean(full))
    text = f"accuracy {a:.3f} ({counted(len(held), 'run')}) against {b:.3f} ({counted(len(full), 'run')})"
    if min(len(held), len(full)) < 2:
        return f"{text}; too few runs to tell more"
    found = welch_interval(held, full)
    low, high = found.ci_low, found.ci_high
    verdict = "no difference shown" if low <= 0 <= high else "less" if a < b else "more"
    return f"{text}: {verdict} (difference {a - b:+.3f} [{low:+.3f}, {high:+.3f}])"


def _between(table: pd.DataFrame, one: str, other: str, first: str, second: str) -> pd.DataFrame:
    forward = (table[first] == one) & (table[second] == other)
    backward = (table[first] == other) & (table[second] == one)
    return table[forward | backward]
