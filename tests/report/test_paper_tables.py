import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from featurespace.errors import FeaturespaceError
from featurespace.report.paper_tables import results, to_html, to_latex
from featurespace.results.settings import CompareConfig
from featurespace.tables.comparison import comparison_table, summary_table

CONFIG = CompareConfig(runs=("runs.csv",), draws=1000)
VALUES = {
    ("CX8", "auc_macro"): {"Scratch": [0.70, 0.71, 0.72], "R_1%": [0.80, 0.81, 0.82], "RF": [0.70, 0.75, 0.74]},
    ("R", "val_loss"): {"Scratch": [0.5, 0.6, 0.7], "RF": [0.1, 0.11, 0.12]},
}


def tables_of(values=VALUES, experiment="E1"):
    runs = pd.DataFrame(
        [[experiment, name, task, str(n), metric, value]
         for (task, metric), of in values.items() for name, row in of.items() for n, value in enumerate(row)],
        columns=["experiment", "pretraining", "task", "run", "metric", "value"],
    )  # fmt: skip
    return summary_table(runs, CONFIG), comparison_table(runs, CONFIG)


def test_latex_to_the_letter():
    assert to_latex(results(*tables_of()), digits=3) == "\n".join([
        r"\begin{tabular}{lcc}", r"\toprule", r" & CX8 & R \\", r" & auc macro & val loss \\", r"\midrule",
        r"Scratch & 0.710 $\pm$ 0.008 & 0.600 $\pm$ 0.082 \\",
        r"R\_1\% & \textbf{0.810 $\pm$ 0.008}\textsuperscript{*} & -- \\",
        r"RF & 0.730 $\pm$ 0.022 & \textbf{0.110 $\pm$ 0.008}\textsuperscript{*} \\",
        r"\bottomrule", r"\end{tabular}",
        "% Mean and standard deviation of the runs; bold: best; *: differs from Scratch after Holm's correction.", "",
    ])  # fmt: skip


def test_html_says_the_same_and_is_well_formed():
    summary, comparison = tables_of()
    text = to_html(results(summary, comparison), digits=3)
    opened = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Reader().feed(text)
    assert not opened
    assert (
        re.findall(r"<strong>(.*?)</strong>", text) == ["0.810 ± 0.008", "0.110 ± 0.008"]
        and text.count("<sup>*</sup>") == 2
    )
    odd = tables_of({("<b>", "m&m"): {"a<b": [1, 2.0], "c": [3, 4.0]}})
    assert (
        "&lt;b&gt;" in to_html(results(*odd))
        and "m&amp;m" in to_html(results(*odd))
        and "<b>" not in to_html(results(*odd))
    )


def test_the_baseline_is_chosen_and_named():
    summary, comparison = tables_of()
    table = results(summary, comparison, baseline="RF")
    assert table.rows["RF"][0].differs is False and "differs from RF" in to_latex(table)
    with pytest.raises(FeaturespaceError, match="pretraining 'RX' is not known in the results; did you mean 'RF'"):
        results(summary, comparison, baseline="RX")
    with pytest.raises(FeaturespaceError, match="there are no results to show"):
        results(summary[summary["task"] == "none"], comparison)


def test_several_experiments_stand_in_the_header():
    one, two = tables_of(), tables_of(experiment="E2")
    table = results(pd.concat([one[0], two[0]]), pd.concat([one[1], two[1]]))
    assert to_latex(table).splitlines()[2] == r" & E1 & E1 & E2 & E2 \\"
