"""One plain sentence for each finding, chosen by interval or p, and traceable to its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from featurespace.plots.many import is_many
from featurespace.report.arms import arm_sentences
from featurespace.report.geometry import geometry_sentences
from featurespace.report.numbers import count_of, digits_for, number, p_text, with_interval
from featurespace.report.overview import overview_sentences
from featurespace.report.verdicts import influence_sentences, verdict_sentence
from featurespace.report.weights import weights_sentences
from featurespace.run import Run
from featurespace.tables.leakage import leakage_sentences
from featurespace.tables.probe import PIXEL_LAYER, PIXELS
from featurespace.tables.schema import DIFFERENCES, validate
from featurespace.tables.stores import corresponding_layers

ALPHA = 0.05
MOST_SENTENCES = 10  # on a table, where one stands for others
RAW = f"raw pixels ({PIXEL_LAYER})"


class Finding(NamedTuple):
    """A sentence, the table it comes from, whether a difference is shown, and whether it stands for others after it."""

    table: str
    data: str
    sentence: str
    shown: bool
    main: bool = False


def findings(run: Run) -> list[Finding]:
    """Return the findings of a run in reading order.

    A difference counts as shown where p is at most 0.05, Holm-corrected where a sentence speaks of many layers; for the
    least and the most similar layer, where their 95 % intervals do not overlap. Otherwise the sentence says "no
    difference is shown".
    """
    tables, layers = run.tables, run.tables["layers"]
    found = [Finding(*each, main=True) for each in overview_sentences(tables, layers)]
    differences = tables["differences"] if "differences" in tables else validate([], DIFFERENCES)
    if "similarity" in tables:
        found += _similarity(tables["similarity"], layers)
        found += _against_control(differences, layers)
    if "influence_summary" in tables:
        told = influence_sentences(tables["influence_summary"], _told_pairs(_names(layers, "model")))
        found += [Finding("influence_summary", data, sentence, True) for data, sentence in told]
    if "probe" in tables:
        found += _probe(tables["probe"], differences, layers)
    if "domain_gap" in tables:
        found += _gap(tables["domain_gap"], layers)
    if "gap_influence" in tables:
        found += _outside(tables["gap_influence"])
    if "geometry" in tables:
        last = {model: _layers_of(layers, model)[-1] for model in dict.fromkeys(layers["model"])}
        told = _told_pairs(_names(layers, "model"))
        sentences = geometry_sentences(tables["geometry"], differences, told, last)
        found += [Finding("geometry", data, sentence, shown) for data, sentence, shown in sentences]
    if "weights" in tables:
        pairs = _told_pairs(_names(layers, "model"))
        of_weights = weights_sentences(tables["weights"], pairs)
        found += [Finding("weights", "all", sentence, shown) for sentence, shown in of_weights]
    if "arms" in tables:
        found += [Finding("arms", data, sentence, shown) for data, sentence, shown in arm_sentences(tables["arms"])]
    if "leakage" in tables:
        found += [Finding("leakage", "all", text, shared) for text, shared in leakage_sentences(tables["leakage"])]
    if "verdicts" in tables:
        found += _verdicts(tables["verdicts"], many=is_many(layers))
    return found


def _verdicts(table: pd.DataFrame, *, many: bool) -> Iterator[Finding]:
    """Tell each verdict; the first of a kind stands for the others, of many models with their number."""
    kinds = list(zip(*(table[name] for name in ("data", "verdict", "analysis"))))
    left = Counter(kinds)
    told: set[tuple[str, ...]] = set()
    for row, kind in zip(table.to_dict("records"), kinds):
        others = left[kind] - 1
        more = f" Likewise {others:,} more, in the table verdicts." if many and others and kind not in told else ""
        yield Finding("verdicts", row["data"], verdict_sentence(row) + more, False, kind not in told)
        told.add(kind)


def in_short(found: list[Finding]) -> list[Finding]:
    """Return the findings without those for which another one stands, of tables with many."""
    counts = Counter(each.table for each in found)
    many = {each.table for each in found if each.main and counts[each.table] > MOST_SENTENCES}
    return [each for each in found if each.main or each.table not in many]


def _apart(a: pd.Series, b: pd.Series) -> int:
    """Return 1 if a lies above b, -1 if below, 0 if the intervals overlap or one is missing."""
    if a["ci_low"] > b["ci_high"]:
        return 1
    return -1 if a["ci_high"] < b["ci_low"] else 0


def _names(layers: pd.DataFrame, role: str) -> list[str]:
    return list(dict.fromkeys(layers.loc[layers["role"] == role, "model"]))


def _layers_of(layers: pd.DataFrame, model: str) -> list[str]:
    return layers[layers["model"] == model].sort_values("depth")["layer"].tolist()


def _diagonal(rows: pd.DataFrame, layers: pd.DataFrame, model_a: str, model_b: str) -> pd.DataFrame:
    pairs = corresponding_layers(_layers_of(layers, model_a), _layers_of(layers, model_b))
    between = rows[(rows["model_a"] == model_a) & (rows["model_b"] == model_b)].set_index(["layer_a", "layer_b"])
    return between.loc[[pair for pair in pairs if pair in between.index]].reset_index()


def _similarity(table: pd.DataFrame, layers: pd.DataFrame) -> Iterator[Finding]:
    table = table[table["metric"] == "cka_debiased"]
    models = _names(layers, "model")
    for data in dict.fromkeys(table["data"]):
        rows = table[table["data"] == data]
        for model_a, model_b in _told_pairs(models):
            pair = _diagonal(rows, layers, model_a, model_b)
            if not len(pair):
                continue
            yield _change_over_depth(pair, model_a, model_b, data)


def _told_pairs(models: list[str]) -> list[tuple[str, str]]:
    # Every pair is in the tables; of many models the sentences tell only the comparisons with the first.
    return list(combinations(models, 2)) if len(models) <= 3 else [(models[0], model) for model in models[1:]]


def _change_over_depth(pair: pd.DataFrame, model_a: str, model_b: str, data: str) -> Finding:
    least, most = pair.loc[pair["value"].idxmin()], pair.loc[pair["value"].idxmax()]
    if least["value"] >= 1 - 1e-9:
        sentence = (
            f"On {data}, {model_a} and {model_b} have the same features in every layer (CKA 1); {count_of(least)}."
        )
        return Finding("similarity", data, sentence, False)
    if len(pair) == 1:
        sentence = f"On {data}, CKA of {model_a} and {model_b} in {_layer(least)} is {with_interval(least)}; {count_of(least)}."
        return Finding("similarity", data, sentence, False)
    low, high = (with_interval(each, digits_for(least["value"], most["value"])) for each in (least, most))
    if _apart(most, least) == 1:
        sentence = (
            f"On {data}, {model_a} and {model_b} are least alike in {_layer(least)}, linear CKA {low}, "
            f"and most alike in {_layer(most)}, {high}; {count_of(least)}."
        )
        return Finding("similarity", data, sentence, True)
    sentence = (
        f"On {data}, no difference between layers is shown in how alike {model_a} and {model_b} are: linear CKA runs from "
        f"{low} in {_layer(least)} to {high} in {_layer(most)}; {count_of(least)}."
    )
    return Finding("similarity", data, sentence, False)


def _against_control(differences: pd.DataFrame, layers: pd.DataFrame) -> Iterator[Finding]:
    told = {f"{model_a} / {model_b}" for model_a, model_b in _told_pairs(_names(layers, "model"))}
    rows = differences[(differences["analysis"] == "similarity") & differences["a"].isin(told)]
    for (data, a, b), tests in rows.groupby(["data", "a", "b"], sort=False):
        if tests["p_value"].isna().all():
            reason = str(tests["interval"].iloc[0]).removeprefix("none: ")
            yield Finding(
                "similarity",
                data,
                f"On {data}, CKA of {a} and of {b} (random weights) could not be compared by a test: {reason}.",
                False,
            )
            continue
        closer = int(((tests["p_holm"] <= ALPHA) & (tests["value"] > 0)).sum())
        farther = int(((tests["p_holm"] <= ALPHA) & (tests["value"] < 0)).sum())
        sentence = f"On {data}, CKA of {a} lies above CKA of {b} (random weights) in {closer} of {len(tests)} layers"
        if farther:
            sentence += f" and below it in {farther}"
        if closer + farther < len(tests):
            sentence += f"; no difference is shown in {len(tests) - closer - farther}"
        yield Finding(
            "similarity",
            data,
            f"{sentence} (paired jackknife test, Holm over layers; {count_of(tests.iloc[0])}).",
            closer + farther > 0,
        )


def _layer(row: pd.Series) -> str:
    return row["layer_a"] if row["layer_a"] == row["layer_b"] else f"{row['layer_a']} / {row['layer_b']}"


def _probe(table: pd.DataFrame, differences: pd.DataFrame, layers: pd.DataFrame) -> Iterator[Finding]:
    scores = table[(table["probe"] == "linear") & (table["metric"] == "accuracy")].set_index(["data", "model", "layer"])
    last = {model: _layers_of(layers, model)[-1] for model in dict.fromkeys(layers["model"])} | {PIXELS: PIXEL_LAYER}
    for _, tests in differences[differences["analysis"] == "arms"].groupby(["data", "a", "b"], sort=False):
        yield _arms(tests, layers)
    tests = differences[differences["analysis"] == "probe"]
    for data, rows in tests.groupby("data", sort=False):
        if rows["p_value"].isna().all():
            reason = str(rows["interval"].iloc[0]).removeprefix("none: ")
            names = [model for model in last if (data, model, last[model]) in scores.index]
            values = ", ".join(f"{model} {number(scores.loc[(data, model, last[model]), 'value'])}" for model in names)
            count = count_of(scores.loc[(data, names[0], last[names[0]])])
            lead = f"On {data}, linear probes could not be compared by a test ({reason})"
            yield Finding("probe", str(data), f"{lead}; test accuracy on the last layers: {values}; {count}.", False)
            tests = tests[tests["data"] != data]
    models = _names(layers, "model")
    told = {(b, a) for a, b in _told_pairs(models)}
    for (data, a, b), rows in tests.groupby(["data", "a", "b"], sort=False):
        if (a, b) not in told and (b in models or a not in models):  # b may be raw pixels, or the model's own control
            continue
        at_end = rows[rows["layer"].isin([last[a], f"{last[a]} / {last[b]}"])]
        if len(at_end):
            yield _probe_pair(rows, at_end.iloc[0], scores.loc[(data, a, last[a])], scores.loc[(data, b, last[b])])


def _arms(tests: pd.DataFrame, layers: pd.DataFrame) -> Finding:
    """Tell whether the last layer of two arms differs, seeds and test images both counted as chance."""
    test = tests.iloc[-1]
    seeds = layers.drop_duplicates("model")["arm"].value_counts()
    a, b = (f"{name} ({seeds[name]} seed{'s' * (seeds[name] > 1)})" for name in (test["a"], test["b"]))
    values = (
        f"mean test accuracy {number(test['value_a'])} and {number(test['value_b'])}, difference {with_interval(test)}"
    )
    if pd.isna(test["p_value"]):
        sentence = f"On {test['data']}, the arms {a} and {b} could not be compared by a test: {values}."
        return Finding("probe", test["data"], sentence, False)
    shown = bool(test["p_value"] <= ALPHA)
    word = "better" if test["value"] > 0 else "worse"
    lead = f"a linear probe on the last layer reads the class {word} from the arm {a} than from {b}" if shown else (
        f"no difference is shown between linear probes on the last layer of the arms {a} and {b}"
    )  # fmt: skip
    sentence = (
        f"On {test['data']}, {lead}: {values}, {p_text(test['p_value'])} for this layer alone; seeds and test images both "
        f"count as chance; {count_of(test)}."
    )
    return Finding("probe", test["data"], sentence, shown)


def _probe_pair(rows: pd.DataFrame, test: pd.Series, score_a: pd.Series, score_b: pd.Series) -> Finding:
    names = [RAW if name == PIXELS else name for name in (test["a"], test["b"])]
    values = (
        f"{names[0]} {with_interval(score_a)}, {names[1]} {with_interval(score_b)}, difference {with_interval(test)}, "
        f"{p_text(test['p_value'])} for this layer alone; {count_of(score_a)}; chance {number(score_a['chance'])}"
    )
    shown = bool(test["p_value"] <= ALPHA)
    if pd.isna(test["p_value"]):
        lead = f"On {test['data']}, linear probes on the last layer of {names[0]} and on {names[1]} could not be compared by a test"
        return Finding("probe", test["data"], f"{lead}: test accuracy {values}.", False)
    if shown:
        word = "better" if test["value"] > 0 else "worse"
        lead = f"On {test['data']}, a linear probe on the last layer reads the class {word} from {names[0]} than from {names[1]}"
    else:
        lead = f"On {test['data']}, no difference is shown between linear probes on the last layer of {names[0]} and on {names[1]}"
    better, worse = (int(((rows["p_holm"] <= ALPHA) & (sign * rows["value"] > 0)).sum()) for sign in (1, -1))
    counts = f"it is better in {better} and worse in {worse}" if better + worse else "no difference is shown in any"
    over = f"With Holm's correction over all {len(rows)} layers {counts}."
    return Finding("probe", test["data"], f"{lead}: test accuracy {values}. {over}", shown)


def _gap(table: pd.DataFrame, layers: pd.DataFrame) -> Iterator[Finding]:
    table = table[table["metric"] == "mmd2"]
    for (data_a, data_b), rows in table.groupby(["data_a", "data_b"], sort=False):
        models = _names(layers, "model")
        for model in models if len(models) > 3 else [*models, *_names(layers, "control")]:
            of_model = (
                rows[rows["model"] == model]
                .set_index("layer")
                .reindex(_layers_of(layers, model))
                .dropna(subset=["value"])
            )
            if not len(of_model):
                continue
            apart = int((of_model["p_max"] <= ALPHA).sum())
            largest = of_model.loc[of_model["value"].idxmax()]
            if apart:
                lead = f"{data_a} and {data_b} lie apart in {apart} of {len(of_model)} layers of {model}"
            else:
                lead = f"No difference is shown between {data_a} and {data_b} in any layer of {model}"
            where = f"largest in {largest.name}, MMD² {with_interval(largest)}, {p_text(largest['p_max'])}"
            sentence = f"{lead} (permutation test against the largest of all layers); {where}; {count_of(largest)}."
            yield Finding("domain_gap", f"{data_a}, {data_b}", sentence, apart > 0)


def _outside(table: pd.DataFrame) -> Iterator[Finding]:
    """Tell how many images of one data set lie outside the other in the last layer of each model."""
    for (model, data_a, data_b), rows in table.groupby(["model", "data_a", "data_b"], sort=False):
        parts = []
        for data, other in ((data_a, data_b), (data_b, data_a)):
            outside = rows.loc[rows["data"] == data, "p_outside_bh"] <= ALPHA
            parts.append(f"{outside.sum():,} of {len(outside):,} images of {data} lie outside {other}")
        how = "distance to the 5th neighbour, false discovery rate 0.05"
        sentence = f"In the last layer of {model}, {parts[0]}, and {parts[1]} ({how})."
        yield Finding("domain_gap", f"{data_a}, {data_b}", sentence, False)
