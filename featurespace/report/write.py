"""From a run to one HTML file that opens offline."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from importlib.resources import files as package_files
from typing import Any, NamedTuple

import jinja2
from PIL import Image

from featurespace.errors import FeaturespaceError
from featurespace.files import safe_name
from featurespace.report import comparison
from featurespace.report.comparison import comparison_tables
from featurespace.report.findings import Finding
from featurespace.report.tables import report_tables
from featurespace.run import Run

PAGE_PIXELS = 180 / 25.4 * 300  # a figure as wide as the page, at 300 dpi


class Section(NamedTuple):
    """A chapter of the report."""

    title: str
    explanation: str
    findings: list[dict[str, Any]]
    figures: list[dict[str, str]]
    tables: list[dict[str, Any]]


# Title, what the numbers mean and when they mislead, the table the findings come from, prefixes of its figures.
CHAPTERS = (
    ("Images", "Slices of the volumes as the first network sees them, but for its normalisation. What is black or white here is "
     "all alike to the network.", "layers", ("inputs_",)),
    ("Leakage", "What the data sets share, and the splits of each: patients, studies, images with equal pixels, and images of the "
     "same looks (perceptual hash, then a correlation of small grey pictures of 0.98 at least; turned and mirrored copies are not "
     "found). Shared patients make a test look better than it is, and two domains more alike than they are. Patients are told by "
     "the names of groups: data sets that number theirs from 1 seem to share them.", "leakage", ()),
    ("Similarity", "Linear CKA compares two layers by how they arrange the same images: 1 is the same arrangement up to "
     "rotation and scale, 0 is none in common. It is debiased, so small negative values occur and are kept. Intervals are "
     "jackknife intervals, symmetric, and can reach beyond 1. CKA follows the directions of largest variance: two layers "
     "can have a high CKA and still differ in what a classifier reads from them.", "similarity", ("cka_by_layer", "cka_heatmap")),
    ("Influence", "CKA is made of pairs of images, and leaving one image out changes it by an exactly known amount. The "
     "images named here lower it most: they are arranged differently by the two models, and are the first to look "
     "at. A single image's influence is small, about 1 / n, unless it lies far out.", "influence_summary", ("cka_convergence",)),
    ("Probe", "A linear classifier is trained on each layer's features of the training images and tested once on images it "
     "has not seen; its regularisation is chosen within the training images. It shows what can be read from a layer "
     "with one linear step, not what the network uses. Intervals say how much the test images could vary, not how much "
     "another training would.", "probe", ("probe_by_depth", "few_shot")),
    ("Domain gap", "MMD² is zero when two sets of features have the same distribution; p comes from permuting the images "
     "(whole groups where there are groups) and is the test; the interval is a jackknife and wider than need be for a "
     "small gap, so it can hold zero where p is small. The kernel's width is chosen for each layer, so compare its size between "
     "layers with care. The Fréchet distance shown is corrected for most of the bias of small samples; the "
     "plug-in value stands in the table domain_gap.", "domain_gap",
     ("domain_gap_by_depth", "frechet_by_depth")),
    ("Geometry", "What a layer does with the images by itself. The participation ratio counts the directions that its "
     "variance spreads over (debiased; pairs within a group left out). Anisotropy is the mean cosine between two images: near 1, "
     "all point one way. Uniformity, at most 0, is lower the more evenly images spread over the sphere of directions.",
     "geometry", ("participation_ratio", "anisotropy", "uniformity", "effective_rank", "spectrum_decay", "intrinsic_dimension",
                  "silhouette", "fisher_ratio", "log_me", "h_score", "dead_units", "constant_units")),
    ("Weights", "Feature reuse is CKA (RBF kernel) of a layer's filters in two networks: output channels and places in a filter "
     "are the samples, input channels the features; no images are needed. Feature uniqueness is 1 less the mean CKA of eight parts "
     "of a layer's filters. As published, both depend on the shape of the layer: weights that have nothing in common reach a high "
     "CKA where filters are few for their channels. Compare with the untrained copy, or take the debiased values, which are then "
     "about 0 (uniqueness: 1). Intervals say how the values vary with the filters, not from training to training.", "weights",
     ("feature_reuse", "feature_uniqueness")),
    ("Arms", "An arm is one way of training, repeated with several seeds. What differs between two arms is told from what differs "
     "between seeds of one: intervals speak of further seeds and of further images. Seeds of one arm set the ceiling of CKA; "
     "whether two arms lie below it is tested by permuting the models over the arms; with three seeds an arm, p cannot be "
     "below 0.1. "
     "Every layer stands in the table arms.", "arms", ()),
    ("Embedding", "UMAP and PCA draw the last layer in two dimensions. Trustworthiness is the share, from 0 to 1, in which "
     "neighbours in the picture are neighbours in the features. Distances between clusters and their sizes mean "
     "nothing in UMAP.", "embedding", ("umap_", "pca_")),
    ("Limits", "What these numbers cannot carry, and what would help. All of it is in the table verdicts.", "verdicts", ()),
)  # fmt: skip

CAPTIONS = {
    "inputs_": "Slices as the first network sees them.",
    "few_shot": "Accuracy from few labelled images: mean of 20 draws, whose interval counts training and test images as chance.",
    "participation_ratio": "Directions that the variance of each layer spreads over.",
    "anisotropy": "Mean cosine between two images in each layer.",
    "uniformity": "Uniformity of each layer (lower is more even).",
    "effective_rank": "Effective rank of each layer.",
    "spectrum_decay": "Decay of the spectrum of each layer.",
    "intrinsic_dimension": "Intrinsic dimension of each layer.",
    "silhouette": "Silhouette of the classes in each layer.",
    "fisher_ratio": "Variance between classes over that within, in each layer.",
    "log_me": "LogME of each layer: the evidence for a linear model of the classes.",
    "h_score": "H-score of each layer: variance between the classes of whitened features.",
    "feature_reuse": "Feature reuse by layer: as published, and debiased.",
    "feature_uniqueness": "Feature uniqueness by layer: as published, and debiased.",
    "dead_units": "Share of channels that are never active.",
    "constant_units": "Share of channels that never change.",
    "cka_convergence": "CKA at n/8, n/4, n/2 and all n images (whole groups where there are groups).",
    "cka_by_layer": "Similarity of corresponding layers by depth.",
    "cka_heatmap": "Similarity of every pair of layers, within and between models.",
    "probe_by_depth": "Test accuracy of a linear probe by depth.",
    "domain_gap_by_depth": "Distance between the data sets by depth (MMD²).",
    "frechet_by_depth": "Distance between the data sets by depth (Fréchet, corrected).",
    "umap_": "UMAP of the last layer.",
    "pca_": "PCA of the last layer.",
}


def draw_figures(run: Run) -> list[str]:
    """Draw every figure that the tables of a run hold, write them, and return their names in order.

    Of a comparison of runs the table of results is written too, in LaTeX and HTML, one an experiment.
    """
    from featurespace.plots.all import figures
    from featurespace.report.paper_tables import results, to_html, to_latex
    from featurespace.tables.convergence_time import PREFIX

    names = []
    for name, figure in figures(run.tables):
        run.write_figure(name, figure)
        names.append(name)
    if "comparison" in run.tables:
        summary, comparisons = run.tables["runs_summary"], run.tables["comparison"]
        scores = summary[~summary["metric"].str.startswith(PREFIX)]
        for experiment, rows in scores.groupby("experiment", sort=False):
            table = results(rows, comparisons)
            run.write_text(f"figures/results_{safe_name(str(experiment))}.tex", to_latex(table))
            run.write_text(f"figures/results_{safe_name(str(experiment))}.html", to_html(table))
    return names


def write_report(run: Run) -> None:
    """Write ``report.html`` from the run's tables, figures, summary and provenance."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(
        (package_files("featurespace.report") / "template.html").read_text(encoding="utf-8")
    )
    provenance = run.provenance
    summary = run.summary
    found = [Finding(**each) for each in summary["findings"]]
    run.write_text("report.html", template.render(
        title=" / ".join(summary["models" if "models" in summary else "pretrainings"]), summary=summary, lead=_lead(found),
        provenance=provenance, findings=found,
        sections=list(_sections(run, found)), match=_match_rows(run), total=sum(provenance["seconds"].values()),
    ))  # fmt: skip


def _lead(found: list[Finding]) -> list[Finding]:
    # The first finding of each kind on each data set: those of the first two models.
    first: dict[tuple[str, str], Finding] = {}
    for each in found:
        if each.table not in ("verdicts", "leakage") or (each.table == "leakage" and each.shown):
            first.setdefault((each.table, each.data), each)
    return list(first.values())


def _sections(run: Run, found: list[Finding]) -> Iterator[Section]:
    of_runs = "comparison" in run.tables
    tables_of = comparison_tables if of_runs else report_tables
    for title, explanation, table, prefixes in comparison.CHAPTERS if of_runs else CHAPTERS:
        if table not in run.tables:
            continue
        figures = [
            _figure(run, name, [each.sentence for each in found if each.table == table])
            for name in run.summary["figures"]
            if name.startswith(prefixes)
        ]
        if table == "layers" and not figures:
            continue
        own = [each._asdict() for each in found if each.table == table]
        yield Section(title, explanation, own, figures, [each for each in tables_of(run, table) if each["rows"]])


def _figure(run: Run, name: str, sentences: list[str]) -> dict[str, str]:
    caption = next(text for prefix, text in (CAPTIONS | comparison.CAPTIONS).items() if name.startswith(prefix))
    file = run.figure_path(name)
    if not file.is_file():
        raise FeaturespaceError(f"{file} is missing; `featurespace figures {run.path}` draws it again")
    with Image.open(file) as picture:
        share = min(1.0, picture.width / PAGE_PIXELS)  # a narrow figure keeps its type size
    return {
        "name": name, "image": f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}",
        "caption": caption, "alt": " ".join([caption, *sentences[:1]]), "width": f"{share:.0%}",
    }  # fmt: skip


def _match_rows(run: Run) -> list[dict[str, Any]]:
    if "match" not in run.tables or not len(run.tables["match"]):
        return []
    counts = run.tables["match"].groupby(["model", "status"], sort=False).size()
    return [{"model": model, "status": status, "tensors": int(count)} for (model, status), count in counts.items()]
