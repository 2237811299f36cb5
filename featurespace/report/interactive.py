"""The interactive figures of the report: everything a page needs, without a network."""

from __future__ import annotations

from importlib.resources import files as package_files
from typing import Any, NamedTuple

from markupsafe import Markup

from featurespace.report.embedding_chart import embedding_chart
from featurespace.report.heatmap_chart import heatmap_charts, heatmap_names
from featurespace.run import Run


class Charts(NamedTuple):
    """What stands on a screen in place of a printed figure: its title and the ids of its elements."""

    title: str
    elements: list[str]


class Interactive(NamedTuple):
    """What goes into the page.

    Attributes
    ----------
    charts : name of a printed figure -> what shows it on a screen
    embedding : what the page's script needs of the embedding, None where there is none
    data : JSON of the figures, which can stand in a script element
    library, script : JavaScript
    """

    charts: dict[str, Charts]
    embedding: dict[str, Any] | None
    data: Markup
    library: Markup
    script: Markup


def interactive(run: Run) -> Interactive | None:
    """Return the interactive figures of a run; None where its tables hold nothing to look into."""
    from bokeh.core.json_encoder import serialize_json
    from bokeh.document import Document
    from bokeh.resources import Resources

    printed = run.summary["figures"]  # each chart stands in for one of them
    figures: dict[str, tuple[str, list[Any]]] = {}
    for name, data in heatmap_names(run).items():
        figures[name] = f"Similarity of all layers on {data}", heatmap_charts(run, data)
    chart = embedding_chart(run) if "aligned_umap" in printed else None
    if chart:
        figures["aligned_umap"] = "UMAP of all data sets together", chart[0]
    if not figures:
        return None
    document, charts, roots = Document(), {}, {}
    for name, (title, plots) in figures.items():
        charts[name] = Charts(title, [f"chart-{name}-{number}" for number in range(len(plots))])
        for element, plot in zip(charts[name].elements, plots):
            document.add_root(plot)
            roots[plot.id] = element
    embedding = chart[1] if chart else None
    ids: dict[str, str] = {}
    content = renumbered(document.to_json(deferred=False), ids)
    roots = {ids[root]: element for root, element in roots.items()}
    page = {"documents": {"report": content}, "embedding": embedding,
            "items": [{"docid": "report", "roots": roots, "root_ids": list(roots)}]}  # fmt: skip
    library = "\n".join(Resources(mode="inline", components=["bokeh"]).js_raw)
    script = (package_files("featurespace.report") / "interactive.js").read_text(encoding="utf-8")
    return Interactive(charts, embedding, as_script(serialize_json(page, indent=None)), Markup(library), Markup(script))


def renumbered(value: Any, ids: dict[str, str]) -> Any:
    """Return a document whose ids count from its own first one: Bokeh's go on from all that the process drew before.

    Parameters
    ----------
    value : the document, or a part of it
    ids : id as Bokeh gave it -> id here; filled on the way
    """
    if isinstance(value, dict):
        return {
            key: ids.setdefault(each, f"p{len(ids)}")
            if key == "id" and isinstance(each, str)
            else renumbered(each, ids)
            for key, each in value.items()
        }
    return [renumbered(each, ids) for each in value] if isinstance(value, list | tuple) else value


def as_script(text: str) -> Markup:
    """Return JSON in which nothing can end the script element that holds it."""
    for character in "<>&\u2028\u2029":  # in JSON they occur within strings only
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
