"""How fast, beside the floor (bare forward passes) and beside other tools, with the error next to the time.

    make bench                                  everything, a few minutes on two cores
    python tests/benchmarks/speed.py cka files  some parts: cka, files, models, device, start

The exit code is 1 where a ratio is clearly worse than the one in ratios.json; --store writes those of this run there.

Everything that is compared runs in turn in one process, several times; printed are the median and, of ratios, the median
of the ratios within a round. Other tools are optional: pip install "featurespace[bench]".
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from stored import check
from torch.utils.flop_counter import FlopCounterMode

from featurespace import provenance
from featurespace.data.specs import open_data
from featurespace.device import autocast, set_threads
from featurespace.features.extract import ExtractOptions, extract, input_batches
from featurespace.features.store import FeatureStore
from featurespace.metrics import cka_matrices, prepare_cka
from featurespace.models.hooks import capture
from featurespace.models.layers import select_layers
from featurespace.models.load import Model, load_model
from featurespace.models.specs import parse_model_specs

IMAGES, SIDE, BATCH, ROUNDS = 1024, 64, 64, 5
FLOOR = "two bare forward passes"
OURS = "featurespace: features and 10 x 10 CKA with intervals"
DEVICES = (
    ("cpu", "fp32", 256, 32, 4096),
    ("cuda", "bf16", 8192, 256, 8192),
)  # and images, batch, width of a matrix product
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
PRODUCTS = 8
console = Console(width=120)


def models(count: int) -> list[Model]:
    specs = parse_model_specs([f"m{index}=resnet18@random" for index in range(count)])
    loaded = [load_model(spec, seed=seed, image_size=SIDE) for seed, spec in enumerate(specs)]
    for model in loaded:
        model.network.to(memory_format=torch.channels_last)
    return loaded


def textures(count: int, side: int, seed: int = 0) -> np.ndarray:
    """Smooth random colour images, so that features of the images differ as those of photographs do."""
    rng = np.random.default_rng(seed)
    images = torch.zeros(count, 3, side, side)
    for scale in (2, 4, 8, 16):
        coarse = torch.from_numpy(rng.standard_normal((count, 3, scale, scale)).astype(np.float32))
        images += torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic") / scale**0.5
    images = (images - images.amin((1, 2, 3), keepdim=True)) / (
        images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    )
    return (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def rounds(jobs: dict[str, Callable[[], object]], count: int = ROUNDS) -> dict[str, list[float]]:
    """Run the jobs in turn, ``count`` times after one time to warm up, and return the seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for number in range(count + 1):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(times: list[float], floor: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(times, floor, strict=True))


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    drawn = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        drawn.add_column(column, justify="left" if index == 0 else "right")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


# Two networks and their 10 x 10 CKA -------------------------------------------------------------------------------


def forward(networks: list[torch.nn.Module], inputs: torch.Tensor, precision: str) -> None:
    for network in networks:
        with torch.inference_mode(), autocast(torch.device("cpu"), precision):
            for start in range(0, len(inputs), BATCH):
                network(inputs[start : start + BATCH])


def ours(pair: list[Model], data, folder: Path, options: ExtractOptions) -> np.ndarray:
    """Features into their stores, and the matrix with every interval."""
    shutil.rmtree(folder, ignore_errors=True)
    fingerprint = data.fingerprint()
    stores = [extract(model, data, folder / model.label, options=options, fingerprint=fingerprint) for model in pair]
    prepared = [[prepare_cka(store[layer]) for layer in store] for store in stores]
    (_, matrix), *_ = cka_matrices(prepared, [(0, 1)])
    assert all(estimate.ci_low < estimate.ci_high for row in matrix for estimate in row)
    return np.array([[estimate.value for estimate in row] for row in matrix])


def exact(pair: list[Model], inputs: torch.Tensor, *, pool: str, precision: str) -> np.ndarray:
    """The debiased CKA over all images, from n x n Gram matrices in float64: what every tool here estimates."""
    grams = []
    for model in pair:
        layers = select_layers(model.network, "blocks", inputs[:2])
        rows: dict[str, list[torch.Tensor]] = {}
        with (
            torch.inference_mode(),
            autocast(torch.device("cpu"), precision),
            capture(model.network, layers, pool=pool) as found,
        ):
            for start in range(0, len(inputs), BATCH):
                model.network(inputs[start : start + BATCH])
                for name, value in found.features.items():
                    rows.setdefault(name, []).append(value)
        features = (torch.cat(each).double() for each in rows.values())
        grams.append([(X @ X.T).numpy() for X in features])
    own = [[hsic(K, K) for K in each] for each in grams]
    return np.array([
        [hsic(K, L) / np.sqrt(own[0][i] * own[1][j]) for j, L in enumerate(grams[1])] for i, K in enumerate(grams[0])
    ])  # fmt: skip


def hsic(K: np.ndarray, L: np.ndarray) -> float:
    n = len(K)
    K, L = K - np.diag(K.diagonal()), L - np.diag(L.diagonal())
    trace, mean = (K * L).sum(), K.sum() * L.sum() / ((n - 1) * (n - 2))
    return (trace + mean - 2 * K.sum(0) @ L.sum(0) / (n - 2)) / (n * (n - 3))


def peers(
    pair: list[Model], inputs: torch.Tensor, precision: str, *, warm: bool = True
) -> dict[str, Callable[[], np.ndarray]]:
    """Other tools on the same batches and the same ten places; each flattens the activations and averages batches."""
    layers = [layer.name for layer in select_layers(pair[0].network, "blocks", inputs[:2])]
    names = ["global_pool" if name == "pooled" else name for name in layers]
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs), batch_size=BATCH)
    networks = [model.network for model in pair]
    found: dict[str, Callable[[], np.ndarray]] = {}

    def pytorch_cka() -> np.ndarray:
        from cka import compute_cka

        with quiet(), autocast(torch.device("cpu"), precision):
            result = compute_cka(networks[0], networks[1], loader, layers=names, device="cpu")
        return np.asarray(result[0] if isinstance(result, list) else result, dtype=float)

    def torch_cka() -> np.ndarray:
        from torch_cka import CKA

        with quiet(), torch.inference_mode(), autocast(torch.device("cpu"), precision):
            tool = CKA(*networks, model1_layers=names, model2_layers=names, device="cpu")
            tool.compare(loader, loader)
            for network in networks:  # the tool leaves its hooks behind
                for module in network.modules():
                    module._forward_hooks.clear()
            return tool.hsic_matrix.numpy()

    for name, job in (("pytorch-cka", pytorch_cka), ("torch_cka", torch_cka)):
        try:
            if warm:
                job()
            found[name] = job
        except ImportError:
            console.print(f"{name} is not installed: pip install 'featurespace[bench]'")
    return found


@contextlib.contextmanager
def quiet():
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def bench_cka(folder: Path) -> dict:
    np.savez(folder / "images.npz", images=textures(IMAGES, SIDE))
    data, pair, results = open_data(f"images={folder / 'images.npz'}"), models(2), {}
    for precision in ("fp32", "bf16"):
        batches = [
            torch.from_numpy(each) for _, each, _ in input_batches(data, pair[0].preprocessing, batch_size=BATCH)
        ]
        inputs = torch.cat(batches).contiguous(memory_format=torch.channels_last)
        options = ExtractOptions(precision=precision, batch_size=BATCH)
        jobs: dict[str, Callable[[], object]] = {
            FLOOR: partial(forward, [model.network for model in pair], inputs, precision),
            OURS: partial(ours, pair, data, folder / "stores", options),
            **peers(pair, inputs, precision),
        }
        seconds = rounds(jobs)
        floor = seconds[FLOOR]
        truth = {pool: exact(pair, inputs, pool=pool, precision=precision) for pool in ("avg", "none")}
        rows = []
        for name, times in seconds.items():
            error, above = "", statistics.median(a - b for a, b in zip(times, floor, strict=True))
            if name != FLOOR:
                error = f"{np.abs(jobs[name]() - truth['avg' if name == OURS else 'none']).max():.1e}"
            cells = [
                f"{statistics.median(times):.2f}",
                f"{ratio(times, floor):.2f}",
                f"{above:.2f}" if error else "",
                error,
            ]
            rows.append([name, *cells])
            results[f"{precision} {name}"] = {
                "seconds": times,
                "ratio": ratio(times, floor),
                "above": above,
                "error": error,
            }
        table(
            f"Two resnet18, {IMAGES:,} images at {SIDE} px, {precision}",
            ["", "seconds", "to the floor", "seconds above it", "largest error"],
            rows,
        )
    console.print(
        "largest error: against the debiased CKA over all images, in float64, of pooled (ours) or flattened (theirs) features"
    )
    return results


# From files -------------------------------------------------------------------------------------------------------


def bench_files(folder: Path) -> dict:
    from PIL import Image

    (folder / "jpeg").mkdir()
    for number, pixels in enumerate(textures(IMAGES, 256)):
        Image.fromarray(pixels).save(folder / "jpeg" / f"{number:04d}.jpg", quality=90)
    data, results, rows = open_data(f"files={folder / 'jpeg'}"), {}, []
    for size in (64, 224):
        spec = parse_model_specs(["m=resnet18@random"])[0]
        model = load_model(spec, seed=0, image_size=size)
        form = model.preprocessing
        inputs = torch.cat([torch.from_numpy(each) for _, each, _ in input_batches(data, form, batch_size=BATCH)])
        fingerprint = data.fingerprint()

        def from_files(model=model, fingerprint=fingerprint) -> FeatureStore:
            shutil.rmtree(folder / "store", ignore_errors=True)
            return extract(
                model, data, folder / "store", options=ExtractOptions(batch_size=BATCH), fingerprint=fingerprint
            )

        def reading_alone(form=form) -> None:
            for _ in input_batches(data, form, batch_size=BATCH):
                pass

        seconds = rounds({
            "resident": partial(forward, [model.network], inputs.contiguous(memory_format=torch.channels_last), "fp32"),
            "reading": reading_alone, "files": from_files,
        }, 3)  # fmt: skip
        speeds = {name: IMAGES / statistics.median(times) for name, times in seconds.items()}
        share = ratio(seconds["files"], seconds["resident"])
        rows.append(
            [f"{size} px", *(f"{speeds[name]:,.0f}" for name in ("resident", "reading", "files")), f"{share:.2f}"]
        )
        results[f"{size} px"] = {"images_per_second": speeds, "ratio": share}
    columns = ["", "forward pass, resident", "reading alone", "features from files", "time to the forward pass"]
    table(f"{IMAGES:,} JPEG files of 256 px, resnet18, fp32: images a second", columns, rows)
    return results


# Many models ------------------------------------------------------------------------------------------------------


def bench_models(folder: Path) -> dict:
    np.savez(folder / "images.npz", images=textures(IMAGES, SIDE))
    data, many, results, rows = open_data(f"images={folder / 'images.npz'}"), models(10), {}, []
    inputs = torch.cat(
        [torch.from_numpy(each) for _, each, _ in input_batches(data, many[0].preprocessing, batch_size=BATCH)]
    )
    inputs = inputs.contiguous(memory_format=torch.channels_last)
    options, fingerprint = ExtractOptions(batch_size=BATCH), data.fingerprint()

    def features(count: int) -> list[FeatureStore]:
        shutil.rmtree(folder / "many", ignore_errors=True)
        return [
            extract(each, data, folder / "many" / each.label, options=options, fingerprint=fingerprint)
            for each in many[:count]
        ]

    for count in (2, 5, 10):
        stores = features(count)

        def similarity(stores=stores) -> int:
            prepared = [[prepare_cka(store[layer]) for layer in store] for store in stores]
            return sum(1 for _ in cka_matrices(prepared))

        seconds = rounds({
            "floor": partial(forward, [each.network for each in many[:count]], inputs, "fp32"),
            "features": partial(features, count), "cka": similarity,
        }, 2)  # fmt: skip
        middle = {name: statistics.median(times) for name, times in seconds.items()}
        total = middle["features"] + middle["cka"]
        pairs = count * (count + 1) // 2 * 100
        rows.append([f"{count}", f"{middle['floor']:.2f}", f"{middle['features']:.2f}", f"{middle['cka']:.2f} ({pairs:,})",
                     f"{total / count:.2f}", f"{total / middle['floor']:.2f}"])  # fmt: skip
        results[count] = {**middle, "ratio": total / middle["floor"]}
    results |= _peers_of_all_pairs(many, inputs, results[5]["features"] + results[5]["cka"])
    columns = ["models", "bare passes, s", "features, s", "all CKA, s (pairs of layers)", "s a model", "to the floor"]
    table(f"N resnet18, {IMAGES:,} images at {SIDE} px, fp32, every pair of models", columns, rows)
    return results


def _peers_of_all_pairs(many: list[Model], inputs: torch.Tensor, own: float, count: int = 5) -> dict:
    """Return the seconds of other tools for every pair of models, one call a pair, in their default precision and in bf16."""
    found = {}
    for precision in ("fp32", "bf16"):
        for name in peers(many[:2], inputs[: 2 * BATCH], precision, warm=False):
            start = time.perf_counter()
            try:
                for first, second in itertools.combinations(many[:count], 2):
                    peers([first, second], inputs, precision, warm=False)[name]()
            except (AssertionError, ImportError) as error:  # torch_cka gives up where a value is NaN
                console.print(f"{name}, {precision}: {error}")
                continue
            seconds = time.perf_counter() - start
            console.print(
                f"{name}, {precision}: all pairs of {count} models in {seconds:.1f} s; ours in fp32 {own:.1f} s"
            )
            found[f"{name} {precision}"] = {"seconds": seconds, "to ours": seconds / own}
    return found


# ResNet-50 where there is a GPU, too ------------------------------------------------------------------------------


def bench_device(folder: Path, cases: tuple[tuple[str, str, int, int, int], ...] = DEVICES) -> dict:
    """Features of resident images to bare passes, and the passes to the fastest matrix product of the same device."""
    results, rows = {}, []
    for device, precision, images, batch, width in cases:
        if device == "cuda" and not torch.cuda.is_available():
            console.print(f"resnet50 at 224 px, {precision}, on a GPU: not measured, there is none")
            continue
        pixels = np.random.default_rng(0).integers(0, 255, (images, 224, 224, 3), np.uint8)
        np.savez(folder / f"{device}.npz", images=pixels)
        data, model = (
            open_data(f"x={folder / f'{device}.npz'}"),
            load_model(parse_model_specs(["m=resnet50@random"])[0], image_size=224),
        )
        network = model.network.to(device, memory_format=torch.channels_last)
        batches = [torch.from_numpy(each).to(device, memory_format=torch.channels_last)
                   for _, each, _ in input_batches(data, model.preprocessing, batch_size=batch)]  # fmt: skip
        matrices = [torch.randn(width, width, device=device).to(PRECISIONS[precision]) for _ in range(3)]
        options, fingerprint = ExtractOptions(precision=precision, batch_size=batch, device=device), data.fingerprint()

        def bare(device=device, precision=precision, network=network, batches=batches) -> None:
            with torch.inference_mode(), autocast(torch.device(device), precision):
                for each in batches:
                    network(each)
            if device == "cuda":
                torch.cuda.synchronize()

        def product(device=device, matrices=matrices) -> None:
            for _ in range(PRODUCTS):
                torch.matmul(matrices[0], matrices[1], out=matrices[2])
            if device == "cuda":
                torch.cuda.synchronize()

        def features(model=model, data=data, options=options, fingerprint=fingerprint) -> None:
            shutil.rmtree(folder / "store", ignore_errors=True)
            extract(model, data, folder / "store", options=options, fingerprint=fingerprint)

        seconds = rounds({FLOOR: bare, "product": product, "features": features}, 3)
        passes, peak = (
            statistics.median(seconds[FLOOR]),
            PRODUCTS * 2 * width**3 / statistics.median(seconds["product"]),
        )
        rate = operations(network, batches[0]) * images / len(batches[0]) / passes
        speeds = [images / passes, images / statistics.median(seconds["features"])]
        results[device] = {
            "ratio": ratio(seconds["features"], seconds[FLOOR]),
            "images_per_second": speeds,
            "flops": rate,
            "peak": peak,
        }
        name = torch.cuda.get_device_name() if device == "cuda" else device
        rows.append([f"{name}, {precision}, batch {batch}", *(f"{each:,.0f}" for each in speeds), f"{results[device]['ratio']:.2f}",
                     f"{rate / 1e12:.2f}", f"{rate / peak:.0%}"])  # fmt: skip
    columns = ["", "bare passes, images/s", "features, images/s", "to the passes", "TFLOP/s", "of a matrix product's"]
    table("resnet50 at 224 px, images in memory, all layers of blocks", columns, rows)
    return results


def operations(network: torch.nn.Module, inputs: torch.Tensor) -> int:
    """Return the floating point operations of one forward pass."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(inputs)
    return counter.get_total_flops()


# The command ------------------------------------------------------------------------------------------------------


def bench_start(folder: Path) -> dict:
    rng = np.random.default_rng(0)
    np.savez(folder / "a.npz", images=textures(IMAGES, SIDE), label=rng.integers(0, 4, IMAGES))
    np.savez(folder / "b.npz", images=textures(IMAGES, SIDE, seed=1), label=rng.integers(0, 4, IMAGES))
    out = folder / "run"
    command = [
        sys.executable, "-m", "featurespace", "analyze", "one=resnet18@random", "two=resnet18@random", "--data",
        f"a={folder / 'a.npz'}", "--data", f"b={folder / 'b.npz'}", "--image-size", str(SIDE), "--out", str(out), "-q",
    ]  # fmt: skip
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and not list(out.glob("features/*/*/manifest.json")):
        time.sleep(0.02)
    first = time.perf_counter() - start
    if process.wait():
        raise SystemExit(f"the command failed: {' '.join(command)}")
    whole = time.perf_counter() - start
    stages = json.loads((out / "provenance.json").read_text())["seconds"]
    rows = [["first batch", f"{first:.1f}", ""], *([name, f"{value:.1f}", f"{value / whole:.0%}"] for name, value in stages.items()),
            ["whole command", f"{whole:.1f}", "100%"]]  # fmt: skip
    table(
        f"featurespace analyze, two resnet18 and their control, two data sets of {IMAGES:,} images at {SIDE} px",
        ["stage", "seconds", "share"],
        rows,
    )
    return {"first_batch": first, "whole": whole, "stages": stages}


PARTS = {"cka": bench_cka, "files": bench_files, "models": bench_models, "device": bench_device, "start": bench_start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--store", action="store_true", help="keep the ratios for later runs to be compared with")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {sorted(unknown)[0]!r}; allowed: {', '.join(PARTS)}")
    threads, machine = set_threads(None), provenance.machine()
    versions = provenance.installed_versions()
    console.print(
        f"{provenance.now()}, {threads} threads, {machine}, torch {versions.get('torch')}, numpy {versions.get('numpy')}"
    )
    results, codes = {}, []
    for name in arguments.parts or PARTS:
        with tempfile.TemporaryDirectory(prefix="featurespace-bench-") as folder:
            results[name] = PARTS[name](Path(folder))
        codes.append(check(name, ratios_of(name, results[name]), write=arguments.store))
    if arguments.json:
        record = {
            "time": provenance.now(),
            "threads": threads,
            "machine": machine,
            "versions": versions,
            "results": results,
        }
        arguments.json.write_text(json.dumps(record, indent=2, default=str) + "\n")
    sys.exit(max(codes, default=0))


def ratios_of(part: str, found: dict) -> dict[str, float]:
    """Return our own ratios of a part; larger is worse."""
    if part == "cka":
        return {name: each["ratio"] for name, each in found.items() if name.endswith(OURS)}
    if part == "start":
        return {"first batch to whole command": found["first_batch"] / found["whole"]}
    return {str(name): each["ratio"] for name, each in found.items() if isinstance(each, dict) and "ratio" in each}


if __name__ == "__main__":
    main()
