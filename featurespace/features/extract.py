"""One frozen forward pass per (model, data), all layers at once, written to the store while running."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from featurespace import distributed, files
from featurespace.data.transforms import network_pixels, normalised
from featurespace.data.watching import Changed
from featurespace.device import autocast
from featurespace.errors import FeaturespaceError, counted
from featurespace.features.shared import Part, close_shared, open_shared
from featurespace.features.store import FeatureStore
from featurespace.models.hooks import capture, check_pool, feature_width
from featurespace.models.layers import select_layers
from featurespace.progress import Progress

if TYPE_CHECKING:
    from featurespace.data.dataset import ImageData
    from featurespace.models.layers import Layer
    from featurespace.models.load import Model

MOST_READERS = 16  # threads that read images, at most; Pillow and NumPy release Python's lock
AHEAD = 3  # batches held ready
IMAGES_A_TASK = 8  # read by one thread in one go
CHECKPOINT_SECONDS = 10.0  # at most this much work is lost by a kill

Forward = Callable[[int, int, int], Iterator[tuple[int, dict[str, np.ndarray], dict[int, str]]]]


@dataclass(frozen=True)
class ExtractOptions:
    """What can change a feature, beside model and data."""

    layers: str | tuple[str, ...] = "blocks"
    pool: str = "avg"
    precision: str = "fp32"
    device: str = "cpu"
    batch_size: int = 64
    on_bad_image: str = "skip"


def extract(
    model: Model, data: ImageData, path: Path, *, options: ExtractOptions, fingerprint: str | None = None,
    progress: Progress | None = None,
) -> FeatureStore:  # fmt: skip
    """Return the features of ``model`` on ``data``; those in ``path`` are used where nothing that matters changed.

    Parameters
    ----------
    fingerprint : ``data.fingerprint()``, where the caller has it already
    progress : where to tell images a second and time left

    Raises
    ------
    FeaturespaceError
        an image cannot be read and ``on_bad_image`` is ``error``; no image can be read; features are NaN or
        infinite (model, layer and number of images are named)

    Notes
    -----
    Cost: one forward pass. Killed and started again with the same arguments it goes on where it was, with the same
    batch boundaries, and ends with the same bits. Batch size changes values by float rounding only, because kernels
    choose other summation orders; so it is not part of what makes a store another one.
    """
    progress = progress or Progress()
    network, layers = prepared(model, options)
    key = store_key(model, fingerprint or data.fingerprint(), [layer.name for layer in layers], options)
    store = _matching(path, key)
    progress.detail(f"{model.label} on {data.name}: {'features made anew' if store is None else 'features used again'}")
    changed = _changed(path, key) if store is None else []
    if changed:
        names = " and ".join(changed)
        progress.say(f"{model.label} on {data.name}: {names} changed since the last run, so features are made anew")
    if store is None:
        widths = {layer.name: feature_width(layer, options.pool) for layer in layers}
        samples = data.samples.assign(domain=data.name)
        begin = partial(
            FeatureStore.create, path, key=key, names=(model.label, data.name), samples=samples, widths=widths,
            batch_size=options.batch_size,
        )  # fmt: skip
        of_rows = partial(forward, network, layers, model, data, options=options, progress=progress)
        if distributed.size() > 1:
            store = _filled_by_all(path, begin, of_rows, samples)
        else:
            store = begin()
            _fill(store, of_rows, model.label, data, progress)
    _tell_bad_images(store, options, progress)
    _refuse_nonfinite(store)
    return store


def _matching(path: Path, key: dict[str, Any]) -> FeatureStore | None:
    """Return the finished store with this key; of several processes the first reads every row of it."""
    store = FeatureStore.matching(path, key) if distributed.rank() == 0 else None
    if not distributed.told(store is not None):
        return None
    return store or open_shared(path)


def layer_widths(model: Model, options: ExtractOptions) -> dict[str, int]:
    """Return the layers that the options select, in order of execution, and the features an image has in each."""
    network, layers = prepared(model, options)
    check_pool(network, layers, options.pool)
    return {layer.name: feature_width(layer, options.pool) for layer in layers}


def prepared(model: Model, options: ExtractOptions) -> tuple[torch.nn.Module, list[Layer]]:
    """Return the network on its device, and the layers that the options select, in order of execution."""
    device = torch.device(options.device)
    network = model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    # Two images: BatchNorm and pooling over a single one can hide a shape error.
    example = torch.zeros(2, *model.preprocessing.input_size, device=device)
    selection = list(options.layers) if isinstance(options.layers, tuple) else options.layers
    return network, select_layers(network, selection, example.contiguous(memory_format=torch.channels_last))


def store_key(model: Model, fingerprint: str, layers: list[str], options: ExtractOptions) -> dict[str, Any]:
    """Return everything that can change a feature."""
    return {
        "arch": model.arch, "weights": model.weights_hash, "data": fingerprint, "layers": layers, "pool": options.pool,
        "preprocessing": model.preprocessing.to_dict(), "precision": options.precision,
        "device": options.device.split(":")[0],
        **({"built": dict(model.options)} if model.options else {}),
    }  # fmt: skip


def _changed(path: Path, key: dict[str, Any]) -> list[str]:
    """Return the names of what differs between a key and that of the store in ``path``; none where there is no store."""
    try:
        there = files.read_json(path / "manifest.json")["key"]
        return [name for name in dict.fromkeys([*key, *there]) if key.get(name) != there.get(name)]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def input_batches(
    data: ImageData, form: Any, *, batch_size: int, start: int = 0, stop: int | None = None, on_bad_image: str = "error"
) -> Iterator[tuple[np.ndarray, np.ndarray, dict[int, str]]]:
    """Yield (rows, (b, c, h, w) float32 inputs, {row: reason} of unreadable images), decoded ahead in threads.

    The inputs are views of (b, h, w, c) memory, the layout that convolutions are fastest in. An unreadable image
    stands in its batch as zeros, so that batch boundaries do not depend on it.
    """
    channels, height, width = form.input_size
    end = len(data) if stop is None else stop

    def load(rows: np.ndarray, inputs: np.ndarray) -> dict[int, str]:
        bad: dict[int, str] = {}
        ready = data.images.pixels(rows, channels, height, width)
        if ready is not None:
            inputs[:] = ready
            normalised(inputs, form)
            return bad
        for place, row in enumerate(rows.tolist()):
            try:
                inputs[place] = network_pixels(data.image(row), form)
            except Changed:
                raise
            except FeaturespaceError as error:
                if on_bad_image == "error":
                    raise FeaturespaceError(
                        f"data set {data.name!r}: {error}; --on-bad-image skip leaves it out"
                    ) from error
                bad[row] = str(error)
        normalised(inputs, form)
        inputs[[place for place, row in enumerate(rows.tolist()) if row in bad]] = 0.0
        return bad

    def submit(pool: ThreadPoolExecutor, first: int) -> tuple[np.ndarray, np.ndarray, list[Future]]:
        rows = np.arange(first, min(first + batch_size, end))
        inputs = np.zeros((len(rows), height, width, channels), np.float32)
        parts = [slice(part, part + IMAGES_A_TASK) for part in range(0, len(rows), IMAGES_A_TASK)]
        return rows, inputs, [pool.submit(load, rows[part], inputs[part]) for part in parts]

    starts = list(range(start, end, batch_size))
    with ThreadPoolExecutor(min(MOST_READERS, torch.get_num_threads())) as pool:
        queue = [submit(pool, first) for first in starts[:AHEAD]]
        try:
            for number in range(len(starts)):
                rows, inputs, futures = queue.pop(0)
                bad = {row: reason for future in futures for row, reason in future.result().items()}
                if number + AHEAD < len(starts):
                    queue.append(submit(pool, starts[number + AHEAD]))
                yield rows, inputs.transpose(0, 3, 1, 2), bad
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def forward(
    network: torch.nn.Module, layers: list[Layer], model: Model, data: ImageData, start: int, stop: int, batch_size: int,
    *, options: ExtractOptions, progress: Progress,
) -> Iterator[tuple[int, dict[str, np.ndarray], dict[int, str]]]:  # fmt: skip
    """Yield the first row of each batch of rows, the features of its layers, and {row: reason} of unreadable images."""
    device = torch.device(options.device)
    batches = input_batches(
        data, model.preprocessing, batch_size=batch_size, start=start, stop=stop, on_bad_image=options.on_bad_image
    )
    with (
        torch.inference_mode(),
        autocast(device, options.precision),  # around all batches: the weights are cast once
        capture(network, layers, pool=options.pool) as captured,
        progress.bar(f"{model.label} on {data.name}{distributed.share()}", stop - start, "images") as advance,
    ):
        for rows, inputs, unreadable in batches:
            network(torch.from_numpy(inputs).to(device, memory_format=torch.channels_last))
            yield int(rows[0]), {name: value.cpu().numpy() for name, value in captured.features.items()}, unreadable
            advance(len(rows))


def _fill(store: FeatureStore, of_rows: Forward, label: str, data: ImageData, progress: Progress) -> None:
    if store.rows_done:
        progress.tell(f"{label} on {data.name}: goes on after row {store.rows_done} of {len(data)}")
    saved = time.monotonic()
    for start, features, unreadable in of_rows(store.rows_done, len(data), store.manifest["batch_size"]):
        store.write(start, features, unreadable)
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            store.checkpoint(start + len(next(iter(features.values()))))
            saved = time.monotonic()
    _refuse_unreadable(data.name, store.manifest["bad_images"], len(data))
    store.finish()


def _filled_by_all(
    path: Path, begin: Callable[[], FeatureStore], of_rows: Forward, samples: pd.DataFrame
) -> FeatureStore:
    """Return the store, filled by all processes: the first begins and closes it, each writes its own rows."""
    store = distributed.together(lambda: begin() if distributed.rank() == 0 else None) or open_shared(path)
    part = Part(store, samples)

    def fill() -> dict[str, Any]:
        saved = time.monotonic()
        for start, features, unreadable in of_rows(part.done, part.stop, store.manifest["batch_size"]):
            part.write(start, features, unreadable)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                part.checkpoint()
                saved = time.monotonic()
        part.checkpoint()
        return part.state()

    states = distributed.gathered(distributed.together(fill))

    def close() -> None:
        if distributed.rank() == 0:
            _refuse_unreadable(
                store.manifest["data"], [image for state in states for image in state["bad"]], len(samples)
            )
            close_shared(store, samples, states)

    distributed.together(close)
    return store if distributed.rank() == 0 else open_shared(path)


def _refuse_unreadable(data: str, bad: list[dict[str, Any]], rows: int) -> None:
    if len(bad) == rows:
        raise FeaturespaceError(
            f"data set {data!r}: none of its {counted(rows, 'image')} can be read; the first: {bad[0]['reason']}"
        )


def _tell_bad_images(store: FeatureStore, options: ExtractOptions, progress: Progress) -> None:
    # Also of a store that is used again: what is left out belongs into every record of it.
    bad = store.manifest["bad_images"]
    if bad and options.on_bad_image == "error":
        raise FeaturespaceError(
            f"data set {store.manifest['data']!r}: {bad[0]['reason']}; --on-bad-image skip leaves it out"
        )
    if not bad:
        return
    data, count = store.manifest["data"], store.manifest["rows"] + len(bad)
    for image in bad[:5]:
        progress.say(f"skipped: {image['reason']}")
    listed = "; manifest.json beside the features lists them all" if len(bad) > 5 else ""
    verb = "is" if len(bad) == 1 else "are"
    progress.say(f"{data}: {len(bad)} of {counted(count, 'image')} cannot be read and {verb} left out{listed}")


def _refuse_nonfinite(store: FeatureStore) -> None:
    broken = [layer for layer in store.manifest["layers"] if layer["nonfinite"]]
    if broken:
        first = broken[0]
        raise FeaturespaceError(
            f"model {store.manifest['model']!r}, layer {first['name']!r}: features of {first['nonfinite']} of "
            f"{store.manifest['rows']} images of {store.manifest['data']!r} are NaN or infinite ("
            f"{counted(len(broken), 'layer is', 'layers are')} affected, this is the first); "
            "check the checkpoint's weights with `featurespace inspect`, or use "
            "--precision fp32"
        )
