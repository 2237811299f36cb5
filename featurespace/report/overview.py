"""Of many models one sentence for all of them, before those on each pair."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from featurespace.plots.many import is_many
from featurespace.report.geometry import ALPHA, NAMES
from featurespace.report.numbers import MOST_NAMES, count_of, digits_for, listed, number, p_text, with_interval
from featurespace.report.verdicts import influence_sentences

FEW = 3  # models of which every pair is told

Sentence = tuple[str, str, str, bool]  # table, data, sentence, whether a difference is shown


def overview_sentences(tables: Mapping[str, pd.DataFrame], layers: pd.DataFrame) -> Iterator[Sentence]:
    """Yield how the last layers of more than three models stand to that of the first, for each table and data set.

    Each model is compared with the first one by the same tests as in the sentences on pairs, and each alone.
    """
    last = {
        str(model): rows.sort_values("depth")["layer"].iloc[-1] for model, rows in layers.groupby("model", sort=False)
    }
    models = list(dict.fromkeys(layers.loc[layers["role"] == "model", "model"]))
    if len(models) <= FEW:
        return
    if "similarity" in tables:
        yield from _similarity(tables["similarity"], models, last)
    if "differences" in tables:
        rows = tables["differences"]
        rows = rows[(rows["b"] == models[0]) & rows["a"].isin(models) & rows["p_value"].notna()]
        ends = {(model, place) for model, own in last.items() for place in (own, f"{own} / {last[models[0]]}")}
        at_end = _at(rows, ends, "a", "layer")
        if "probe" in tables:
            yield from _probe(at_end, tables["probe"], models[0], last)
        if "geometry" in tables:
            yield from _geometry(at_end)
    if "domain_gap" in tables:
        yield from _gap(tables["domain_gap"], models)
    if "influence_summary" in tables and is_many(layers):
        yield from _influence(tables["influence_summary"], models)


def _influence(summary: pd.DataFrame, models: list[str]) -> Iterator[Sentence]:
    """Yield the sentence of the pair with the first model that a few images move most."""
    told = influence_sentences(summary, [(models[0], model) for model in models[1:]])
    for data in dict.fromkeys(data for data, _ in told):
        own = [sentence for each, sentence in told if each == data]
        lead = f"On {data}, of {len(own)} models compared with {models[0]} single images change one most"
        yield "influence_summary", data, f"{lead}: {own[0].removeprefix(f'On {data}, ')}", True


def _at(table: pd.DataFrame, places: set[tuple[str, str]], model: str, layer: str) -> pd.DataFrame:
    """Return the rows whose model and layer are one of the places."""
    return table[pd.Series([each in places for each in zip(table[model], table[layer])], table.index, bool)]


def _similarity(table: pd.DataFrame, models: list[str], last: dict[str, str]) -> Iterator[Sentence]:
    first = models[0]
    table = table[(table["metric"] == "cka_debiased") & (table["model_a"] == first) & (table["layer_a"] == last[first])]
    table = _at(table, {(model, last[model]) for model in models[1:]}, "model_b", "layer_b")
    for data, rows in table.dropna(subset=["value"]).groupby("data", sort=False):
        if len(rows) < 2:
            continue
        least, most = rows.loc[rows["value"].idxmin()], rows.loc[rows["value"].idxmax()]
        digits = digits_for(least["value"], most["value"])
        low, high = with_interval(least, digits), with_interval(most, digits)
        apart = bool(most["ci_low"] > least["ci_high"])
        if apart:
            text = (
                f"of {len(rows)} models {most['model_b']} is most like {first} in the last layer, linear CKA {high}, and "
                f"{least['model_b']} least, {low}"
            )
        else:
            text = (
                f"no difference is shown between {len(rows)} models in how much their last layers are like that of {first}: linear "
                f"CKA runs from {low} ({least['model_b']}) to {high} ({most['model_b']})"
            )
        yield "similarity", str(data), f"On {data}, {text}; {count_of(most)}.", apart


def _probe(tests: pd.DataFrame, table: pd.DataFrame, first: str, last: dict[str, str]) -> Iterator[Sentence]:
    scores = table[(table["probe"] == "linear") & (table["metric"] == "accuracy")].set_index(["data", "model", "layer"])
    for data, rows in tests[tests["analysis"] == "probe"].groupby("data", sort=False):
        own = scores.loc[(data, first, last[first])]
        accuracy = f"test accuracy {with_interval(own)}"
        parts, rest = _parts(rows, "better from", "worse from")
        if parts:
            text = f"a linear probe on the last layer reads the class {parts} than from {first}, {accuracy}{rest}"
        else:
            text = (
                f"no difference is shown between linear probes on the last layer of {first}, {accuracy}, and of "
                f"{_others(rows)}"
            )
        yield "probe", str(data), f"On {data}, {text} (each tested alone; {count_of(own)}).", bool(parts)


def _geometry(tests: pd.DataFrame) -> Iterator[Sentence]:
    for (metric, data), rows in tests[tests["analysis"] == "geometry"].groupby(["metric", "data"], sort=False):
        name, first = NAMES.get(metric, metric.replace("_", " ")), rows.iloc[0]
        digits = _digits(rows)
        parts, rest = _parts(rows, "higher in", "lower in")
        if parts:
            text = f"the {name} of the last layer is {parts} than in {first['b']}, {number(first['value_b'], digits)}{rest}"
        else:
            text = (
                f"no difference is shown between the {name} of the last layer of {first['b']}, {number(first['value_b'])}, and of "
                f"{_others(rows)}"
            )
        yield "geometry", str(data), f"On {data}, {text} (each tested alone; {count_of(first)}).", bool(parts)


def _others(rows: pd.DataFrame) -> str:
    return f"{len(rows)} other models, {number(rows['value_a'].min())} to {number(rows['value_a'].max())}"


def _parts(tests: pd.DataFrame, above: str, below: str) -> tuple[str, str]:
    """Return which models a test shows above and below the first, and for how many it shows nothing."""
    shown = tests[tests["p_value"] <= ALPHA]
    digits = _digits(tests)
    texts = []
    for words, rows in ((above, shown[shown["value"] > 0]), (below, shown[shown["value"] < 0])):
        if len(rows) > MOST_NAMES:
            ends = (number(rows["value_a"].min(), digits), number(rows["value_a"].max(), digits))
            texts.append(f"{words} {len(rows)} of {len(tests)} other models ({ends[0]} to {ends[1]})")
        elif len(rows):
            names = [f"{row['a']} ({number(row['value_a'], digits)})" for _, row in rows.iterrows()]
            texts.append(f"{words} {listed(names)}")
    left = len(tests) - len(shown)
    return " and ".join(texts), f"; no difference is shown for {left} of {len(tests)} others" if left else ""


def _digits(tests: pd.DataFrame) -> int:
    shown = tests[tests["p_value"] <= ALPHA]
    return digits_for(*shown["value_a"], *shown["value_b"])


def _gap(table: pd.DataFrame, models: list[str]) -> Iterator[Sentence]:
    table = table[(table["metric"] == "mmd2") & table["model"].isin(models) & table["value"].notna()]
    for (data_a, data_b), rows in table.groupby(["data_a", "data_b"], sort=False):
        apart = (rows["p_max"] <= ALPHA).groupby(rows["model"], sort=False)
        some, largest = int(apart.any().sum()), rows.loc[rows["value"].idxmax()]
        if apart.all().all():
            lead = f"{data_a} and {data_b} lie apart in every layer of each of {len(apart)} models"
        elif some:
            lead = f"{data_a} and {data_b} lie apart in a layer at least of {some} of {len(apart)} models"
        else:
            lead = f"No difference is shown between {data_a} and {data_b} in any layer of {len(apart)} models"
        place, value = f"{largest['layer']} of {largest['model']}", with_interval(largest)
        where = f"largest in {place}, MMD² {value}, {p_text(largest['p_max'])}"
        sentence = f"{lead} (permutation test against the largest of all layers); {where}; {count_of(largest)}."
        yield "domain_gap", f"{data_a}, {data_b}", sentence, some > 0
