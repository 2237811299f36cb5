"""The main job: from checkpoints and images to tables, figures and one report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from featurespace import distributed, overlap, provenance
from featurespace.config import AnalyzeConfig, extended, make_config, read_config
from featurespace.device import limited_threads
from featurespace.errors import FeaturespaceError
from featurespace.inputs import (
    Inputs,
    extract_all,
    extract_options,
    raw_pixels,
    read_inputs,
    refuse_run_among_images,
    with_controls,
)
from featurespace.measuring import write_tables
from featurespace.options import DISTANCES
from featurespace.passing import compare_passing
from featurespace.progress import Progress
from featurespace.run import Run, load
from featurespace.yaml_files import differences, to_yaml

if TYPE_CHECKING:
    from featurespace.features.table import FeatureTable
    from featurespace.models.load import Model
    from featurespace.plan import Plan
    from featurespace.tables.stores import Stores

# What each analysis remembers; see `tables/memo.py`.
MEMORIES = {
    "similarity": ("cka", "corresponding", "pair"),
    "probe": ("probe", "fewshot", "probecontrol"),
    "gap": ("gap", "gapclass", "gapinfluence", *(f"gap{name.replace('_', '')}" for name in DISTANCES)),
    "embedding": ("embedding",),
    "geometry": ("geometry",),
    "weights": ("weights",),
}
LEAKAGE = "leakage"  # is always looked for


def analyze(
    models: Sequence[str] = (), data: Sequence[str] = (), out: str | Path | None = None, *,
    into: str | Path | None = None, trust: bool = False, progress: Progress | None = None, **options: Any,
) -> Run:  # fmt: skip
    """Compare models on data and write a run directory; the same call again goes on, or uses what is there.

    Parameters
    ----------
    models : model specs, e.g. ``["before=resnet50@a.pth", "after=resnet50@b.pth"]``
    data : data specs, e.g. ``["xray=images/"]``
    out : the run directory
    into : instead of ``out``, a run to which models and data sets are added; only what is new is computed. The
        run's options hold, and its controls stay as they are
    trust : let checkpoints that cannot be read otherwise run the code in them. It is no option of a configuration file,
        and provenance.json names the models for which it was used
    progress : where to tell what happens; silent by default
    options : the options of `AnalyzeConfig`, e.g. ``layers="stages"``, ``seed=1``

    Returns
    -------
    Run
        the finished run

    Raises
    ------
    FeaturespaceError
        anything the user can repair, before the first forward pass where possible

    Notes
    -----
    Cost: one forward pass per (model, data), then statistics that are small beside it. Of several processes (torchrun) each
    extracts its share of the rows, and the first makes the tables; the others return the run, too.
    """
    from featurespace.report.write import draw_figures
    from featurespace.tables.sampling import sampled
    from featurespace.tables.streamed import help_with_cka
    from featurespace.viewing import draw_inputs, write_thumbnails

    progress = progress or Progress()
    with distributed.processes(), ExitStack() as stack:
        config, run = distributed.together(partial(resolve, models, data, out, into=into, **options))
        inputs = distributed.together(
            partial(_begun, stack, run, config, progress, trust=trust, extending=into is not None)
        )
        if config.store:
            inputs, stores = extract_all(run, config, inputs, progress)
        else:
            inputs, stores = compare_passing(config, inputs, progress)
        if distributed.rank():
            help_with_cka(stores)
            return run
        pixels = {}
        if "probe" in config.analyses:
            pixels = raw_pixels(inputs, sampled(stores, "probe", seed=config.seed), progress)
        for name in run.forget_other_tables(stores.key()):
            progress.tell(f"table {name!r} was not what an earlier command wrote and is taken away")
        with progress.stage("leakage"):
            for name, table in overlap.recalled(inputs.images, inputs.hashes, stores.memo, progress).items():
                run.write_table(name, table)
        with limited_threads(inputs.threads):
            write_tables(run, config, stores, pixels, inputs.models, progress)
        progress.detail(f"statistics: {stores.memo.made} results computed, {stores.memo.recalled} used again")
        stores.memo.forget_unused({LEAKAGE, *(kind for analysis in config.analyses for kind in MEMORIES[analysis])})
        with progress.stage("figures"):
            write_thumbnails(run, inputs, pictures=config.pictures)
            if not config.pictures:
                run.remove_figures("inputs_")
            drawn = (draw_inputs(run, inputs) if config.pictures else []) + draw_figures(run)
        _write_records(run, config, inputs, stores, drawn, progress)
        run.finish()
        distributed.told(None)  # no help is needed any more
    return run


def _begun(
    stack: ExitStack, run: Run, config: AnalyzeConfig, progress: Progress, *, trust: bool, extending: bool
) -> Inputs:
    """Return models and data; the first process holds the run's directory and has begun it."""
    if distributed.rank() == 0:
        stack.enter_context(run.locked())
        claim(run, config, extending=extending)
    with progress.stage("read models and data"):
        inputs = read_inputs(config, progress, trust=trust)
        refuse_run_among_images(run, inputs)
    if distributed.rank() == 0:
        run.begin(progress.started, to_yaml(config))  # only now: a missing file must not cost the finished report
    return inputs


def resolve(
    models: Sequence[str] = (), data: Sequence[str] = (), out: str | Path | None = None, *,
    into: str | Path | None = None, **options: Any,
) -> tuple[AnalyzeConfig, Run]:  # fmt: skip
    """Return the checked configuration that arguments of `analyze` mean, and the run they mean."""
    if (out is None) == (into is None):
        raise FeaturespaceError("give either --out (a new run, or the same one again) or --into (a run to add to)")
    if into is None:
        assert out is not None
        return make_config(models=tuple(models), data=tuple(data), **options), Run(out)
    run = load(into)
    return extended(make_config(**read_config(run.config)), models, data, options), run


def plan_analysis(
    models: Sequence[str] = (), data: Sequence[str] = (), out: str | Path | None = None, *,
    into: str | Path | None = None, trust: bool = False, progress: Progress | None = None, **options: Any,
) -> Plan:  # fmt: skip
    """Return what `analyze` with the same arguments will cost; reads models and data, and writes nothing."""
    from featurespace.plan import make_plan

    config, run = resolve(models, data, out, into=into, **options)
    progress = progress or Progress()
    inputs = with_controls(read_inputs(config, progress, trust=trust), config, progress)
    images = {each.name: len(each) for each in inputs.images}
    forward, weights = extract_options(config, inputs.device), "weights" in config.analyses
    return make_plan(inputs.networks, images, forward, run.path, weights=weights, kept=config.store)


def claim(run: Run, config: AnalyzeConfig, *, extending: bool = False) -> None:
    """Raise FeaturespaceError where the run's directory holds a run with another configuration."""
    run.claim(None if extending else _difference(run, config))


def _difference(run: Run, config: AnalyzeConfig) -> str | None:
    if not run.config.is_file():
        return None
    try:
        earlier = AnalyzeConfig(**read_config(run.config)).identity()
    except (FeaturespaceError, ValueError):
        return "its config.yaml cannot be read"
    return differences(earlier, config.identity()) or None


def _write_records(
    run: Run, config: AnalyzeConfig, inputs: Inputs, stores: Stores, drawn: list[str], progress: Progress
) -> None:
    from featurespace.report.findings import findings
    from featurespace.report.write import write_report

    run.write_json("summary.json", {
        "models": stores.trained, "controls": stores.untrained,
        "data": stores.data, "figures": drawn, "findings": [each._asdict() for each in findings(run)],
    })  # fmt: skip
    write_provenance(run, config, inputs, stores, progress)
    write_report(run)


def write_provenance(run: Run, config: AnalyzeConfig, inputs: Inputs, stores: Stores, progress: Progress) -> None:
    """Write where the numbers come from: command, versions, hashes, times, and what was said."""
    finished = provenance.now()
    used = {each.name: len(stores.samples(each.name)) for each in inputs.images}
    run.write_json("provenance.json", {
        "command": provenance.command_line(), "started": progress.started, "finished": finished,
        "parts": run.parts(finished), "seed": config.seed,
        "threads": inputs.threads, "processes": distributed.size(), "device": inputs.device, "statistics_device": stores.device,
        "machine": provenance.machine(),
        "versions": provenance.installed_versions(), "models": [_model_record(model) for model in inputs.models],
        "data": [
            {"label": each.name, "source": str(each.source), "images": used[each.name],
             "left_out": len(each) - used[each.name], "sha256": inputs.hashes[each.name], "notes": list(each.notes)}
            for each in inputs.images
        ],
        "seconds": {name: round(value, 2) for name, value in progress.seconds.items()}, "messages": progress.messages,
    })  # fmt: skip


def _model_record(model: Model | FeatureTable) -> dict[str, Any]:
    from featurespace.features.table import FeatureTable
    from featurespace.models.unpickling import TRUSTED

    if isinstance(model, FeatureTable):
        return {"label": model.label, "spec": model.spec, "arch": "", "source": "table of features",
                "weights_sha256": model.sha256, "match": None}  # fmt: skip
    return {
        "label": model.label, "spec": model.spec, "arch": model.arch, "source": model.source,
        "weights_sha256": model.weights_hash, "preprocessing": model.preprocessing.to_dict(),
        "match": None if model.match is None else model.match.summary(), "trusted": TRUSTED in model.source,
    }  # fmt: skip


class _CallableModule(ModuleType):
    """Lets ``fs.analyze(...)`` be the function although ``featurespace.analyze`` is this module."""

    def __call__(self, *args: Any, **kwargs: Any) -> Run:
        return analyze(*args, **kwargs)


sys.modules[__name__].__class__ = _CallableModule
