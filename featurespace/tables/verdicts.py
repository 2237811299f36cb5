"""Verdicts that a user can act on, drawn from the tables of a run: what its numbers cannot carry, and what would help."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from featurespace.tables.schema import VERDICTS, validate
from featurespace.tables.stores import corresponding_layers

HALF_WIDTH = 0.05
"""An interval of a CKA or an accuracy wider than this on either side is called wide."""
AGREEMENT = 0.5
"""Rank correlation over layers below which two measures are said to disagree."""
MIN_LAYERS = 5
"""Fewer layers have no rank correlation worth the name."""
ALPHA = 0.05
PAIR = ["data", "model_a", "model_b"]
PLACE = [*PAIR, "layer_a", "layer_b"]


def verdicts_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return one row a verdict; ``value`` is what was seen and ``limit`` what it is held against.

    ``wide_interval``: the widest interval of a CKA between two models, or of a last layer's probe, is wider than 0.05
    on either side; `n_needed` images (groups, where `unit` says so) would bring it there, as it shrinks with the root of
    their number. ``not_converged``: the value moved by more than chance explains when the images doubled.
    ``measures_disagree``: over the layers, CKA and another measure rank the changes with a Spearman correlation below
    0.5. ``not_above_control``: layers whose CKA is not shown to lie above that with an untrained network. ``few_images``:
    without the most influential 1 % the value leaves its interval. ``groups_raise``: pairs within a group move it by
    more than 0.05. ``sampled``: some statistics take a sample of the images. ``one_seed``: each model is one training run.
    """
    rows: list[dict] = []
    layers = tables["layers"]
    if "similarity" in tables:
        similarity = _corresponding(tables["similarity"], layers)
        rows += _wide(similarity)
        rows += _disagree(similarity)
        rows += _groups_raise(similarity)
    if "convergence" in tables:
        rows += _not_converged(tables["convergence"])
    if "influence_summary" in tables:
        rows += _few_images(tables["influence_summary"], tables["convergence"])
    if "differences" in tables:
        rows += _not_above_control(tables["differences"])
    if "probe" in tables:
        rows += _wide_probes(tables["probe"], layers)
    if "sampling" in tables:
        rows += _sampled(tables["sampling"])
    models = _models(layers)
    seeds = layers.drop_duplicates("model")["arm"].value_counts()
    if len(models) > 1 and (len(seeds) < 2 or seeds.min() < 2):
        rows.append({"verdict": "one_seed", "analysis": "all", "data": "all", "model_a": models[0], "model_b": models[1],
                     "layer": "all", "metric": "all", "value": 1, "limit": 2})  # fmt: skip
    return validate(pd.DataFrame(rows, columns=list(VERDICTS.columns)), VERDICTS)


def _sampled(sampling: pd.DataFrame) -> Iterator[dict]:
    for data, rows in sampling.groupby("data", sort=False):
        taken = "; ".join(f"{about} {n:,}" for about, n in zip(rows["about"], rows["n"]))
        yield {"verdict": "sampled", "analysis": "all", "data": data, "model_a": "all", "model_b": "all", "layer": "all",
               "metric": taken, "value": rows["n"].min(), "limit": rows["n"].max(), "n": rows["n_total"].iloc[0]}  # fmt: skip


def _models(layers: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(layers.loc[layers["role"] == "model", "model"]))


def _corresponding(similarity: pd.DataFrame, layers: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of corresponding layers of two trained models, in order of depth."""
    names = {model: rows.sort_values("depth")["layer"].tolist() for model, rows in layers.groupby("model", sort=False)}
    wanted = [
        (a, b, *pair) for a, b in combinations(_models(layers), 2) for pair in corresponding_layers(names[a], names[b])
    ]
    keys = pd.DataFrame(wanted, columns=["model_a", "model_b", "layer_a", "layer_b"])
    return keys.merge(similarity, on=list(keys.columns))


def _layer(row: pd.Series) -> str:
    return row["layer_a"] if row["layer_a"] == row["layer_b"] else f"{row['layer_a']} / {row['layer_b']}"


def _verdict(name: str, analysis: str, row: pd.Series, value: float, limit: float, **more: object) -> dict:
    key = {"data": row["data"], "model_a": row["model_a"], "model_b": row["model_b"], "layer": _layer(row)}
    return {"verdict": name, "analysis": analysis, **key, "value": value, "limit": limit, **more}


def _needed(row: pd.Series, half: float) -> dict:
    by_group = row["unit"] == "group"
    count = int(row["n_groups"]) if by_group else int(row["n"])
    needed = math.ceil(round(count * (half / HALF_WIDTH) ** 2, 6))
    return {"n": count, "n_needed": needed, "unit": row["unit"]}


def _half(rows: pd.DataFrame) -> pd.Series:
    return (rows["ci_high"] - rows["ci_low"]) / 2


def _wide(similarity: pd.DataFrame) -> Iterator[dict]:
    rows = similarity[(similarity["metric"] == "cka_debiased") & similarity["ci_low"].notna()]
    for _, pair in rows.groupby(PAIR, sort=False):
        half = _half(pair)
        if half.max() > HALF_WIDTH:
            widest = pair.loc[half.idxmax()]
            needed = _needed(widest, half.max())
            yield _verdict(
                "wide_interval", "similarity", widest, half.max(), HALF_WIDTH, metric="cka_debiased", **needed
            )


def _wide_probes(probe: pd.DataFrame, layers: pd.DataFrame) -> Iterator[dict]:
    last = layers.loc[layers.groupby("model")["depth"].idxmax()].set_index("model")["layer"]
    rows = probe[(probe["probe"] == "linear") & (probe["metric"] == "accuracy") & probe["ci_low"].notna()]
    rows = rows[rows["model"].isin(_models(layers)) & (rows["layer"] == rows["model"].map(last))]
    for _, of_data in rows.groupby("data", sort=False):
        half = _half(of_data)
        if half.max() > HALF_WIDTH:
            widest = of_data.loc[half.idxmax()]
            place = widest.rename({"n_test": "n"}).to_dict()
            row = pd.Series({**place, "model_a": place["model"], "model_b": place["model"], "layer_a": place["layer"],
                             "layer_b": place["layer"]})  # fmt: skip
            needed = _needed(row, half.max())
            yield _verdict("wide_interval", "probe", row, half.max(), HALF_WIDTH, metric="accuracy", **needed)


def _disagree(similarity: pd.DataFrame) -> list[dict]:
    reference = similarity[similarity["metric"] == "cka_debiased"]
    order = {pair: place for place, pair in enumerate(dict.fromkeys(zip(*(reference[name] for name in PAIR))))}
    found = []
    for metric in dict.fromkeys(similarity["metric"]):
        if metric.startswith("cka"):
            continue
        other = similarity.loc[similarity["metric"] == metric, [*PLACE, "value"]]
        both = reference.merge(other, on=PLACE, suffixes=("", "_other"))
        for pair, rows in both.groupby(PAIR, sort=False):
            first, second = rows["value"].to_numpy(float), rows["value_other"].to_numpy(float)
            second = -second if metric.endswith(("_distance", "_angle")) else second
            if len(rows) < MIN_LAYERS or np.ptp(first) == 0 or np.ptp(second) == 0:
                continue
            rho = float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])
            if rho < AGREEMENT:
                least, more = rows.iloc[second.argmin()], {"metric": metric, "n": len(rows)}
                found.append((order[pair], _verdict("measures_disagree", "similarity", least, rho, AGREEMENT, **more)))
    return [verdict for _, verdict in sorted(found, key=lambda each: each[0])]


def _groups_raise(similarity: pd.DataFrame) -> Iterator[dict]:
    both = similarity[similarity["metric"].isin(["cka_debiased", "cka_between_groups"])]
    values = both.pivot_table(index=PLACE, columns="metric", values="value", sort=False)
    if values.shape[1] < 2:
        return
    change = (values["cka_debiased"] - values["cka_between_groups"]).dropna().rename("change").reset_index()
    size = change["change"].abs()
    for _, own in size[size > HALF_WIDTH].groupby([change[name] for name in PAIR], sort=False):
        row = change.loc[own.idxmax()]
        yield _verdict("groups_raise", "similarity", row, row["change"], HALF_WIDTH, metric="cka_debiased")


def _not_converged(convergence: pd.DataFrame) -> Iterator[dict]:
    half = convergence.loc[convergence["part"] == 0.5, [*PLACE, "value"]]
    rows = convergence[convergence["part"] == 1].merge(half, on=PLACE, suffixes=("", "_half"), how="left")
    moved = (rows["value"] - rows["value_half"]).abs()
    # halves of the same images: the variance of the move is that of the value of all; Bonferroni over the layers
    layers = rows.groupby(PAIR)["value"].transform("size")
    allowed = _half(rows) * norm.isf(ALPHA / 2 / layers) / norm.isf(ALPHA / 2)
    rows = rows.assign(moved=moved, allowed=allowed, ratio=moved / allowed)
    for _, pair in rows[rows["ratio"] > 1].groupby(PAIR, sort=False):
        most = pair.loc[pair["ratio"].idxmax()]
        yield _verdict("not_converged", "similarity", most, most["moved"], most["allowed"], metric="cka_debiased")


def _few_images(summary: pd.DataFrame, convergence: pd.DataFrame) -> Iterator[dict]:
    whole = convergence[convergence["part"] == 1][[*PLACE, "ci_high"]]
    rows = summary[summary["unit"] == "sample"].merge(whole, on=PLACE)
    rows = rows[rows["value_without_top"] > rows["ci_high"]]
    for _, pair in rows.groupby(PAIR, sort=False):
        most = pair.loc[(pair["value_without_top"] - pair["value"]).idxmax()]
        numbers = {"n": int(most["top_units"]), "metric": "cka_debiased"}
        yield _verdict("few_images", "similarity", most, most["value_without_top"], most["value"], **numbers)


def _not_above_control(differences: pd.DataFrame) -> Iterator[dict]:
    tests = differences[(differences["analysis"] == "similarity") & differences["p_value"].notna()]
    for (data, a, b), rows in tests.groupby(["data", "a", "b"], sort=False):
        above = (rows["p_holm"] <= ALPHA) & (rows["value"] > 0)
        if not above.all():
            yield {"verdict": "not_above_control", "analysis": "similarity", "data": data, "model_a": a, "model_b": b,
                   "layer": rows.loc[~above, "layer"].iloc[0], "metric": "cka_debiased", "value": int((~above).sum()),
                   "limit": 0, "n": len(rows)}  # fmt: skip
