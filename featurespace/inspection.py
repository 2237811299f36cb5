"""The job of `featurespace inspect`: what a checkpoint or a model is, and what differs between two files."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape as without_markup
from rich.table import Table

from featurespace.errors import FeaturespaceError, visible
from featurespace.models.compare import TensorDifference, blocks, compare_files, verdict
from featurespace.models.inspect import FileInfo, ModelInfo, inspect_file, inspect_model
from featurespace.models.manifest import read_manifest
from featurespace.models.report import MatchReport, shape_text
from featurespace.models.specs import parse_model_spec

IMAGES = 256  # of a data set that are looked at
SHOWN = 12  # tensors listed of a long list


def inspect_target(
    target: str, other: str | None = None, *, data: str | None = None, trust: bool = False
) -> tuple[dict[str, Any], RenderableType]:
    """Return what ``target`` is, as plain values and as something rich can print.

    A path of an existing file is read as it is; a checkpoint that featurespace wrote, and any model spec, is also
    built, with its layers and what of the file matched. With two files, what differs between them. With ``data`` it is told
    whether a model's BatchNorm statistics are those of the images. ``trust`` lets files
    that cannot be read otherwise run the code in them.
    """
    if data is not None:
        return _on_data(target, other, data, trust=trust)
    if other is not None:
        for each in (target, other):
            if not Path(each).is_file():
                raise FeaturespaceError(f"{each} is no file; to compare two checkpoints name two files")
        differences = compare_files(target, other, trust=trust)
        found = {"verdict": verdict(differences), "blocks": [asdict(block) for block in blocks(differences)]}
        return {**found, "differences": [asdict(row) for row in differences]}, _differences(differences, target, other)
    if Path(target).is_file():
        file = inspect_file(target, trust=trust)
        if file.manifest is None:
            return {"file": asdict(file)}, _file(file)
        model = inspect_model(parse_model_spec(target, bare=True))
        return {"file": asdict(file), "model": asdict(model)}, Group(_file(file), "", _model(model))
    model = inspect_model(replace(parse_model_spec(target, bare=True), trust=trust))
    return {"model": asdict(model)}, _model(model)


def _on_data(target: str, other: str | None, data: str, *, trust: bool) -> tuple[dict[str, Any], RenderableType]:
    """Return how far the images of a data set lie from the statistics of a model's BatchNorm layers."""
    import numpy as np
    import torch

    from featurespace.data.specs import open_data
    from featurespace.features.extract import input_batches
    from featurespace.models.load import load_model
    from featurespace.models.norm_shift import RATIO, SHIFT, norm_shifts

    if other is not None or (Path(target).is_file() and read_manifest(Path(target)) is None):
        raise FeaturespaceError(
            f"--data goes with a model, ARCH@{target} say: a file alone does not say what network it is of"
        )
    model = load_model(replace(parse_model_spec(target, bare=True), trust=trust))
    images = open_data(data)
    if len(images) > IMAGES:
        images = images.subset(np.unique(np.linspace(0, len(images) - 1, IMAGES).astype(int)))
    batches = input_batches(images, model.preprocessing, batch_size=32)
    shifts = norm_shifts(model.network, (torch.from_numpy(inputs) for _, inputs, _ in batches))
    far = [each for each in shifts if each.far]
    values = {
        "data": images.name,
        "images": len(images),
        "layers": [asdict(each) | {"far": each.far} for each in shifts],
    }
    if not shifts:
        return {"batchnorm": values}, f"{escape(model.label)} has no BatchNorm that keeps statistics"
    table = _table(
        "BatchNorm layers whose statistics are not those of the images", "name", "mean off by, sd", "variance, times"
    )
    for each in far[:SHOWN]:
        table.add_row(escape(each.layer), f"{each.shift:.2f}", f"{each.ratio:.2f}")
    head = (
        f"{len(far)} of {len(shifts)} BatchNorm layers are far from {len(images)} images of {escape(images.name)} (mean off by "
        f"more than {SHIFT:g} standard deviation, or variance by a factor of {RATIO:g})"
    )
    return {"batchnorm": values}, Group(head, table) if far else head


def escape(text: str) -> str:
    """Return text from a file so that it is shown as it is: no markup, no control characters."""
    return without_markup(visible(text))


def _table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(title=escape(title), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _file(file: FileInfo) -> RenderableType:
    lines = [
        f"[bold]{escape(file.path)}[/bold]",
        f"  {escape(file.layout)}, {len(file.tensors)} tensors, {file.parameters:,} values, "
        + ", ".join(f"{count} {dtype}" for dtype, count in file.dtypes.items()),
        f"  SHA-256 {file.sha256}",
    ]
    if file.ignored:
        lines.append(
            f"  passed over: {escape(', '.join(file.ignored[:8]))}" + (" ..." if len(file.ignored) > 8 else "")
        )
    if file.manifest:
        lines.append(f"  written by featurespace {file.manifest['featurespace_version']}: {escape(file.manifest['arch'])}, "
                     f"{file.manifest['num_classes']} classes")  # fmt: skip
    elif file.guesses:
        best = [guess for guess in file.guesses if round(guess.share, 3) == round(file.guesses[0].share, 3)]
        lines.append(f"  {escape(str(best[0]))}; to load it: {best[0].arch}@{escape(file.path)}")
        if len(best) > 1:
            lines.append(f"  names and shapes cannot tell it from {escape(', '.join(each.arch for each in best[1:]))}")
    else:
        lines.append("  no architecture of timm has these names or shapes")
    if file.training:
        told = [f"{key} {value}" for key, value in file.training.items()]
        lines.append(f"  training: {escape(', '.join(told[:SHOWN]))}" + (" ..." if len(told) > SHOWN else ""))
    lines += [f"  [yellow]{escape(str(finding))}[/yellow]" for finding in file.health]
    table = _table("tensors", "name", "shape", "type")
    for row in file.tensors[:SHOWN]:
        table.add_row(escape(row.name), shape_text(row.shape), row.dtype)
    if len(file.tensors) > SHOWN:
        table.add_row(f"... and {len(file.tensors) - SHOWN} more (--json lists all)", "", "")
    return Group(*lines, table)


def _model(model: ModelInfo) -> RenderableType:
    form = model.preprocessing
    lines = [
        f"[bold]{escape(model.label)}[/bold]: {escape(model.arch)}, {escape(model.source)}",
        f"  {model.parameters:,} parameters without the classifier; input {shape_text(form.input_size)}, "
        f"mean {_numbers(form.mean)}, std {_numbers(form.std)}",
        f"  weights SHA-256 {model.weights_hash}",
    ]
    parts: list[RenderableType] = [*lines]
    if model.match is not None:
        parts += [f"  {escape(model.match.summary())}", *_unmatched(model.match)]
    table = _table("layers in order of execution (* in blocks, + in stages)", "", "name", "module", "feature shape")
    for row in model.layers:
        marks = ("*" if "blocks" in row.selected else "") + ("+" if "stages" in row.selected else "")
        table.add_row(marks, escape(row.name), row.class_name, shape_text(row.shape))
    return Group(*parts, table)


def _unmatched(match: MatchReport) -> list[RenderableType]:
    table = _table("tensors that did not match by name and shape", "status", "in the file", "in the network")
    for status in ("reshaped", "mismatched", "missing", "unexpected"):
        for entry in getattr(match, status)[:SHOWN]:
            table.add_row(status, escape(f"{entry.source or ''} {shape_text(entry.source_shape) or ''}"),
                          escape(f"{entry.target or ''} {shape_text(entry.target_shape) or ''}"))  # fmt: skip
    return [table] if table.row_count else []


def _differences(rows: list[TensorDifference], a: str, b: str) -> RenderableType:
    counts = {status: sum(row.status == status for row in rows) for status in dict.fromkeys(row.status for row in rows)}
    words = {
        "equal": "equal",
        "differs": "differ",
        "shape": "of another shape",
        "only_a": f"only in {a}",
        "only_b": f"only in {b}",
    }
    by_block = _table("by block", "block", "tensors", "equal", "largest relative change",
                      right=("tensors", "equal", "largest relative change"))  # fmt: skip
    for block in blocks(rows):
        if block.equal < block.tensors:
            largest = "" if block.largest is None else f"{block.largest:.2%}"
            by_block.add_row(escape(block.block), str(block.tensors), str(block.equal), largest)
    table = _table("tensors that differ, the largest change first", "status", "name", "shapes", "largest difference",
                   "relative change", right=("largest difference", "relative change"))  # fmt: skip
    different = [row for row in rows if row.status != "equal"]
    for row in different[: 4 * SHOWN]:
        shapes = " / ".join(shape_text(shape) or "" for shape in (row.shape_a, row.shape_b) if shape is not None)
        change = (
            "" if row.max_abs is None else f"{row.max_abs:.3g}",
            "" if row.relative is None else f"{row.relative:.2%}",
        )
        table.add_row(row.status, escape(row.name), shapes, *change)
    if len(different) > 4 * SHOWN:
        table.add_row("", f"... and {len(different) - 4 * SHOWN} more (--json lists all)", "", "", "")
    head = ", ".join(f"{count} {escape(words[status])}" for status, count in counts.items())
    if not different:
        return Group(f"{len(rows)} tensors, all equal")
    return Group(f"{len(rows)} tensors: {head}", verdict(rows), by_block, table)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.3f}" for value in values)
