"""Features without the analysis: one forward pass per model and data set, kept in a run directory."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from featurespace import distributed
from featurespace.analyze import claim, resolve, write_provenance
from featurespace.inputs import Inputs, extract_all, read_inputs, refuse_run_among_images
from featurespace.progress import Progress
from featurespace.run import Run
from featurespace.yaml_files import to_yaml


def extract(
    models: Sequence[str], data: Sequence[str], out: str | Path, *, trust: bool = False,
    progress: Progress | None = None, **options: Any,
) -> Run:  # fmt: skip
    """Write the features of every model on every data set; the same call again goes on, or uses what is there.

    Parameters
    ----------
    models : model specs, e.g. ``["resnet50@a.pth"]``
    data : data specs, e.g. ``["xray=images/"]``
    out : the run directory; `analyze` with the same arguments goes on from there
    trust : as in `analyze`
    progress : where to tell what happens; silent by default
    options : the options of `AnalyzeConfig`; ``control`` is off unless asked for

    Returns
    -------
    Run
        the run; ``run.features(model, data)[layer]`` is an (images, features) memmap

    Raises
    ------
    FeaturespaceError
        as `analyze`

    Notes
    -----
    Cost: one forward pass per (model, data). Of several processes (torchrun) each writes its share of the rows.
    """
    progress = progress or Progress()
    with distributed.processes(), ExitStack() as stack:
        config, run = distributed.together(partial(resolve, models, data, out, **{"control": False, **options}))
        finished = distributed.told(run.report.exists())
        before = {store.path: store.manifest["key_sha256"] for store in run.stores()}

        def begin() -> Inputs:
            if distributed.rank() == 0:
                stack.enter_context(run.locked())
                claim(run, config)
            with progress.stage("read models and data"):
                inputs = read_inputs(config, progress, trust=trust)
                refuse_run_among_images(run, inputs)
            if not finished and distributed.rank() == 0:
                run.begin(progress.started, to_yaml(config))
            return inputs

        inputs, stores = extract_all(run, config, distributed.together(begin), progress)
        if distributed.rank():
            return run
        if any(before.get(store.path, key) != key for store, key in stores.store_keys()):
            if finished:
                run.begin(progress.started, to_yaml(config))  # what was made from the features that were there goes
            run.forget_other_tables(stores.key())
        elif finished:
            return run
        write_provenance(run, config, inputs, stores, progress)
        if not run.tables:  # else an analysis is to be finished
            run.finish()
    return run
