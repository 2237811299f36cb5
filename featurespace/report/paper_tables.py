"""The table of results as papers print it, in LaTeX (booktabs) and HTML."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import NamedTuple

import pandas as pd

from featurespace.errors import FeaturespaceError, unknown
from featurespace.tables.comparison import PLACE

STAR = "*"
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


class Cell(NamedTuple):
    """Mean and deviation of a pretraining on a task, whether it is the best, and whether it differs from the baseline."""

    mean: float
    std: float
    best: bool
    differs: bool


class Results(NamedTuple):
    """A table of cells: rows are pretrainings, columns (experiment, task, metric); None where there are no runs."""

    columns: list[tuple[str, str, str]]
    rows: dict[str, list[Cell | None]]
    baseline: str


def results(summary: pd.DataFrame, comparison: pd.DataFrame, *, baseline: str | None = None) -> Results:
    """Return the table of results of one or several experiments.

    Parameters
    ----------
    summary : the table ``runs_summary``, or some of its rows
    comparison : the table ``comparison``
    baseline : pretraining that the stars are about; by default the first

    Raises
    ------
    FeaturespaceError
        there are no rows, or the baseline is not among them
    """
    names = list(dict.fromkeys(summary["pretraining"]))
    if not names:
        raise FeaturespaceError("there are no results to show; choose other experiments or metrics")
    baseline = names[0] if baseline is None else baseline
    if baseline not in names:
        raise unknown("pretraining", baseline, names, where="the results")
    columns = list(summary[PLACE].drop_duplicates().itertuples(index=False, name=None))
    against = comparison[comparison["b"] == baseline]
    lies_apart = {
        tuple(row[each] for each in [*PLACE, "a"])
        for _, row in against[against["p_holm"] <= 1 - against["level"]].iterrows()
    }
    firsts = comparison.drop_duplicates(PLACE)
    higher = dict(zip(firsts[PLACE].itertuples(index=False, name=None), firsts["higher_is_better"]))
    found = {tuple(row[each] for each in [*PLACE, "pretraining"]): row for _, row in summary.iterrows()}
    best = {}
    for column in columns:
        own = {name: found[*column, name]["mean"] for name in names if (*column, name) in found}
        best[column] = (max if higher.get(column, True) else min)(own, key=own.__getitem__)

    def cell(name: str, column: tuple[str, str, str]) -> Cell | None:
        key = (*column, name)
        if key not in found:
            return None
        row = found[key]
        return Cell(row["mean"], row["std"], best[column] == name, key in lies_apart)

    return Results(columns, {name: [cell(name, column) for column in columns] for name in names}, baseline)


def to_latex(table: Results, *, digits: int = 4) -> str:
    r"""Return a booktabs tabular: best in bold, a star where Holm's p against the baseline is at most the level.

    Needs ``\usepackage{booktabs}``; the last line is a comment that says what the marks mean.
    """
    heads = [" & ".join(["", *(_latex(part) for part in parts)]) for parts in _heads(table)]
    lines = [
        rf"\begin{{tabular}}{{l{'c' * len(table.columns)}}}",
        r"\toprule",
        *(f"{head} \\\\" for head in heads),
        r"\midrule",
    ]

    def bold(text: str) -> str:
        return rf"\textbf{{{text}}}"

    for name, cells in table.rows.items():
        texts = [_text(each, digits, r" $\pm$ ", bold, r"\textsuperscript{*}", "--") for each in cells]
        lines.append(" & ".join([_latex(name), *texts]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {_note(table)}", ""])


def to_html(table: Results, *, digits: int = 4) -> str:
    """Return an HTML table: best in bold, a star where Holm's p against the baseline is at most the level."""
    heads = [
        "<tr><th></th>" + "".join(f'<th scope="col">{html.escape(part)}</th>' for part in parts) + "</tr>"
        for parts in _heads(table)
    ]

    def bold(text: str) -> str:
        return f"<strong>{text}</strong>"

    lines = ["<table>", f"<caption>{html.escape(_note(table))}</caption>", "<thead>", *heads, "</thead>", "<tbody>"]
    for name, cells in table.rows.items():
        texts = [_text(each, digits, " ± ", bold, "<sup>*</sup>", "–") for each in cells]
        lines.append(
            f'<tr><th scope="row">{html.escape(name)}</th>' + "".join(f"<td>{text}</td>" for text in texts) + "</tr>"
        )
    return "\n".join([*lines, "</tbody>", "</table>", ""])


def _heads(table: Results) -> list[list[str]]:
    """Return the lines of the header: the experiment only where there are several."""
    experiments, tasks, metrics = (list(each) for each in zip(*table.columns))
    shown = [experiments] if len(set(experiments)) > 1 else []
    return [*shown, tasks, [each.replace("_", " ") for each in metrics]]


def _text(cell: Cell | None, digits: int, plus_minus: str, bold: Callable[[str], str], star: str, missing: str) -> str:
    if cell is None:
        return missing
    text = f"{cell.mean:.{digits}f}"
    if pd.notna(cell.std):
        text += f"{plus_minus}{cell.std:.{digits}f}"
    return (bold(text) if cell.best else text) + (star if cell.differs else "")


def _note(table: Results) -> str:
    return f"Mean and standard deviation of the runs; bold: best; {STAR}: differs from {table.baseline} after Holm's correction."


def _latex(text: str) -> str:
    return "".join(LATEX.get(each, each) for each in text)
