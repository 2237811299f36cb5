"""What large studies take, and what breaks first: rates that are measured here, and what follows for millions of images.

    make bench-scale                                        a few minutes on two cores
    python tests/benchmarks/scale.py --rows 12000000        the simulation alone, of so many rows
    python tests/benchmarks/scale.py --gpu-rate 3000        images/s of ResNet-50 on one GPU, where none is here to measure

Measured are a bare forward pass of ResNet-50, decoding of JPEG files, writing rows with their hashes, and the products that CKA adds
up. The simulation makes two stores of many rows in sparse files and goes through them as `analyze` does, in memory and seconds.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from featurespace import provenance
from featurespace.data.specs import open_data
from featurespace.features.extract import ExtractOptions, input_batches, layer_widths
from featurespace.features.store import FeatureStore
from featurespace.metrics.moments import moments, parts_of
from featurespace.models.load import Model, load_model
from featurespace.models.specs import parse_model_specs
from featurespace.tables.stores import Stores
from featurespace.tables.streamed import StreamedCKA

SIDE, IMAGES = 224, 64
STUDIES = {"ImageNet-1k": 1_281_167, "RadNet-12M": 12_000_000}
console = Console(width=132)


def seconds_of(job: Callable[[], object], repeats: int = 3) -> float:
    """Return the least seconds of some repeats, after one to warm up."""
    job()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        found.append(time.perf_counter() - start)
    return min(found)


def forward_rate(model: Model) -> float:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = model.network.to(device, memory_format=torch.channels_last)
    count = 512 if device == "cuda" else 16
    batch = torch.zeros(count, 3, SIDE, SIDE, device=device).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        return count / seconds_of(lambda: network(batch).sum().item())


def decode_rate(model: Model, folder: Path) -> float:
    """Return images/s that all cores decode from JPEG files of about the size of ImageNet's."""
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(
            (500, 375), Image.Resampling.BICUBIC
        )
        coarse.save(folder / f"{index}.jpg", quality=90)
    data = open_data(f"x={folder}")
    return IMAGES / seconds_of(lambda: [None for _ in input_batches(data, model.preprocessing, batch_size=32)])


def write_rate(folder: Path, width: int = 20_000, rows: int = 64, batches: int = 16) -> float:
    """Return bytes/s that a store writes and hashes."""
    names = [f"i{row}" for row in range(rows * batches)]
    samples = pd.DataFrame(
        {"id": names, "path": names, "label": None, "group": None, "split": None, "domain": "x"}, dtype="string"
    )
    values = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)

    def job() -> None:
        store = FeatureStore.create(
            folder / "store",
            key={"t": time.time()},
            names=("m", "x"),
            samples=samples,
            widths={"l": width},
            batch_size=rows,
        )
        for start in range(0, rows * batches, rows):
            store.write(start, {"l": values})
        store.finish()

    return 4 * width * rows * batches / seconds_of(job)


def product_rate(width: int = 1024, rows: int = 2048) -> float:
    """Return floating-point operations/s of the sums of CKA, in float64."""
    Z, W = np.random.default_rng(0).normal(size=(2, rows, width))
    parts = parts_of([width])
    return 2 * rows * width * width / seconds_of(lambda: moments(Z, W, parts, parts))


def simulated(rows: int, widths: dict[str, int], folder: Path) -> dict[str, float]:
    """Return seconds and memory of the steps of an analysis of two sparse stores."""
    found: dict[str, float] = {}
    start = time.perf_counter()

    def step(name: str) -> None:
        nonlocal start
        found[name] = time.perf_counter() - start
        start = time.perf_counter()

    numbers = np.arange(rows)
    ids = pd.Series(numbers).astype("string")
    groups = pd.Series(numbers // 300).astype("string")
    samples = pd.DataFrame({"id": "ct/" + ids + ".png", "path": pd.array([None] * rows, dtype="string"), "label": groups.str[-1],
                            "group": "p" + groups, "split": pd.array([None] * rows, dtype="string"), "domain": "x"})  # fmt: skip
    step("the table of samples is made")
    stores = {}
    for name in ("a", "b"):
        path = folder / name
        (path / "layers").mkdir(parents=True)
        store = FeatureStore.create(
            path, key={"of": name}, names=(name, "x"), samples=samples.head(1), widths=widths, batch_size=1
        )
        store.write(0, {layer: np.ones((1, width), np.float32) for layer, width in widths.items()})
        store.finish()
        samples.to_parquet(path / "samples.parquet", index=False)
        for layer, width in widths.items():  # holes, and some rows that are none
            made = np.lib.format.open_memmap(path / f"layers/{layer}.npy", "r+")
            del made
            file = path / f"layers/{layer}.npy"
            with open(file, "wb") as handle:
                np.lib.format.write_array_header_1_0(
                    handle, {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
                )
                begin = handle.tell()
                handle.truncate(begin + 4 * rows * width)
                for place in range(0, rows, max(1, rows // 200)):
                    handle.seek(begin + 4 * place * width)
                    handle.write(
                        np.random.default_rng(place)
                        .normal(size=(50, width))
                        .astype(np.float32)[: rows - place]
                        .tobytes()
                    )
        stores[name, "x"] = FeatureStore.open(path)
    step("two sparse stores are made")
    both = Stores(stores)
    step("samples are read")
    cka = StreamedCKA(both, "x")
    step("images go to blocks by their patients")
    for sums in cka.passes([("a", "b")]):
        cka.add(sums)
    step("sums of CKA over all rows")
    matrices = dict((pair, matrix) for pair, matrix, _ in cka.matrices([("a", "b")]))
    assert matrices["a", "b"][0][0].n == rows
    few = both.at_most(20_000, seed=0)
    for layer in widths:
        few.features("a", "x", layer)
    step("a sample of 20,000 rows is drawn and read")
    found["largest memory in GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    found["disk in GB"] = sum(file.stat().st_blocks for file in folder.rglob("*") if file.is_file()) * 512 / 1e9
    found["disk in GB, were they full"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e9
    return found


def predicted(rates: dict[str, float], gpu_rate: float) -> Table:
    table = Table(
        "two ResNet-50", "images", "GPUs", "forward", "decoding", "features", "writing", "CKA sums", "breaks first"
    )
    for name, images in STUDIES.items():
        for layers in ("blocks", "stages"):
            width = rates[f"{layers} width"]
            for gpus in (1, 8):
                hours = {
                    "forward passes": 2 * images / (gpu_rate * gpus),
                    "decoding": 2 * images / (rates["decode"] * 16 * gpus / rates["cores"]),  # 16 cores a GPU
                    "writing": 2 * images * 4 * width / (rates["write"] * gpus),
                    "CKA sums": images * 2 * 3 * width**2 / rates["products"] / (16 * gpus / rates["cores"]),
                }
                slowest = max(hours, key=lambda each: hours[each])
                parts = [f"{value / 3600:,.1f} h" for value in hours.values()]
                disk = f"{2 * images * 4 * width / 1e12:,.2f} TB"
                table.add_row(f"{name}, {layers}", f"{images:,}", str(gpus), *parts[:2], disk, *parts[2:], slowest)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="only simulate stores of so many rows")
    parser.add_argument(
        "--gpu-rate", type=float, default=2500, help="images/s of ResNet-50 in bf16 on one GPU, where there is none"
    )
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        rates: dict[str, float] = {}
        if arguments.rows is None:
            model = load_model(parse_model_specs(["m=resnet50@random"])[0], image_size=SIDE)
            for layers in ("blocks", "stages"):
                rates[f"{layers} width"] = sum(layer_widths(model, ExtractOptions(layers=layers)).values())
            (folder / "images").mkdir()
            rates |= {"forward": forward_rate(model), "decode": decode_rate(model, folder / "images"), "write": write_rate(folder),
                      "products": product_rate(), "cores": torch.get_num_threads()}  # fmt: skip
            console.print({name: float(f"{value:.3g}") for name, value in rates.items()})
            on_gpu = torch.cuda.is_available()
            console.print(predicted(rates, rates["forward"] if on_gpu else arguments.gpu_rate))
            if not on_gpu:
                console.print(
                    f"a GPU's rate is assumed: {arguments.gpu_rate:,.0f} images/s; 16 cores a GPU as fast as those here"
                )
        steps = simulated(arguments.rows or 12_000_000, {"layer1": 64, "layer2": 128}, folder / "stores")
        console.print({name: float(f"{value:.3g}") for name, value in steps.items()})
        console.print(
            json.dumps({"machine": provenance.machine(), "versions": provenance.installed_versions()}, default=str)
        )
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
