"""From a run to one HTML file that opens offline."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

import jinja2
from PIL import Image

from featurespace.errors import FeaturespaceError, visible
from featurespace.files import safe_name
from featurespace.plots.many import MANY
from featurespace.report import comparison
from featurespace.report.about import about_tables
from featurespace.report.captions import caption, many_note, title_of
from featurespace.report.chapters import CHAPTERS
from featurespace.report.comparison import comparison_tables
from featurespace.report.embedding_chart import shown_images
from featurespace.report.findings import Finding, in_short
from featurespace.report.heatmap_chart import heatmap_tables
from featurespace.report.interactive import Interactive, interactive
from featurespace.report.numbers import MOST_NAMES, listed
from featurespace.report.tables import report_tables
from featurespace.run import Run

PAGE_PIXELS = 180 / 25.4 * 300  # a figure as wide as the page, at 300 dpi


class Section(NamedTuple):
    """A chapter of the report; ``more`` are sentences that stand behind a line to open."""

    title: str
    explanation: str
    findings: list[Finding]
    more: list[Finding]
    figures: list[dict[str, Any]]
    tables: list[dict[str, Any]]


def draw_figures(run: Run) -> list[str]:
    """Draw every figure that the tables of a run hold, write them with their data and captions, and return their names in order.

    Of a comparison of runs the table of results is written too, in LaTeX and HTML, one an experiment.
    """
    from featurespace.plots.all import figures
    from featurespace.report.paper_tables import results, to_html, to_latex
    from featurespace.tables.convergence_time import PREFIX

    names = []
    for name, figure, data in figures(run.tables):
        run.write_figure(name, figure, data, caption(name, data, _note(run, name)))
        names.append(name)
    if "comparison" in run.tables:
        summary, comparisons = run.tables["runs_summary"], run.tables["comparison"]
        scores = summary[~summary["metric"].str.startswith(PREFIX)]
        for experiment, rows in scores.groupby("experiment", sort=False):
            table = results(rows, comparisons)
            run.write_text(f"figures/results_{safe_name(str(experiment))}.tex", to_latex(table))
            run.write_text(f"figures/results_{safe_name(str(experiment))}.html", to_html(table))
    return names


def _note(run: Run, name: str) -> str:
    return many_note(name, run.tables["layers"]) if "layers" in run.tables else ""


def write_report(run: Run) -> None:
    """Write ``report.html`` from the run's tables, figures, summary and provenance."""
    live = interactive(run)
    provenance = run.provenance
    summary = run.summary
    found = [Finding(**each) for each in summary["findings"]]
    run.write_text("report.html", _template().render(
        title=_title(summary["models" if "models" in summary else "pretrainings"]), summary=summary, lead=_lead(found),
        provenance=provenance, findings=found,
        sections=list(_sections(run, found, live)), live=live, shown=shown_images(run) if live else "",
        total=sum(provenance["seconds"].values()), many=MANY,
    ))  # fmt: skip


def _title(names: list[str]) -> str:
    return listed(names) if len(names) > MOST_NAMES else " / ".join(names)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("featurespace", "report"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, finalize=_readable,
    )  # fmt: skip
    environment.filters["listed"] = listed
    return environment.get_template("template.html")


def _readable(value: Any) -> Any:
    """Return text from a file without what would turn or hide the text after it; our own HTML and scripts as they are."""
    return visible(value) if type(value) is str else value


def _lead(found: list[Finding]) -> list[Finding]:
    # The first finding of each kind on each data set: those of the first two models.
    first: dict[tuple[str, str], Finding] = {}
    for each in found:
        if each.table not in ("verdicts", "leakage") or (each.table == "leakage" and each.shown):
            first.setdefault((each.table, each.data), each)
    return list(first.values())


def _sections(run: Run, found: list[Finding], live: Interactive | None) -> Iterator[Section]:
    of_runs = "comparison" in run.tables
    values = heatmap_tables(run)
    for title, explanation, table, prefixes in comparison.CHAPTERS if of_runs else CHAPTERS:
        if table not in run.tables:
            continue
        own = [each for each in found if each.table == ("leakage" if table == "layers" else table)]
        told = in_short(own)
        names = [name for name in run.summary["figures"] if name.startswith(prefixes)]
        figures = [
            {**_figure(run, name, [each.sentence for each in told], live), "values": values.get(name)} for name in names
        ]
        tables = comparison_tables(run, table) if of_runs else report_tables(run, table)
        if table == "layers":
            tables = chain(about_tables(run), report_tables(run, "leakage") if "leakage" in run.tables else ())
        yield Section(
            title,
            explanation,
            told,
            [each for each in own if each not in told],
            figures,
            [each for each in tables if each["rows"]],
        )


def _figure(run: Run, name: str, sentences: list[str], live: Interactive | None) -> dict[str, Any]:
    title = " ".join(filter(None, [title_of(name), _note(run, name)]))
    file = run.figure_path(name)
    if not file.is_file():
        raise FeaturespaceError(f"{file} is missing; `featurespace figures {run.path}` draws it again")
    with Image.open(file) as picture:
        share = min(1.0, picture.width / PAGE_PIXELS)  # a narrow figure keeps its type size
        image = _smaller(picture)
    return {
        "name": name, "image": f"data:image/png;base64,{base64.b64encode(image).decode()}",
        "caption": title, "alt": " ".join([title, *sentences[:1]]), "width": f"{share:.0%}",
        "charts": live.charts.get(name) if live else None,
    }  # fmt: skip


def _smaller(picture: Image.Image) -> bytes:
    """Return a figure for the page as PNG: 200 dpi and 128 colours, about a third of the bytes."""
    width = min(round(PAGE_PIXELS * 2 / 3), picture.width)
    size = (width, round(picture.height * width / picture.width))
    buffer = io.BytesIO()
    colours = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    colours.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
