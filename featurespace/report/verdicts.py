"""One sentence for each verdict: what the numbers cannot carry, and what to do."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from featurespace.report.numbers import digits_for, number

MEASURES = {
    "procrustes_distance": "the Procrustes distance", "mutual_knn": "mutual kNN", "rsa": "RSA", "cca": "CCA",
    "svcca": "SVCCA", "pwcca": "PWCCA", "distance_correlation": "distance correlation",
}  # fmt: skip


def verdict_sentence(row: Mapping) -> str:
    """Return the sentence of a row of the table of verdicts."""
    return f"{'' if row['data'] == 'all' else 'On ' + str(row['data']) + ', '}{_SENTENCES[row['verdict']](row)}"


def _wide_interval(row: Mapping) -> str:
    units = "groups" if row["unit"] == "group" else "test images" if row["analysis"] == "probe" else "images"
    what = (
        f"the accuracy of a linear probe on {row['model_a']} ({row['layer']})"
        if row["analysis"] == "probe"
        else f"CKA of {row['model_a']} and {row['model_b']} in {row['layer']}"
    )
    return (
        f"the interval of {what} reaches {number(row['value'])} to either side: too few images for finer statements. "
        f"About {row['n_needed']:,} {units} (now {row['n']:,}) would bring it to {number(row['limit'], 2)}."
    )


def _not_converged(row: Mapping) -> str:
    return (
        f"CKA of {row['model_a']} and {row['model_b']} in {row['layer']} moved by {number(row['value'])} when the images "
        f"doubled to all of them, more than the {number(row['limit'])} that chance allows over the layers: it still depends on "
        "their number, so use more images, or compare only at equal numbers."
    )


def _measures_disagree(row: Mapping) -> str:
    other = MEASURES.get(row["metric"], row["metric"])
    return (
        f"CKA and {other} order the {row['n']} layers of {row['model_a']} and {row['model_b']} by likeness in different "
        f"ways (rank correlation {number(row['value'], 2)}); by {other}, {row['layer']} is the least alike. Call a layer "
        "changed only where both say so."
    )


def _not_above_control(row: Mapping) -> str:
    return (
        f"CKA of {row['model_a']} is not shown to lie above CKA of {row['model_b']} (random weights) in {row['value']:.0f} of "
        f"{row['n']} layers, the first {row['layer']}: there, likeness says nothing about training."
    )


def _few_images(row: Mapping) -> str:
    one = row["n"] == 1
    images, hold, them = ("1 image", "holds", "it") if one else (f"{row['n']} images", "hold", "them")
    return (
        f"{images}, the most influential 1 %, {hold} CKA of {row['model_a']} and {row['model_b']} in {row['layer']} at "
        f"{number(row['limit'])}; without {them} it is {number(row['value'])}, outside its interval. Look at {them} before "
        "speaking of the whole data set (table influence)."
    )


def _groups_raise(row: Mapping) -> str:
    word = "raise" if row["value"] > 0 else "lower"
    return (
        f"pairs of images of one group {word} CKA of {row['model_a']} and {row['model_b']} by {number(abs(row['value']))} in "
        f"{row['layer']}: for a statement about new groups take cka_between_groups (table similarity)."
    )


def _sampled(row: Mapping) -> str:
    return (
        f"CKA of all layers takes all {row['n']:,} images; other statistics, to bound their memory, a sample in proportion "
        f"to label and split, whose n and intervals they give: {row['metric']} (table sampling)."
    )


def _one_seed(row: Mapping) -> str:
    return (
        "Each model is one training run, so a difference between two of them may be one of seeds and not of how they were "
        "trained; several checkpoints an arm are needed to tell these apart."
    )


_SENTENCES = {
    "wide_interval": _wide_interval, "not_converged": _not_converged, "measures_disagree": _measures_disagree,
    "not_above_control": _not_above_control, "few_images": _few_images, "groups_raise": _groups_raise,
    "sampled": _sampled, "one_seed": _one_seed,
}  # fmt: skip


def influence_sentences(summary: pd.DataFrame, told: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (data, sentence) of the layer where few images hold most, for each told pair of models and data set.

    Of a data set the pair comes first whose CKA they change most.
    """
    found = []
    rows = summary[(summary["unit"] == "sample") & (summary["top_share"] > 0)]
    for (data, a, b), pair in rows.groupby(["data", "model_a", "model_b"], sort=False):
        if (a, b) not in told:
            continue
        most = pair.loc[(pair["value_without_top"] - pair["value"]).idxmax()]
        layer = most["layer_a"] if most["layer_a"] == most["layer_b"] else f"{most['layer_a']} / {most['layer_b']}"
        images, them = (
            ("1 image holds", "it") if most["top_units"] == 1 else (f"{most['top_units']} images hold", "them")
        )
        digits = digits_for(most["value"], most["value_without_top"])
        sentence = (
            f"On {data}, {images} {number(100 * most['top_share'], 1)} % of what single images take from CKA of {a} and {b} in "
            f"{layer} ({most['n_units']:,} images); without {them}, CKA is {number(most['value_without_top'], digits)} instead "
            f"of {number(most['value'], digits)}."
        )
        found.append((str(data), sentence, most["value_without_top"] - most["value"]))
    order = list(dict.fromkeys(data for data, _, _ in found))
    return [each[:2] for each in sorted(found, key=lambda each: (order.index(each[0]), -each[2]))]
