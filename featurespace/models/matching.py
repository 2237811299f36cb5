"""Which tensor of a checkpoint is which of a network: by name, by a known renaming, or by order and shape."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from featurespace.errors import FeaturespaceError, counted
from featurespace.models.alignment import align
from featurespace.models.readings import Reading, all_readings, prefixes
from featurespace.models.report import MatchReport, TensorMatch, insufficient, shape_text

MINIMUM_SHARE = 0.95
HEAD_PREFIXES = ("fc", "_fc", "classifier", "head", "heads", "head_dist", "last_linear", "linear", "logits", "output")
# Where two parts of a checkpoint fit equally well, the one to leave: MoCo's key encoder, momentum copies and
# the target or student of a pair. The report names the part that was left.
_SECOND_CHOICE = ("encoder_k", "momentum", "target", "student")
# Buffers that follow from the architecture, or that no features depend on.
_CONSTANTS = ("num_batches_tracked", "relative_position_index", "relative_coords_table", "position_ids")
# Parts of transformers that are a tensor or two, far less than 5 %, and change every feature.
_DECISIVE = ("norm_pre", "fc_norm", "cls_token", "class_token", "reg_token", "register_tokens", "dist_token")
ORDER_NOTE = (
    "aligned by order and shape, not by name: check with known outputs, e.g. that the classifier still classifies"
)


@dataclass(frozen=True)
class Match:
    """The report, the state to load (network names) and the checkpoint's classifier tensors, left out of it."""

    report: MatchReport
    state: dict[str, Tensor]
    head: dict[str, Tensor]


def match(
    model_state: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    *,
    head_prefixes: Iterable[str] = (),
    where: str = "checkpoint",
    arch: str = "the network",
    hint: Callable[[], str] | None = None,
) -> Match:
    """Match a checkpoint with the state of a backbone (no classifier).

    Parameters
    ----------
    model_state : names and tensors of the network without its classifier
    tensors : names and tensors of the checkpoint, in file order
    head_prefixes : names of the network's classifier, e.g. ``("fc",)``; common ones are known
    where, arch : the file and the architecture, for the message
    hint : called on failure only; returns a sentence on what to try

    Raises
    ------
    FeaturespaceError
        If less than 95 % of the backbone is found (by values or by tensors), if a tensor of the right name
        has another shape, or if the checkpoint holds more
        of the backbone's parts than the network has (a deeper architecture), or if an alignment by order has
        more than one reading.
    """
    heads = tuple(dict.fromkeys([*head_prefixes, *HEAD_PREFIXES]))
    found = best_match(model_state, tensors, head_prefixes=heads)
    refused = ""
    if not is_sufficient(found.report):
        aligned, refused = _by_order(model_state, tensors, heads)
        found = aligned or found
    check(found, where=where, arch=arch, refused=refused, hint=hint)
    return found


def best_match(
    model_state: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    *,
    head_prefixes: Sequence[str] = HEAD_PREFIXES,
    resize: Callable[[str, Tensor, Tensor], Tensor | None] | None = None,
) -> Match:
    """Return the best match by names or a known renaming, however small its share.

    ``resize`` is asked for a tensor of another shape, by its name in the network, its value and its target.
    """
    readings = all_readings(model_state, tensors)
    fits = [_fit(reading, model_state, tensors) for reading in readings]
    best = readings[fits.index(max(fits))]  # the first of equals, so plain names win over renamings
    rivals = [
        f"{reading.prefix!r} fits as well and was not used"
        for reading, fit in zip(readings, fits)
        if fit[:2] == max(fits)[:2] and fit[0] and reading.prefix != best.prefix and reading.method == best.method
    ]
    return _assemble(replace(best, notes=tuple(rivals)), model_state, tensors, head_prefixes, resize)


def is_sufficient(report: MatchReport) -> bool:
    """Tell whether enough of the backbone was found, by values and by tensors.

    By values alone, a checkpoint without running statistics would pass and its features be meaningless.
    """
    return min(report.share_of_parameters, report.share_of_tensors) >= MINIMUM_SHARE


def check(found: Match, *, where: str, arch: str, refused: str = "", hint: Callable[[], str] | None = None) -> None:
    """Raise for a match that is too small or that leaves out parts of the same backbone."""
    report = found.report
    surplus = _surplus(found) or _decisive(found)
    if is_sufficient(report) and not report.mismatched and not surplus:
        return
    advice = f" {hint()}" if hint else ""
    if not is_sufficient(report):
        raise FeaturespaceError(insufficient(report, where, arch, minimum=MINIMUM_SHARE, refused=refused) + advice)
    if report.mismatched:
        # Not a matter of shares: one layer of random weights early on makes every later feature meaningless.
        one = report.mismatched[0]
        raise FeaturespaceError(
            f"{where} does not fit {arch}: {one.target} is {shape_text(one.source_shape)} in the file and "
            f"{shape_text(one.target_shape)} in the network "
            f"({counted(len(report.mismatched), 'tensor differs', 'tensors differ')} in shape); "
            f"check the architecture, its variant and the image size.{advice}"
        )
    raise FeaturespaceError(
        f"{where} holds more than {arch}: {counted(len(surplus), 'tensor belongs', 'tensors belong')} to parts that {arch} "
        f"has not, e.g. {', '.join(surplus[:3])}; it was written by another architecture of the same "
        f"family (deeper, wider, with other tokens or norms), so name that one as ARCH@FILE.{advice}"
    )


def _fit(
    reading: Reading, model_state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> tuple[int, int, bool, bool]:
    values = count = 0
    for old, new in reading.names.items():
        if new in model_state and _counts(new) and _fitted(tensors[old], model_state[new]) is not None:
            values += tensors[old].numel()
            count += 1
    second = any(word in part for part in reading.prefix.split(".") for word in _SECOND_CHOICE)
    return values, count, not second, not reading.prefix


def _assemble(
    reading: Reading,
    model_state: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    heads: Sequence[str],
    resize: Callable[[str, Tensor, Tensor], Tensor | None] | None = None,
) -> Match:
    state: dict[str, Tensor] = {}
    entries: dict[str, list[TensorMatch]] = {"matched": [], "reshaped": [], "mismatched": [], "unexpected": []}
    head: dict[str, Tensor] = {}
    ignored = []
    for old, value in tensors.items():
        new = reading.names.get(old)
        if new is not None and new in model_state and new not in state:
            target = model_state[new]
            entry = TensorMatch(old, new, tuple(value.shape), tuple(target.shape))
            fitted = _fitted(value, target)
            if fitted is None and resize is not None:
                fitted = resize(new, value, target)
            if fitted is None:
                entries["mismatched"].append(entry)
                continue
            state[new] = fitted
            if _counts(new):
                entries["matched" if value.shape == target.shape else "reshaped"].append(entry)
        elif (name := _head_name(old, new, reading.prefix, heads)) is not None:
            ignored.append(old)
            head[name] = value
        elif _counts(old):
            entries["unexpected"].append(TensorMatch(old, new, tuple(value.shape), None))
    report = _report(reading, entries, ignored, state, model_state)
    return Match(report, state, head)


def _report(
    reading: Reading,
    entries: Mapping[str, list[TensorMatch]],
    ignored: list[str],
    state: Mapping[str, Tensor],
    model_state: Mapping[str, Tensor],
) -> MatchReport:
    counted = {name: value for name, value in model_state.items() if _counts(name)}
    wrong = {entry.target for entry in entries["mismatched"]}
    missing = [
        TensorMatch(None, name, None, tuple(value.shape))
        for name, value in counted.items()
        if name not in state and name not in wrong
    ]
    values = sum(value.numel() for value in counted.values())
    return MatchReport(
        method=reading.method,
        prefix=reading.prefix,
        matched=tuple(entries["matched"]),
        reshaped=tuple(entries["reshaped"]),
        mismatched=tuple(entries["mismatched"]),
        missing=tuple(missing),
        unexpected=tuple(entries["unexpected"]),
        ignored_head=tuple(ignored),
        share_of_parameters=sum(v.numel() for n, v in counted.items() if n in state) / max(values, 1),
        share_of_tensors=sum(name in state for name in counted) / max(len(counted), 1),
        notes=reading.notes,
    )


def _by_order(
    model_state: Mapping[str, Tensor], tensors: Mapping[str, Tensor], heads: Sequence[str]
) -> tuple[Match | None, str]:
    """Align by order and shape; the reason for a refusal is returned in words, empty if shapes don't fit."""
    target = {name: value for name, value in model_state.items() if _counts(name)}
    fits: list[tuple[str, dict[str, str]]] = []
    refused = ""
    for prefix in prefixes(tensors, [], plain=False):
        body = {
            name: value
            for name, value in tensors.items()
            if name.startswith(prefix) and _counts(name) and _head_name(name, None, prefix, heads) is None
        }
        alignment = align(body, target)
        if alignment.pairs and not any(alignment.pairs == pairs for _, pairs in fits):
            fits.append((prefix, alignment.pairs))
        elif alignment.fits and not alignment.pairs:
            refused = alignment.reason
    if len(fits) > 1:
        return None, f"the parts {fits[0][0]!r} and {fits[1][0]!r} both fit"
    if not fits or refused:
        return None, refused
    reading = Reading("order and shape", "", fits[0][1], (ORDER_NOTE,))
    return _assemble(replace(reading, prefix=fits[0][0]), model_state, tensors, heads), ""


def _surplus(found: Match) -> list[str]:
    """Return the unexpected tensors inside parts of the backbone that the network has, if they weigh 5 %."""
    tops = {entry.target.split(".")[0] for entry in (*found.report.matched, *found.report.reshaped) if entry.target}
    extra = [e for e in found.report.unexpected if e.target and "." in e.target and e.target.split(".")[0] in tops]
    return [e.source or "" for e in extra] if len(extra) > (1 - MINIMUM_SHARE) * len(found.report.matched) else []


def _decisive(found: Match) -> list[str]:
    """Return the unexpected tensors that no network of this family may leave out, whatever they weigh."""
    prefix = found.report.prefix
    extra = [(e.source or "", e.target or (e.source or "")[len(prefix) :]) for e in found.report.unexpected]
    return [source for source, name in extra if source.startswith(prefix) and name.split(".")[0] in _DECISIVE]


def _counts(name: str) -> bool:
    return not name.endswith(_CONSTANTS)


def _fitted(value: Tensor, target: Tensor) -> Tensor | None:
    """Return the value in the target's shape: the same, or with axes of length one added or removed."""
    if value.shape == target.shape:
        return value
    if [n for n in value.shape if n != 1] == [n for n in target.shape if n != 1] and value.numel() > 1:
        return value.reshape(target.shape)
    return None


def _head_name(old: str, new: str | None, prefix: str, heads: Sequence[str]) -> str | None:
    """Return the classifier's name without wrapper prefixes, or None if the tensor is no classifier.

    The classifier may sit beside the backbone: with the prefix ``model.backbone.`` it may be ``model.head``.
    """
    parts = prefix.split(".")[:-1]
    outers = ["".join(part + "." for part in parts[:depth]) for depth in range(len(parts), -1, -1)]
    for name in [new or "", *(old[len(outer) :] for outer in outers if old.startswith(outer))]:
        if any(name.startswith(head + ".") for head in heads):
            return name
    return None
