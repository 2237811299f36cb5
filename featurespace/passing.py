"""CKA while images go through the networks: nothing but sums is kept (``--no-store``)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, combinations_with_replacement, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from featurespace import distributed
from featurespace.config import AnalyzeConfig
from featurespace.errors import FeaturespaceError, counted
from featurespace.inputs import Inputs, extract_options, with_controls
from featurespace.plan import in_bytes
from featurespace.progress import Progress, shortened

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.features.extract import ExtractOptions
    from featurespace.features.together import Unkept
    from featurespace.tables.stores import Stores
    from featurespace.tables.streamed import StreamedCKA
    from featurespace.tables.tiles import TileSums

ROWS = 2048  # images whose features are added up in one go


def compare_passing(config: AnalyzeConfig, inputs: Inputs, progress: Progress) -> tuple[Inputs, Stores]:
    """Return the inputs with the controls, and stores that know the CKA of all layers, but no features.

    Raises
    ------
    FeaturespaceError
        the sums do not fit into memory; a model is a table of features; an image cannot be read and must be; features are no
        numbers

    Notes
    -----
    Cost: one forward pass per (model, data), all models of a data set side by side; 8 x 20 D^2 bytes for D features in the layers
    of all models. A process that was killed begins again.
    """
    from featurespace.device import statistics_device
    from featurespace.tables.stores import Stores

    if inputs.tables:
        raise FeaturespaceError(
            f"model {inputs.tables[0].label!r} is a table of features, and --no-store goes with networks alone; leave either out"
        )
    inputs = with_controls(inputs, config, progress)
    options, device = extract_options(config, inputs.device), statistics_device(inputs.device)
    stores: dict[tuple[str, str], Any] = {}
    made: dict[str, Any] = {}
    with progress.stage("CKA in passing"):
        for data in inputs.images:
            found, cka = _data_set(data, inputs, options, device, progress)
            stores |= found
            made[data.name] = cka
    return inputs, Stores(stores, inputs.controls, arm_of=config.arm_of, device=device, made=made)


def _data_set(
    data: ImageData, inputs: Inputs, options: ExtractOptions, device: str, progress: Progress
) -> tuple[dict[tuple[str, str], Unkept], StreamedCKA]:
    from featurespace.features.extract import layer_widths, store_key
    from featurespace.features.together import Unkept
    from featurespace.tables.stores import Stores
    from featurespace.tables.streamed import StreamedCKA

    samples = data.samples.assign(domain=data.name)
    known = {}
    for model in inputs.networks:
        widths = layer_widths(model, options)
        key = store_key(model, inputs.hashes[data.name], list(widths), options)
        known[model.label, data.name] = Unkept((model.label, data.name), key, samples, widths)
    whole = StreamedCKA(Stores(known, device=device), data.name)
    passes = whole.passes(list(combinations_with_replacement([model.label for model in inputs.networks], 2)))
    _refuse_too_large(passes, options)
    bad = _add_up(whole, passes, data, inputs, options, device, progress)
    distributed.together(lambda: _tell_bad(data, bad, progress))
    read = samples.drop(index=[row for row, _ in bad]).reset_index(drop=True)
    for each in known.values():
        each.samples = read
    cka = StreamedCKA(Stores(known, device=device), data.name)
    for sums in passes:
        cka.keep(sums)
    return known, cka


def _refuse_too_large(passes: list[TileSums], options: ExtractOptions) -> None:
    import psutil

    needed, there = sum(sums.bytes for sums in passes), psutil.virtual_memory().available
    if needed > there and options.device == "cpu":
        raise FeaturespaceError(
            f"the sums of --no-store need {in_bytes(needed)}, and {in_bytes(there)} of memory are left; choose fewer --layers "
            "(stages, or names), or fewer models, or leave --no-store out"
        )


def _add_up(
    cka: StreamedCKA, passes: list[TileSums], data: ImageData, inputs: Inputs, options: ExtractOptions, device: str,
    progress: Progress,
) -> list[tuple[int, str]]:  # fmt: skip
    """Add the features of all images to the sums; return the images that cannot be read, with the reasons."""
    from featurespace.tables.streamed import SKETCH
    from featurespace.tables.tiles import Scaling, placed

    scaling, unreadable = Scaling(SKETCH), dict[int, str]()
    chunks = _chunks(data, inputs, options, unreadable, progress)
    begun = list(islice(chunks, 1))
    for column in dict.fromkeys(column for sums in passes for column in (*sums.first, *sums.second)):
        for _, features in begun:
            scaling.begin(column, features[column[:2]])
    # Of the first process that has read an image.
    scaling.known = next((known for known in distributed.gathered(scaling.known) if known), {})
    for rows, features in chain(begun, chunks):
        tiles: dict[tuple, Any] = {}
        for sums in passes:
            for tile in (sums.first, sums.second):
                if tuple(tile) not in tiles:
                    columns = [scaling(column, features[column[:2]]) for column in tile]
                    tiles[tuple(tile)] = placed(np.concatenate(columns, axis=1), device)
            sums.add(tiles[tuple(sums.first)], tiles[tuple(sums.second)], cka.blocks[rows])
    return sorted(pair for each in distributed.gathered(unreadable) for pair in each.items())


def _chunks(
    data: ImageData, inputs: Inputs, options: ExtractOptions, unreadable: dict[int, str], progress: Progress
) -> Iterator[tuple[np.ndarray, dict[tuple[str, str], np.ndarray]]]:
    """Yield rows of this process's share and their features by (model, layer), of about `ROWS` images that can be read."""
    from featurespace.features.together import features_together

    ends = distributed.shares(len(data), options.batch_size)
    start, stop = ends[distributed.rank()], ends[distributed.rank() + 1]
    rows: list[np.ndarray] = []
    kept: list[dict[tuple[str, str], np.ndarray]] = []
    batches = features_together(inputs.networks, data, options=options, start=start, stop=stop, progress=progress)
    for first, features, bad in batches:
        unreadable |= bad
        count = len(next(iter(features.values())))
        good = np.array([place for place in range(count) if first + place not in bad], dtype=int)
        features = {place: values[good] for place, values in features.items()}
        _refuse_nonfinite(features, data)
        rows.append(first + good)
        kept.append(features)
        found = sum(map(len, rows))
        if found >= ROWS or (found and first + count == stop):
            yield np.concatenate(rows), {place: np.concatenate([each[place] for each in kept]) for place in features}
            rows, kept = [], []


def _refuse_nonfinite(features: dict[tuple[str, str], np.ndarray], data: ImageData) -> None:
    for (model, layer), values in features.items():
        if not np.isfinite(values).all():
            raise FeaturespaceError(
                f"model {model!r}, layer {layer!r}: features of images of {data.name!r} are NaN or infinite; check the "
                "checkpoint's weights with `featurespace inspect`, or use --precision fp32"
            )


def _tell_bad(data: ImageData, bad: list[tuple[int, str]], progress: Progress) -> None:
    if len(bad) == len(data):
        raise FeaturespaceError(f"data set {data.name!r}: none of its images can be read; the first: {bad[0][1]}")
    if bad:
        progress.say(f"skipped: {shortened([reason for _, reason in bad])}")
        verb = "is" if len(bad) == 1 else "are"
        progress.say(f"{data.name}: {len(bad)} of {counted(len(data), 'image')} cannot be read and {verb} left out")
