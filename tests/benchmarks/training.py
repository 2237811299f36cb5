"""Images a second of a SimCLR training from files, beside the same steps on one batch that is there already.

    make bench-training                            everything, a few minutes on two cores
    python tests/benchmarks/training.py --json F   and the figures in a file

The floor: views, forward and backward pass and the optimizer's step in a bare loop, on a batch of random pixels in the
memory of the device. Against it whole trainings of an epoch by Lightning, which read PNG files anew, from a file of
decoded images, or from memory. All run in turn in one process, several times; printed are medians, and of ratios the
median of the ratios within a round. Reading alone, in images a second, and the seconds of decoding before the first epoch
are columns of their own. The file of decoded images was written a moment before: it comes from the system's memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from speed import console, ratio, rounds, table, textures

from featurespace import provenance, seeding
from featurespace.device import autocast, set_threads
from featurespace.progress import Progress
from featurespace.training import engine
from featurespace.training.batches import Batch
from featurespace.training.curves import Curves
from featurespace.training.optimizers import build_optimizer
from featurespace.training.pretrain import _prepare
from featurespace.training.settings import PretrainConfig

ROUNDS, FLOOR, TARGET = 5, "resident", 0.85
CPU = {"arch": "resnet18", "size": 64, "side": 96, "images": 512, "batch": 64, "precision": "fp32"}
CUDA = {"arch": "resnet50", "size": 224, "side": 320, "images": 4096, "batch": 256, "precision": "bf16"}
# Dense bf16 with float32 accumulation, as NVIDIA's data sheets say, without sparsity; by a word in the device's name.
PEAKS = {"H100 PCIe": 756e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "V100": None, "T4": None}


def settings(case: dict, folder: Path, cache: str, device: str) -> PretrainConfig:
    return PretrainConfig(
        model=case["arch"], method="simclr", data=(f"images={folder / 'png'}",), out=folder / cache,
        image_size=case["size"], batch_size=case["batch"], epochs=1, optimizer="sgd", learning_rate=0.01, cache=cache,
        precision=case["precision"], device=device, online_every=0, loggers=(), save_minutes=1e9,
    )  # fmt: skip


class Training:
    """A training of one epoch by the engine, over and over, from one kind of cache."""

    def __init__(self, config: PretrainConfig):
        self.config = config
        self.prepared = _prepare(config, Progress())
        start = time.perf_counter()
        self.prepared.batches.prepare(Progress())
        self.decoding = time.perf_counter() - start

    def __call__(self) -> None:
        self.prepared.batches.next_piece = 0
        curves = Curves(self.config.out / "curves.csv", lambda images: None, lambda epoch, module: {})
        engine.fit(self.prepared.module, self.prepared.batches, self.config, curves)

    def reading(self) -> float:
        """Return images a second of the batches alone: what a faster device would have to wait for."""
        times = []
        for _ in range(3):
            self.prepared.batches.next_piece, start = 0, time.perf_counter()
            images = sum(len(batch.pixels) for batch in self.prepared.batches)
            times.append(time.perf_counter() - start)
        return images / statistics.median(times)


class Resident:
    """The same steps on one batch of random pixels, without a loader and without Lightning."""

    def __init__(self, config: PretrainConfig, device: str):
        self.config, self.device = config, torch.device(device)
        prepared = _prepare(config, Progress())
        self.module, self.steps = prepared.module.to(self.device).train(), prepared.batches.order.steps
        self.optimizer = build_optimizer(self.module.parameter_groups(), config)
        shape = (config.batch_size, *prepared.batches.pixels.shape)
        pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        n = config.batch_size
        targets = torch.zeros(n, dtype=torch.long)
        self.batch = Batch(pixels.permute(0, 3, 1, 2).to(self.device), targets, np.arange(n), 0, n, slice(0, n))

    def __call__(self) -> float:
        for step in range(self.steps):
            loss = self.step(step)
        return loss.item()  # waits for the device

    def step(self, number: int) -> torch.Tensor:
        rng = seeding.child(0, "images", str(number))
        with autocast(self.device, self.config.precision):
            loss = self.module.loss(self.batch, rng)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def flops(self) -> int:
        """Return the operations of one step: multiplications and additions of convolutions and matrices."""
        from torch.utils.flop_counter import FlopCounterMode

        with FlopCounterMode(display=False) as counter:
            self.step(0)
        return counter.get_total_flops()


def write_images(folder: Path, count: int, side: int) -> None:
    (folder / "png").mkdir()
    for first in range(0, count, 256):
        for number, pixels in enumerate(textures(min(256, count - first), side, seed=first), first):
            Image.fromarray(pixels).save(folder / "png" / f"{number:05d}.png")


def bench(case: dict, folder: Path, device: str) -> dict:
    """Return seconds of every round, images a second, and ratios to the floor."""
    write_images(folder, case["images"], case["side"])
    make = partial(settings, case, folder, device=device)
    trainings = {cache: Training(make(cache)) for cache in ("none", "disk", "memory")}
    resident = Resident(make("none"), device)
    seconds = rounds({FLOOR: resident, **trainings}, ROUNDS)
    images = resident.steps * case["batch"]
    speeds = {name: images / statistics.median(times) for name, times in seconds.items()}
    shares = {name: 1 / ratio(times, seconds[FLOOR]) for name, times in seconds.items()}
    reading = {name: training.reading() for name, training in trainings.items()}
    rows = [[FLOOR, f"{speeds[FLOOR]:,.0f}", "1.00", "", ""]] + [
        [f"PNG files, cache {name}", f"{speeds[name]:,.0f}", f"{shares[name]:.2f}", f"{reading[name]:,.0f}",
         f"{training.decoding:.1f}"] for name, training in trainings.items()
    ]  # fmt: skip
    table(
        f"SimCLR, {case['arch']} at {case['size']} px, {case['precision']}, {device}, batch {case['batch']}, "
        f"{images:,} of {case['images']:,} PNG files of {case['side']} px an epoch, {ROUNDS} rounds",
        ["", "images a second", f"to {FLOOR}", "reading alone", "decoding before, s"],
        rows,
    )
    missed = [name for name in trainings if shares[name] < TARGET]
    console.print(f"target {TARGET:.2f}: " + (f"missed by cache {', '.join(missed)}" if missed else "reached by all"))
    found = {
        "case": case,
        "device": device,
        "seconds": seconds,
        "images_per_second": speeds,
        "ratio": shares,
        "reading": reading,
    }
    return found | {"flops": flops_share(resident, speeds[FLOOR] / case["batch"], device)}


def flops_share(resident: Resident, steps_a_second: float, device: str) -> dict:
    """Return operations a second of the floor, and which share of the card's peak they are."""
    rate = resident.flops() * steps_a_second
    card = torch.cuda.get_device_name() if device == "cuda" else None
    peak = next((value for word, value in PEAKS.items() if word in (card or "")), None)
    share = (
        f"{rate / peak:.0%} of the {peak / 1e12:.0f} of {card}" if peak else f"peak of {card or 'this CPU'} not known"
    )
    console.print(f"{FLOOR}: {rate / 1e12:.2f} TFLOP/s, {share}")
    return {"per_second": rate, "card": card, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    threads, machine = set_threads(None), provenance.machine()
    versions = provenance.installed_versions()
    console.print(f"{provenance.now()}, {threads} threads, {machine}, torch {versions.get('torch')}")
    results = {}
    for name, case in (("cpu", CPU), ("cuda", CUDA)):
        if name == "cuda" and not torch.cuda.is_available():
            console.print(f"{case['arch']} at {case['size']} px, {case['precision']}, on a GPU: not measured")
            continue
        with tempfile.TemporaryDirectory(prefix="featurespace-bench-") as folder:
            results[name] = bench(case, Path(folder), name)
    if arguments.json:
        record = {"time": provenance.now(), "threads": threads, "machine": machine, "versions": versions}
        arguments.json.write_text(json.dumps(record | {"results": results}, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
