"""The job that runs a study: every cell of its grid once, then one table of runs and its comparison."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from featurespace import files, locking
from featurespace.comparing import compare
from featurespace.device import available_cores
from featurespace.errors import FeaturespaceError, counted
from featurespace.progress import Progress, shortened
from featurespace.spreadsheets import guarded
from featurespace.studies import ledger
from featurespace.studies.cells import Cell, make_cells
from featurespace.studies.changes import Change, freezing, frozen_results, planned_changes, start_cka
from featurespace.studies.cluster import RayPool
from featurespace.studies.gathering import gathered
from featurespace.studies.running import Pool, processes, run_cells
from featurespace.studies.settings import StudyConfig
from featurespace.studies.starts import scored_data, start_models, start_options, start_scores
from featurespace.tables.freezing import freezing_sentences
from featurespace.yaml_files import checked, to_yaml, with_changes

LEAST_EPOCHS = 10  # that a level of convergence is taken from
PREDICTED = "accuracy"
RUN = ["experiment", "pretraining", "task", "run"]


def study(
    config: StudyConfig,
    *,
    only: Sequence[str] = (),
    jobs: int = 1,
    on: str | None = None,
    retry: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Run the cells of a study that are not finished, and write ``runs.csv``, ``curves.csv``, ``losses.csv`` and ``comparison``.

    Several processes may run cells of one study at once (``only``, on machines that share the folder); each cell is trained by one.

    The same call again goes on: finished cells are verified by their hashes and skipped, failed ones skipped too unless
    ``retry``, and after a change of the configuration only the cells that it touches are run.

    Parameters
    ----------
    config : the study
    only : patterns of cells to run, with the parents they need; the tables are written by a call without it
    jobs : processes at once
    on : ``"ray"`` or ``"ray=ADDRESS"``: train on a Ray cluster, with as many CPUs and GPUs a cell as the study says
    retry : run failed cells again
    progress : where to tell what happens; silent by default

    Returns
    -------
    Path
        The directory of the study.

    Raises
    ------
    FeaturespaceError
        what the user can repair, all of it about the grid before the first cell; cells that failed, with their logs, or that
        another process trains, after all others are done
    """
    progress = progress or Progress()
    cells = make_cells(config)
    chosen = chosen_cells(cells, only)
    files.write_text(config.out / "study.yaml", to_yaml(config))
    if retry:
        for cell in chosen:
            if ledger.state(cell).word == ledger.BROKEN:
                ledger.reset(cell)
    with progress.stage("cells"), _pool(config, jobs, on) as pool:
        threads = max(1, available_cores() // jobs) if jobs > 1 else None
        states = run_cells(chosen, pool=pool, threads=threads, told=lambda cell, found: _tell(progress, cell, found))
    _refuse_unfinished(chosen, states)
    if only:
        progress.say("run the study without --only to end it with its tables")
        return config.out
    with locking.locked(config.out, config.out / "study.yaml"):
        _conclude(config, cells, progress)
    return config.out


def _pool(config: StudyConfig, jobs: int, on: str | None) -> AbstractContextManager[Pool | None]:
    """Return where cells are trained: in this process, in processes of this machine, or on a cluster."""
    if on is None:
        return processes(jobs) if jobs > 1 else nullcontext()
    name, _, address = on.partition("=")
    if name != "ray":
        raise FeaturespaceError(
            f"--on {on!r} is not known; write --on ray, or --on ray=ADDRESS for a cluster that runs"
        )
    if jobs > 1:
        raise FeaturespaceError(
            "--jobs goes with processes of this machine; on a cluster, cpus of the study says how many fit"
        )
    return RayPool(config, address or None)


def read_study(path: str | Path, changes: Sequence[str] = ()) -> StudyConfig:
    """Return the study of a YAML file, some of its keys changed by ``KEY=VALUE``."""
    return checked(StudyConfig, with_changes(path, StudyConfig, changes))


def chosen_cells(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """Return the cells that a pattern names, with their parents; raises FeaturespaceError where a pattern names none."""
    if not only:
        return list(cells)
    for pattern in only:
        if not any(fnmatchcase(cell.name, pattern) for cell in cells):
            raise FeaturespaceError(
                f"--only {pattern!r} names no cell; cells are {shortened([cell.name for cell in cells], shown=6)}"
            )
    by_name = {cell.name: cell for cell in cells}
    wanted = {cell.name for cell in cells if any(fnmatchcase(cell.name, pattern) for pattern in only)}
    for cell in reversed(cells):  # children come after their parents
        if cell.name in wanted and cell.parent in by_name:
            wanted.add(str(cell.parent))
    return [cell for cell in cells if cell.name in wanted]


def _tell(progress: Progress, cell: Cell, found: ledger.State) -> None:
    took = f" in {found.seconds:.0f} s" if found.seconds is not None else ""
    progress.tell(f"{cell.name}: {found.word}{took}{f' ({found.reason})' if found.reason else ''}")


def _refuse_unfinished(cells: Sequence[Cell], states: dict[str, ledger.State]) -> None:
    failed = [
        cell for cell in cells if cell.name in states and states[cell.name].word in (ledger.BROKEN, ledger.DAMAGED)
    ]
    if failed:
        lines = [f"{cell.name}: {states[cell.name].reason} (log: {cell.folder / ledger.LOG})" for cell in failed]
        raise FeaturespaceError(
            f"{len(failed)} of {len(cells)} cells failed, and what starts from them waits; mend the cause and add --retry:\n"
            + "\n".join(lines)
        )
    taken = [cell.name for cell in cells if cell.name in states and states[cell.name].word == ledger.TAKEN]
    if taken:
        raise FeaturespaceError(
            f"{len(taken)} of {len(cells)} cells {'is' if len(taken) == 1 else 'are'} trained by another process: "
            f"{shortened(taken)}; run the same command again when they are finished"
        )


def _conclude(config: StudyConfig, cells: Sequence[Cell], progress: Progress) -> None:
    tables = gathered(cells)
    given: dict[str, Any] = {"adjust": config.adjust} if config.adjust else {}
    for name, table in tables.items():
        file = config.out / f"{name}.csv"
        _write(config, name, table)
        if name == "curves" and len(table) and table.groupby(RUN)["epoch"].nunique().min() < LEAST_EPOCHS:
            progress.say(f"no times to convergence: a training has fewer than {LEAST_EPOCHS} epochs")
        elif name != "runs" and len(table):
            given[name] = file
    compare(config.out / "runs.csv", config.out / "comparison", progress=progress, **given)
    changes = _changes(config, cells, progress) if config.analyze is not None else []
    if config.predict:
        _predict(config, cells, tables["runs"], changes, progress)
    if changes:
        _advise(config, cells, tables["runs"], changes, progress)


def _changes(config: StudyConfig, cells: Sequence[Cell], progress: Progress) -> list[Change]:
    """Analyze each start with what was finetuned from it."""
    from featurespace.analyze import analyze

    found = []
    for change in planned_changes(config, cells, start_models(cells)):
        progress.tell(
            f"analysis of {change.pretraining} and {counted(len(change.models), 'network')} finetuned for {change.task}"
        )
        found.append(change._replace(tables=analyze(**change.options, progress=progress).tables))
    return found


def _predict(
    config: StudyConfig, cells: Sequence[Cell], runs: pd.DataFrame, changes: Sequence[Change], progress: Progress
) -> None:
    """Measure the starts on the tasks' images, and say what of it puts them in the order of their finetunings."""
    from featurespace.analyze import analyze
    from featurespace.tables.prediction import prediction_table

    data = scored_data(config, cells)
    if not data:
        progress.say("nothing is predicted: no task has one label an image")
        return
    specs = [f"{label}={path}" for path, label in data.items()]
    models = list(start_models(cells).values())
    run = analyze(models, specs, config.out / "starts", progress=progress, **start_options(config))
    scores = pd.concat([start_scores(run, config, cells), start_cka(changes)], ignore_index=True)
    table = prediction_table(scores, runs[runs["metric"] == PREDICTED])
    _write(config, "start_scores", scores)
    _write(config, "prediction", table)
    for _, row in table[table["value"].notna()].iterrows():
        progress.say(
            f"{row['experiment']}, {row['task']}, predicted by {row['score']}: {row['verdict']} (finetuned accuracy, weighted tau "
            f"{row['value']:.2f}, p = {row['p_value']:.3f}, {row['n']} starts)"
        )


def _advise(
    config: StudyConfig, cells: Sequence[Cell], runs: pd.DataFrame, changes: Sequence[Change], progress: Progress
) -> None:
    """Write what finetuning left as it was, say up to where layers could be held, and what became of runs that did."""
    table = freezing(changes)
    if table.empty:
        progress.say("no advice where to freeze: it takes similarity and probes, so leave both among only")
        return
    _write(config, "freezing", table)
    for sentence in freezing_sentences(table, frozen_results(runs, cells, PREDICTED)):
        progress.say(sentence)


def _write(config: StudyConfig, name: str, table: pd.DataFrame) -> None:
    files.write_atomic(config.out / f"{name}.csv", lambda path: guarded(table).to_csv(path, index=False))
