"""What a run will cost, before it starts: images, layers, disk, memory and time."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featurespace.errors import FeaturespaceError

if TYPE_CHECKING:
    from featurespace.features.extract import ExtractOptions
    from featurespace.models.load import Model

PROBE_IMAGES = 16  # a forward pass of this many tells the speed
MARGIN = 1.1  # tables, figures and the report beside the features


@dataclass(frozen=True)
class ModelPlan:
    """Cost of one model on every data set: layers, values an image, images a second of a bare forward pass.

    ``summed`` is the width where wide layers are sketched.
    """

    label: str
    layers: int
    width: int
    images_per_second: float
    summed: int


@dataclass(frozen=True)
class Plan:
    """Cost of a run.

    Attributes
    ----------
    images : images of each data set
    models : cost of each network
    disk_bytes, free_bytes : what the feature store will take, and what the disk has left
    memory_bytes : what CKA holds at once: all layers of one data set as float64, of as many models as go into 4 GiB, or sums of
        products where there are many images or no features are kept; or the kernels of the weights of one layer in all networks,
        whichever is more
    seconds : of the forward passes alone
    """

    images: dict[str, int]
    models: tuple[ModelPlan, ...]
    disk_bytes: int
    free_bytes: int
    memory_bytes: int
    seconds: float


def make_plan(
    models: list[Model],
    images: dict[str, int],
    options: ExtractOptions,
    out: Path,
    *,
    weights: bool = False,
    kept: bool = True,
) -> Plan:
    """Return the cost of extracting every network on every data set; three small forward passes each.

    With ``weights``, what comparing them takes is counted; features that are not ``kept`` take no disk, but sums.
    """
    from featurespace.tables.weights import kernel_bytes

    plans = tuple(_model_plan(model, options) for model in models)
    total = sum(images.values())
    return Plan(
        images=images,
        models=plans,
        disk_bytes=_disk_bytes(sum(plan.width for plan in plans), total) if kept else 0,
        free_bytes=_free_bytes(out),
        memory_bytes=max(
            _statistics_bytes(plans, max(images.values()), kept=kept), kernel_bytes(models) if weights else 0
        ),
        seconds=sum(total / plan.images_per_second for plan in plans),
    )


def _statistics_bytes(plans: tuple[ModelPlan, ...], images: int, *, kept: bool) -> int:
    """Return what CKA holds at once: the features of some models, or sums of their products."""
    from featurespace.tables import streamed

    widths, summed = sorted(plan.width for plan in plans), [plan.summed for plan in plans]
    if not kept:
        return 8 * streamed.BLOCKS * (sum(summed) ** 2 + sum(each**2 for each in summed)) // 2
    if images > streamed.AT_ONCE:
        return 8 * (streamed.BLOCKS + 2) * min(streamed.TILE, widths[-1]) ** 2 + 8 * streamed.CHUNK * 2 * streamed.TILE
    return 8 * images * min(sum(widths), max(sum(widths[-2:]), streamed.MEMORY // (8 * images)))


def check_disk(models: list[Model], images: dict[str, int], options: ExtractOptions, out: Path) -> None:
    """Raise FeaturespaceError where the features will not fit on the disk; what is there already counts as free."""
    from featurespace.features.extract import layer_widths

    needed = _disk_bytes(sum(sum(layer_widths(model, options).values()) for model in models), sum(images.values()))
    there = sum(_blocks(file) for file in out.glob("features/*/*/layers/*.npy"))
    if needed > _free_bytes(out) + there:
        raise FeaturespaceError(
            f"the features need {in_bytes(needed)}, and the disk of {out} has {in_bytes(_free_bytes(out))} left; "
            "choose another --out, fewer --layers, --pool avg or --limit"
        )


def _disk_bytes(width: int, images: int) -> int:
    return int(4 * width * images * MARGIN)


def _blocks(file: Path) -> int:
    status = file.stat()
    return 512 * status.st_blocks if hasattr(status, "st_blocks") else status.st_size  # less than its size if sparse


def _free_bytes(path: Path) -> int:
    return shutil.disk_usage(next(each for each in (path, *path.absolute().parents) if each.exists())).free


def in_bytes(count: float) -> str:
    """Return a size for people, e.g. ``1.5 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def _model_plan(model: Model, options: ExtractOptions) -> ModelPlan:
    import torch

    from featurespace.device import autocast
    from featurespace.features.extract import layer_widths
    from featurespace.tables import streamed

    device = torch.device(options.device)
    widths = layer_widths(model, options)
    batch = torch.zeros(PROBE_IMAGES, *model.preprocessing.input_size, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    seconds = []
    with torch.inference_mode(), autocast(device, options.precision):
        for _ in range(3):  # the first pass also chooses kernels
            start = time.perf_counter()
            model.network(batch).sum().item()
            seconds.append(time.perf_counter() - start)
    summed = sum(each if each <= streamed.WIDEST else 2 * streamed.SKETCH for each in widths.values())
    return ModelPlan(model.label, len(widths), sum(widths.values()), PROBE_IMAGES / min(seconds), summed)
