"""Which tables an analysis makes of the stores of a run, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from featurespace.config import AnalyzeConfig
from featurespace.progress import Progress
from featurespace.run import Run

if TYPE_CHECKING:
    from featurespace.features.table import FeatureTable
    from featurespace.models.load import Model
    from featurespace.tables.stores import Stores


def write_tables(
    run: Run,
    config: AnalyzeConfig,
    stores: Stores,
    pixels: dict[str, np.ndarray],
    models: Sequence[Model | FeatureTable],
    progress: Progress,
) -> None:
    """Compute and write every table that the configuration asks for, in the order of the report."""
    from featurespace.features.table import FeatureTable
    from featurespace.tables.arms import ANALYSIS, arms_table
    from featurespace.tables.classes import classes_table
    from featurespace.tables.differences import with_holm
    from featurespace.tables.embedding import embedding_tables
    from featurespace.tables.models import layers_table, match_table
    from featurespace.tables.probe import probe_tables
    from featurespace.tables.sampling import sampling_table
    from featurespace.tables.similarity import similarity_tables
    from featurespace.tables.verdicts import verdicts_table

    networks = [model for model in models if not isinstance(model, FeatureTable)]
    run.write_table("layers", layers_table(stores, steps=config.steps or ()))
    run.write_table("match", match_table(networks))
    run.write_table("classes", classes_table(stores))
    run.write_table("sampling", sampling_table(stores, config.analyses))
    differences: list[dict] = []
    about: dict[str, Any] = {"seed": config.seed, "progress": progress}
    makers: dict[str, tuple[str, Callable[[], tuple[dict[str, pd.DataFrame], list[dict]]]]] = {
        "similarity": ("similarity", lambda: similarity_tables(stores, measures=config.measures, **about)),
        "probe": ("probes", lambda: probe_tables(stores, pixels, **about)),
        "gap": ("domain gap", lambda: _gap(stores, config, progress)),
        "geometry": ("geometry", lambda: _geometry(stores, config, progress)),
        "weights": ("weights", lambda: (_weights(stores, networks, progress), [])),
    }
    for analysis, (stage, make) in makers.items():
        if analysis in config.analyses:
            with progress.stage(stage):
                tables, tested = make()
                for name, table in tables.items():
                    run.write_table(name, table)
                differences += tested
    if set(config.analyses) - {"embedding", "weights"}:
        run.write_table("differences", _with_earlier(run, with_holm(differences), config.analyses))
        if stores.arms:
            between_arms = [row for row in differences if row["analysis"] == ANALYSIS]
            run.write_table("arms", arms_table(between_arms, run.tables.get("arms"), config.analyses))
    if "embedding" in config.analyses:
        with progress.stage("embedding"):
            for name, table in embedding_tables(stores, seed=config.seed, progress=progress).items():
                run.write_table(name, table)
    run.write_table("verdicts", verdicts_table(run.tables))


def _gap(stores: Stores, config: AnalyzeConfig, progress: Progress) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    from featurespace.tables.gap import gap_tables
    from featurespace.tables.gap_influence import gap_influence_table
    from featurespace.tables.sampling import sampled

    tables, tested = gap_tables(stores, seed=config.seed, distances=config.distances, progress=progress)
    few = sampled(stores, "gap", seed=config.seed)
    return {**tables, "gap_influence": gap_influence_table(few, progress=progress)}, tested


def _geometry(stores: Stores, config: AnalyzeConfig, progress: Progress) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    from featurespace.tables.geometry import geometry_tables

    table, tested = geometry_tables(stores, seed=config.seed, properties=config.properties, progress=progress)
    return {"geometry": table}, tested


def _weights(stores: Stores, networks: Sequence[Model], progress: Progress) -> dict[str, pd.DataFrame]:
    from featurespace.tables.weights import weights_table

    about: dict[str, Any] = {"controls": stores.controls, "arms": stores.arms}
    table = weights_table(networks, memo=stores.memo, progress=progress, **about)
    return {"weights": table} if len(table) else {}


def _with_earlier(run: Run, table: pd.DataFrame, made: tuple[str, ...]) -> pd.DataFrame:
    """Keep the differences of analyses that an earlier command with the same features made and this one does not."""
    from featurespace.tables.arms import ANALYSIS as ARMS

    if "differences" not in run.tables:
        return table
    earlier = run.tables["differences"]
    again = {*made, *([ARMS] if "probe" in made else [])}
    kept = earlier[~earlier["analysis"].isin(again)]
    return pd.concat([kept, table], ignore_index=True) if len(kept) else table
