"""Sentences on what a layer does by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from featurespace.report.numbers import count_of, digits_for, p_text, with_interval

NAMES = {"participation_ratio_debiased": "participation ratio"}
ALPHA = 0.05


def geometry_sentences(
    table: pd.DataFrame, differences: pd.DataFrame, told: list[tuple[str, str]], last: dict[str, str]
) -> Iterator[tuple[str, str, bool]]:
    """Yield data set, sentence and whether a difference is shown, for each told pair of models and each property.

    The last layers are compared; a test over all layers is counted with Holm's correction.
    """
    places = ["metric", "data", "model", "layer"]
    values = table.set_index(places)
    tests = differences[differences["analysis"] == "geometry"]
    for (metric, data, a, b), rows in tests.groupby(["metric", "data", "a", "b"], sort=False):
        if (b, a) not in told:
            continue
        at_end = rows[rows["layer"].isin([last[a], f"{last[a]} / {last[b]}"])]
        if not len(at_end):
            continue
        test, name = at_end.iloc[0], NAMES.get(metric, metric.replace("_", " "))
        ends = [values.loc[(metric, data, model, last[model])] for model in (a, b)]
        digits = digits_for(*(end["value"] for end in ends))
        both = " and ".join(with_interval(end, digits) for end in ends)
        shown = bool(test["p_value"] <= ALPHA)
        changed = int((rows["p_holm"] <= ALPHA).sum())
        lead = (
            f"the {name} of the last layer is {'higher' if test['value'] > 0 else 'lower'} in {a} than in {b}"
            if shown
            else f"no difference is shown between the {name} of the last layers of {a} and {b}"
        )
        yield (
            data,
            (
                f"On {data}, {lead}: {both}, {p_text(test['p_value'])} for this layer alone; "
                f"over all {len(rows)} layers it differs in {changed} (Holm); {count_of(test)}."
            ),
            shown,
        )
