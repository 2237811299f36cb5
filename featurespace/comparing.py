"""The job from runs tables to who is ahead, by how much, and whether it is more than chance."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from featurespace import files, provenance
from featurespace.errors import FeaturespaceError, unknown
from featurespace.progress import Progress
from featurespace.results.adjustment import adjusted_runs, read_adjustments
from featurespace.results.rows import read_curves, read_losses, read_runs
from featurespace.results.settings import LOWER_IS_BETTER, CompareConfig
from featurespace.run import Run
from featurespace.yaml_files import checked, differences, read_yaml, to_yaml


def compare(
    runs: str | Path | Sequence[str | Path], out: str | Path, *, progress: Progress | None = None, **options: Any
) -> Run:
    """Compare pretrainings by the results of their runs and write a run directory.

    Parameters
    ----------
    runs : runs tables, CSV or Parquet, with the columns experiment, pretraining, task, run, metric, value
    out : the directory to write
    progress : where to tell what happens; silent by default
    options : the options of `CompareConfig`, e.g. ``adjust="sizes.yaml"``, ``family="all"``

    Returns
    -------
    Run
        With the tables ``comparison``, ``runs_summary`` and ``runs``, and ``time_to_convergence`` and ``loss_curves`` where
        curves and losses were given.

    Raises
    ------
    FeaturespaceError
        anything the user can repair: a file, a row, a cell, an option, or a directory that holds something else

    Notes
    -----
    About 25 ms a pair of pretrainings, task and metric (168 pairs in 4.3 s), and seconds for the figures.
    """
    from featurespace.report.write import draw_figures

    progress = progress or Progress()
    given = [runs] if isinstance(runs, str | Path) else list(runs)
    config = checked(CompareConfig, {"runs": [str(each) for each in given], **_texts(options)})
    run = Run(out)
    with run.locked():
        run.claim(_difference(run, config))
        with progress.stage("read results"):
            tables, adjusted = _read(config)
        run.begin(progress.started, to_yaml(config))
        run.forget_other_tables(_content(tables))
        with progress.stage("compare"):
            for name, table in _made(tables, adjusted, config).items():
                run.write_table(name, table)
        with progress.stage("figures"):
            drawn = draw_figures(run) + _overlays(run, config)
        _write_records(run, config, drawn, progress)
        run.finish()
    return run


def _texts(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with paths as text, and without those that are not given."""
    return {
        name: str(value) if isinstance(value, Path)
        else [str(each) for each in value] if isinstance(value, list | tuple) else value
        for name, value in options.items() if value is not None
    }  # fmt: skip


def _difference(run: Run, config: CompareConfig) -> str | None:
    """Return in words how the configuration in a directory differs from this one; None where it does not."""
    if not run.config.is_file():
        return None
    try:
        earlier = checked(CompareConfig, read_yaml(run.config, CompareConfig))
    except FeaturespaceError:
        return "its config.yaml is none of a comparison"
    return differences(earlier.model_dump(mode="json"), config.model_dump(mode="json")) or None


def _read(config: CompareConfig) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the tables given, adjusted runs included, and the names of pretrainings that were added so."""
    runs = read_runs(config.runs)
    adjustments = read_adjustments(config.adjust) if config.adjust else ()
    tables = {"runs": adjusted_runs(runs, adjustments)}
    if config.curves:
        tables["curves"] = read_curves(config.curves)
    if config.losses:
        tables["losses"] = read_losses(config.losses)
    return tables, [each.name for each in adjustments]


def _content(tables: dict[str, pd.DataFrame]) -> str:
    return files.hash_value({name: table.to_csv(index=False) for name, table in tables.items()})


def _made(tables: dict[str, pd.DataFrame], adjusted: list[str], config: CompareConfig) -> dict[str, pd.DataFrame]:
    from featurespace.tables.comparison import comparison_table, summary_table
    from featurespace.tables.convergence_time import convergence_runs, time_to_convergence_table
    from featurespace.tables.loss_curves import loss_curves_table

    runs, made = tables["runs"], {}
    if "curves" in tables:
        epochs = convergence_runs(tables["curves"])
        made["time_to_convergence"] = time_to_convergence_table(epochs)
        runs = pd.concat([runs, epochs[list(runs)]], ignore_index=True)
    metrics = list(dict.fromkeys(runs["metric"]))
    for pattern in set(config.lower_is_better) - set(LOWER_IS_BETTER):
        if not fnmatch.filter(metrics, pattern):
            hint = "(--lower-is-better takes names and patterns)"
            raise unknown("metric", pattern, metrics, where="the runs", hint=hint)
    if "losses" in tables:
        made["loss_curves"] = loss_curves_table(tables["losses"])
    if config.predictions:
        made |= _who_knows_what(config)
    return {
        "runs": runs, "runs_summary": summary_table(runs, config, adjusted),
        "comparison": comparison_table(runs, config, adjusted), **made,
    }  # fmt: skip


def _who_knows_what(config: CompareConfig) -> dict[str, pd.DataFrame]:
    from featurespace.tables.agreement import agreement_tables, mask_agreement_tables

    if config.masks:
        return mask_agreement_tables(Path(config.masks).expanduser(), config.predicted, task=config.task)
    return agreement_tables(config.predicted, task=config.task, by_class=config.by_class, seed=config.seed)


def _overlays(run: Run, config: CompareConfig) -> list[str]:
    """Draw the images on which models are least of one mind; not part of what tables draw again."""
    from featurespace.plots.agreement import answer_overlays
    from featurespace.report.captions import title_of
    from featurespace.tables.overlays import divided_images

    if not config.images:
        return []
    assert config.masks is not None  # the schema sees to it
    masks, images = (Path(each).expanduser() for each in (config.masks, config.images))
    chosen = divided_images(masks, images, config.predicted, count=8)
    names, pictures, maps = zip(*chosen)
    figure = answer_overlays(pictures, maps, list(config.predicted), titles=names)
    data = pd.DataFrame({"image": names})
    run.write_figure("overlays", figure, data, f"{title_of('overlays')} n = {len(names)} images.")
    return ["overlays"]


def _write_records(run: Run, config: CompareConfig, drawn: list[str], progress: Progress) -> None:
    from featurespace.report.comparison import comparison_findings
    from featurespace.report.write import write_report

    runs = run.tables["runs"]
    run.write_json("summary.json", {
        "pretrainings": list(dict.fromkeys(runs["pretraining"])), "tasks": list(dict.fromkeys(runs["task"])),
        "figures": drawn, "findings": [each._asdict() for each in comparison_findings(run)],
    })  # fmt: skip
    finished = provenance.now()
    given = [*config.runs, *([config.adjust] if config.adjust else []), *config.curves, *config.losses,
             *map(str, config.predicted.values())]  # fmt: skip
    run.write_json("provenance.json", {
        "command": provenance.command_line(), "started": progress.started, "finished": finished,
        "parts": run.parts(finished), "seed": config.seed, "machine": provenance.machine(),
        "versions": provenance.installed_versions(),
        "files": [{"file": each, "sha256": _hash(Path(each).expanduser())} for each in given],
        "seconds": {name: round(value, 2) for name, value in progress.seconds.items()}, "messages": progress.messages,
    })  # fmt: skip
    write_report(run)


def _hash(path: Path) -> str:
    """Return the hash of a file, or of the files of a folder by their names."""
    if not path.is_dir():
        return files.hash_file(path)
    return files.hash_value({str(each.relative_to(path)): files.hash_file(each) for each in sorted(path.rglob("*.*"))})
