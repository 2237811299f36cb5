"""Sentences and tables on the comparison of pretrainings by their runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from featurespace.errors import counted
from featurespace.report.agreement import agreement_findings, agreement_report
from featurespace.report.findings import Finding
from featurespace.report.numbers import number, p_text, with_interval
from featurespace.run import Run
from featurespace.tables.comparison import PLACE, claims_lost
from featurespace.tables.convergence_time import PREFIX

# Title, what the numbers mean and when they mislead, the table the findings come from, prefixes of its figures.
CHAPTERS = (
    ("Comparison", "Each pretraining was finetuned several times. Two are compared by Welch's t-test over their runs, corrected by "
     "Holm within a family of tests; not shown does not mean equal. Equivalent means that the difference is shown to lie within "
     "the margin. Intervals speak of further runs on the same images, not of other images.", "comparison", ("pairwise", "scores")),
    ("Time to convergence", "The first epoch from which the validation score lies within 0.5 % of its final level. It says when a "
     "training could have been stopped, not how good it is.", "time_to_convergence", ("time_to_convergence",)),
    ("Who knows what", "Which test samples (or foreground pixels) each exact set of models gets right, against models of the same "
     "accuracies that are right independently. Models that err on the same samples share what is hard, or what they learnt: "
     "easy and hard samples alone make all sets differ from chance, so compare with --by-class.",
     "agreement", ("who_knows_what", "overlays")),
    ("Losses", "The training loss, mean over runs; bands are one standard deviation.", "loss_curves", ("loss_curves",)),
)  # fmt: skip


def comparison_findings(run: Run) -> list[Finding]:
    """Return the findings in reading order: how many comparisons show something, who is ahead, what is lost by correction."""
    table, summary = run.tables["comparison"], run.tables["runs_summary"]
    found = []
    if table.empty:
        sentence = "Nothing is compared: no two pretrainings have runs of the same experiment, task and metric."
        found.append(Finding("comparison", "", sentence, False))
    moved = list(dict.fromkeys(summary.loc[summary["adjusted"], "pretraining"]))
    if moved:
        sentence = (
            f"{' and '.join(moved)}: no runs, but those of another pretraining moved along a line to another size of the data set; "
            "the error of the line counts as deviation between runs, and they are not independent of the two they are made of."
        )
        found.append(Finding("comparison", "moved", sentence, False))
    times = table["metric"].str.startswith(PREFIX)
    for name, rows in (("comparison", table[~times]), ("time_to_convergence", table[times])):
        for experiment, of in rows.groupby("experiment", sort=False):
            found.append(_overview(name, str(experiment), of))
            for key, own in of.groupby(PLACE, sort=False):
                scores = summary[(summary[PLACE] == list(key)).all(axis=1)]
                found.append(_ahead(name, key, own, scores))
            found += [_lost(name, row) for row in claims_lost(of)]
    if "agreement" in run.tables:
        found += agreement_findings(run.tables)
    return found


def _overview(name: str, experiment: str, rows: pd.DataFrame) -> Finding:
    verdicts = rows["verdict"][[_first(rows, row) for _, row in rows.iterrows()]]
    shown = int(verdicts.str.contains("higher").sum())
    lost = len(list(claims_lost(rows)))
    what = "scores" if name == "comparison" else "epochs to convergence"
    sentence = (
        f"{experiment}: {counted(len(verdicts), 'comparison')} of {what}; shown after Holm's correction: {shown:,} with a "
        f"difference, {(verdicts == 'equivalent').sum():,} with none that matters; significant alone, but not after it: {lost:,}."
    )
    return Finding(name, experiment, sentence, shown > 0)


def _lost(name: str, row: pd.Series) -> Finding:
    sentence = (
        f"{_place(tuple(row[PLACE]))}: {row['a']} against {row['b']}, {percent(row['delta_percent'])}, is significant alone "
        f"({p_text(row['p_value'])}) but not among the {row['n_family']} tests of its family ({p_text(row['p_holm'])})."
    )
    return Finding(name, str(row["experiment"]), sentence, False)


def _place(key: tuple[str, str, str]) -> str:
    experiment, task, metric = key
    return f"{task} ({metric.replace('_', ' ')}, {experiment})"


def _ahead(name: str, key: tuple[str, str, str], rows: pd.DataFrame, summary: pd.DataFrame) -> Finding:
    higher = bool(rows["higher_is_better"].iloc[0])
    best = summary.loc[summary["mean"].idxmax() if higher else summary["mean"].idxmin()]
    mean = with_interval(pd.Series({**best, "value": best["mean"]}))
    against = rows[rows["a"] == best["pretraining"]]
    lead = f"{_place(key)}: {best['pretraining']} has the {'highest' if higher else 'lowest'} mean, {mean}, n = {best['n']}"
    word, won = ("higher", "a higher") if higher else ("lower", "b higher")
    groups = {
        f"shown to be {word} than": against["verdict"].str.startswith(won),
        "equivalent to": against["verdict"] == "equivalent",
        "not shown to differ from": against["verdict"] == "not shown",
        "not compared by a test with": against["verdict"] == "no test",
    }  # fmt: skip
    parts = [
        f"{words} {', '.join(f'{row.b} ({percent(row.delta_percent)})' for row in against[chosen].itertuples())}"
        for words, chosen in groups.items()
        if chosen.any()
    ]
    sentence = f"{lead}; {'; '.join(parts)}.{_needed(against)}"
    return Finding(name, key[0], sentence, bool(groups[f"shown to be {word} than"].any()))


def _needed(against: pd.DataFrame) -> str:
    """Return how many runs the smallest difference that is not shown would need."""
    open_ = against[(against["verdict"] == "not shown") & against["runs_needed"].notna()]
    if open_.empty:
        return ""
    row = open_.loc[open_["delta_percent"].abs().idxmin()]
    runs = "more than a thousand million" if row["runs_needed"] > 1e9 else f"{row['runs_needed']:,.0f}"
    return (
        f" With {row['n_a']} and {row['n_b']} runs a difference of {row['detectable_percent']:.3g} % would be found with a power "
        f"of {100 * row['power']:.0f} %; that from {row['b']}, {percent(row['delta_percent'])}, would need {runs} runs of each."
    )


def comparison_tables(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """Yield title, columns and rows of the tables of a chapter."""
    if name == "comparison":
        for key, rows in run.tables["comparison"].groupby(PLACE, sort=False):
            yield {
                "title": f"{key[0]}: {key[1]}, {key[2].replace('_', ' ')}",
                "columns": ["a", "b", "mean a", "mean b", "a less b", "Welch's p", "after Holm", "paired p", "Hedges' g",
                            "runs needed", "verdict"],
                "rows": [_row(row) for _, row in rows.iterrows() if _first(rows, row)],
            }  # fmt: skip
    elif name == "time_to_convergence":
        table = run.tables[name].assign(value=lambda rows: rows["epochs"])
        yield {
            "title": "Epochs to convergence (95 % interval over runs)",
            "columns": ["experiment", "pretraining", "task", "metric", "epochs", "n"],
            "rows": [[*(row[each] for each in ("experiment", "pretraining", "task", "metric")), with_interval(row), row["n"]]
                     for _, row in table.iterrows()],
        }  # fmt: skip
    elif name == "agreement":
        yield from agreement_report(run.tables)


def _first(rows: pd.DataFrame, row: pd.Series) -> bool:
    """Whether the row is the first of the two on its pair."""
    names = list(dict.fromkeys([*rows["a"], *rows["b"]]))
    return names.index(row["a"]) < names.index(row["b"])


def _row(row: pd.Series) -> list[str]:
    effect = (
        f"{row['effect_size']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"
        if pd.notna(row["effect_size"])
        else ""
    )
    needed = "" if pd.isna(row["runs_needed"]) else f"{row['runs_needed']:,.0f}"
    means = (
        f"{number(row[f'mean_{side}'], 4)}" + ("" if pd.isna(row[f"std_{side}"]) else f" ± {number(row[f'std_{side}'], 4)}")
        + f" (n = {row[f'n_{side}']})"
        for side in "ab"
    )  # fmt: skip
    p = ("" if pd.isna(row[each]) else number(row[each]) for each in ("p_value", "p_holm", "p_paired"))
    return [
        row["a"],
        row["b"],
        *means,
        percent(row["delta_percent"]),
        *p,
        effect,
        needed,
        row["note"] or row["verdict"],
    ]


def percent(value: float) -> str:
    """Return a difference in percent with its sign."""
    return "" if pd.isna(value) else f"{value:+.3g} %".replace("-", "\N{MINUS SIGN}")
