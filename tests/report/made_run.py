"""A run written by hand: all that the report is made from, without a network or a layout."""

import base64
import io
import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from featurespace.report.write import write_report
from featurespace.run import Run

LAYERS = ("stem", "blocks.0", "pooled")
N, K = 30, 8


def made_run(
    path,
    *,
    models=("before", "after"),
    domains=("ct", "mr"),
    labels=("left", "right"),
    extra=None,
    sentence="It differs.",
):
    """Write a run of two models on two data sets, with random numbers, and its report."""
    run, rng = Run(path), np.random.default_rng(0)
    images = images_of(domains, labels, rng, extra or {})
    layers = [{"model": model, "layer": layer, "depth": depth, "width": 4, "role": "model", "control": None, "arm": None}
              for model in models for depth, layer in enumerate(LAYERS)]  # fmt: skip
    similarity = [
        {"metric": "cka_debiased", "model_a": a, "model_b": b, "layer_a": x, "layer_b": y, "data": data, "n": N,
         **dict(zip(("value", "ci_low", "ci_high"), rng.uniform(0.4, 0.6) + np.array([0, -0.1, 0.1]))), "interval": "jackknife",
         "unit": "sample", "n_groups": None, "se": 0.05, "level": 0.95}
        for data, (a, b), x, y in itertools.product(domains, itertools.combinations_with_replacement(models, 2), LAYERS, LAYERS)
    ]  # fmt: skip
    points = [images[["data", "sample", "label"]].assign(model=model, layer=LAYERS[-1], x=rng.normal(size=len(images)),
                                                         y=rng.normal(size=len(images))) for model in models]  # fmt: skip
    quality = [{"method": "aligned_umap", "model": model, "layer": LAYERS[-1], "data": "all", "metric": "trustworthiness", "value": 0.9,
                "n": len(images), "hyperparameter": "k=10"} for model in models]  # fmt: skip
    run.config.parent.mkdir(parents=True, exist_ok=True)
    run.config.write_text("{}")
    run.write_table("layers", pd.DataFrame(layers))
    run.write_table("similarity", pd.DataFrame(similarity))
    run.write_table("aligned_embedding", pd.concat(points))
    run.write_table("embedding", pd.DataFrame())
    run.write_table("embedding_quality", pd.DataFrame(quality))
    run.write_table("neighbours", pd.concat([neighbours_of(images, model) for model in models]))
    run.write_table("images", images)
    classes = images.groupby(["data", "label"]).size().rename("images").reset_index()
    run.write_table("classes", classes.assign(split="", groups=2))
    for name in ("inputs_1", "cka_heatmap_ct", "aligned_umap"):
        run.write_figure(name, Figure((1, 1)), pd.DataFrame(), "")
    write_records(run, models, domains, sentence)
    write_report(run)
    return run


def images_of(domains, labels, rng, extra):
    picture = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8)).save(picture, "WEBP")
    count = N * len(domains)
    return pd.DataFrame({
        "data": np.repeat(domains, N), "sample": [f"{index % N}.png" for index in range(count)],
        "label": [labels[index % len(labels)] for index in range(count)], "group": [f"patient-{index % 7}" for index in range(count)],
        "split": None, "age": np.arange(count), **{name: [value] + ["plain"] * (count - 1) for name, value in extra.items()},
        "thumbnail": base64.b64encode(picture.getvalue()).decode(),
    })  # fmt: skip


def neighbours_of(images, model):
    """Make the next eight images, in order, the neighbours of each image."""
    frames = []
    for rank in range(1, K + 1):
        near = images.iloc[(np.arange(len(images)) + rank) % len(images)]
        frames.append(images[["data", "sample"]].assign(model=model, layer=LAYERS[-1], rank=rank, distance=rank / 2,
                      neighbour_data=near["data"].to_numpy(), neighbour=near["sample"].to_numpy()))  # fmt: skip
    return pd.concat(frames)


def write_records(run, models, domains, sentence):
    run.write_json("summary.json", {
        "models": list(models), "controls": [], "data": list(domains), "figures": ["inputs_1", "cka_heatmap_ct", "aligned_umap"],
        "findings": [{"table": table, "data": domains[0], "sentence": sentence, "shown": shown}
                     for table, shown in (("similarity", True), ("embedding", False), ("leakage", False))],
    })  # fmt: skip
    run.write_json("provenance.json", {
        "command": f"featurespace analyze {models[0]} --data {domains[0]}", "seed": 0, "finished": "now", "device": "cpu", "threads": 1,
        "versions": {"featurespace": "0"}, "machine": {"cores": 2, "memory_gib": 4, "system": "Linux"},
        "models": [{"label": model, "arch": "resnet18", "source": model, "match": None} for model in models],
        "data": [{"label": data, "images": 2 * N, "left_out": 0, "source": data, "sha256": "0" * 64} for data in domains],
        "seconds": {"features": 1.0}, "messages": [sentence],
    })  # fmt: skip
