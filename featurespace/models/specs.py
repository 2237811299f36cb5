"""What a user types for a model, parsed; nothing is loaded here and torch is not imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from featurespace.errors import FeaturespaceError, did_you_mean, nearest
from featurespace.models.manifest import read_manifest

SOURCES = ("random", "pretrained", "file", "featurespace", "hf-hub", "local-dir", "features")
CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors", ".bin", ".tar", ".pkl", ".pickle")
FEATURE_SUFFIXES = (".npz", ".csv", ".parquet")
GRAMMAR = (
    "a model is [LABEL=]ARCH@FILE, ARCH:pretrained, ARCH@random, FILE (written by featurespace), "
    "hf-hub:OWNER/NAME, local-dir:DIR, torchvision/NAME or smp/KIND-ENCODER in place of ARCH, or a .npz, .csv or .parquet table"
)
_LABEL = re.compile(r"[A-Za-z0-9._+-]+")
_ARCH = re.compile(r"(torchvision/|smp/)?[A-Za-z0-9_.+-]+")


@dataclass(frozen=True)
class ModelSpec:
    """One model as typed on the command line.

    ``source`` is one of ``SOURCES``: where the weights come from. ``arch`` is a timm name, or
    ``torchvision/NAME``; for hf-hub it is ``OWNER/NAME``, and None where only the file knows. ``trust`` is never typed
    in a spec: it lets a file run code, and is the option of a command.
    """

    label: str
    source: str
    arch: str | None
    path: Path | None
    text: str
    trust: bool = False


def parse_model_spec(text: str, *, bare: bool = False) -> ModelSpec:
    """Parse one model spec.

    Parameters
    ----------
    bare : an architecture alone is one with random weights; otherwise it is an error, since nobody said which weights

    Raises
    ------
    FeaturespaceError
        For a label with other characters than letters, digits and ``._+-``, a file or directory that does
        not exist, a file without a manifest where the architecture is not given, weights that are not given, and an
        empty part.
    """
    label, rest = _split_label(text)
    source, arch, path, automatic = _parse_source(rest + "@random" if bare and _is_arch(rest) else rest, text)
    return ModelSpec(label or automatic, source, arch, path, text)


def parse_model_specs(texts: Iterable[str]) -> list[ModelSpec]:
    """Parse several specs; two with the same label are an error that says how to name them."""
    specs: list[ModelSpec] = []
    for text in texts:
        spec = parse_model_spec(text)
        for other in specs:
            if other.label == spec.label:
                raise FeaturespaceError(_duplicate(other, spec))
        specs.append(spec)
    return specs


def _split_label(text: str) -> tuple[str | None, str]:
    left, equals, right = text.partition("=")
    # An equals sign inside a path is no label: runs/lr=0.1/best.ckpt, resnet18@lr=0.1.pt, or a file here.
    if not equals or re.search(r"[/\\@:]", left) or (os.path.isfile(text) and not os.path.isfile(right)):
        return None, text
    if not _LABEL.fullmatch(left):
        raise FeaturespaceError(
            f"label {left!r} in model {text!r} is not allowed; a label has letters, digits and . _ + - only, "
            f"as in {_as_label(left) or 'mine'}={right}"
        )
    return left, right


def _parse_source(rest: str, text: str) -> tuple[str, str | None, Path | None, str]:
    """Return source, architecture, path and the label that follows from them."""
    if not rest or "\0" in rest:  # no system has a path with a zero byte
        raise FeaturespaceError(f"model {text!r} is {'no name or path' if rest else 'empty'}; {GRAMMAR}")
    if rest.startswith("hf-hub:"):
        return _parse_hub(rest, text)
    if rest.startswith("local-dir:"):
        directory = Path(os.path.expanduser(rest.removeprefix("local-dir:")))
        if not os.path.isdir(directory):
            raise FeaturespaceError(f"model {text!r}: {_not_there(directory, 'directory')}")
        return "local-dir", None, directory, _as_label(directory.resolve().name)
    arch, at, file = rest.partition("@")
    if at and _ARCH.fullmatch(arch):
        return _parse_arch_at(arch, file, text)
    if rest.endswith(":pretrained") and _ARCH.fullmatch(rest.removesuffix(":pretrained")):
        arch = rest.removesuffix(":pretrained")
        return "pretrained", arch, None, _arch_label(arch)
    if _is_path(rest):
        return _parse_file(Path(rest), text)
    if not _ARCH.fullmatch(rest):
        raise FeaturespaceError(f"model {text!r} cannot be read: {rest!r} is no architecture; {GRAMMAR}{_meant(rest)}")
    whose = "torchvision's" if rest.startswith("torchvision/") else "timm's"
    raise FeaturespaceError(
        f"model {text!r} does not say which weights; write {rest}@random for random weights, {rest}:pretrained for {whose}, "
        f"or {rest}@FILE for those of a file"
    )


def _is_path(rest: str) -> bool:
    suffix = Path(rest).suffix.lower()
    has_folder = not rest.startswith(("torchvision/", "smp/")) and ("/" in rest or "\\" in rest)
    return has_folder or suffix in CHECKPOINT_SUFFIXES + FEATURE_SUFFIXES or bool(suffix and os.path.isfile(rest))


def _is_arch(rest: str) -> bool:
    return bool(_ARCH.fullmatch(rest)) and not _is_path(rest)


def _parse_hub(rest: str, text: str) -> tuple[str, str, None, str]:
    name = rest.removeprefix("hf-hub:")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", name):
        raise FeaturespaceError(f"model {text!r}: {name!r} is not OWNER/NAME, as in hf-hub:timm/resnet18.a1_in1k")
    return "hf-hub", name, None, _as_label(name.split("/")[1])


def _parse_arch_at(arch: str, file: str, text: str) -> tuple[str, str, Path | None, str]:
    if not file:
        raise FeaturespaceError(f"model {text!r}: nothing follows '@'; write {arch}@FILE or {arch}@random")
    if file == "random":
        return "random", arch, None, _arch_label(arch)
    if nearest(file, ["random"]) and not os.path.exists(file):
        raise FeaturespaceError(f"model {text!r}: file {file} does not exist; did you mean {arch}@random?")
    path = _existing_file(Path(file), text)
    if path.suffix.lower() in FEATURE_SUFFIXES:
        raise FeaturespaceError(
            f"model {text!r}: {path} is a table of features, not a checkpoint; write it without {arch}@"
        )
    return "file", arch, path, _as_label(path.stem)


def _parse_file(path: Path, text: str) -> tuple[str, str | None, Path, str]:
    path = _existing_file(path, text)
    if path.suffix.lower() in FEATURE_SUFFIXES:
        return "features", None, path, _as_label(path.stem)
    manifest = read_manifest(path)
    if manifest is None:
        raise FeaturespaceError(
            f"model {text!r}: {path} has no featurespace manifest, so its architecture is not known; "
            f"write ARCH@{path}, and `featurespace inspect {path}` guesses ARCH"
        )
    return "featurespace", str(manifest["arch"]), path, _as_label(path.stem)


def _existing_file(path: Path, text: str) -> Path:
    path = Path(os.path.expanduser(path))
    if os.path.isfile(path):  # unlike Path.is_file, also of impossible names
        return path
    if os.path.isdir(path):
        raise FeaturespaceError(f"model {text!r}: {path} is a directory; name a file in it, or write local-dir:{path}")
    if os.path.exists(path):
        raise FeaturespaceError(f"model {text!r}: {path} is no regular file; name a file that holds weights")
    raise FeaturespaceError(f"model {text!r}: {_not_there(path, 'file')}{_meant(str(path))}")


def _meant(rest: str) -> str:
    """Return what a spec with a misspelt prefix or ending may mean, as the end of a sentence."""
    head, sign, tail = rest.partition(":") if ":" in rest else rest.partition("/")
    words = ("hf-hub", "local-dir") if sign == ":" else ("torchvision", "smp")
    meant = [f"{each}{sign}{tail}" for each in nearest(head, words, count=1) if tail]
    meant += [f"{head}:pretrained" for _ in nearest(tail, ["pretrained"]) if sign == ":"]
    return f"; did you mean {meant[0]}?" if meant and meant[0] != rest else ""


def _not_there(path: Path, kind: str) -> str:
    if not os.path.isdir(path.parent):
        return f"{kind} {path} does not exist, nor does its folder {path.parent}"
    names = sorted(entry.name for entry in path.parent.iterdir() if entry.is_dir() == (kind == "directory"))
    close = did_you_mean(str(path), [str(path.parent / name) for name in nearest(path.name, names)])
    there = (
        ("; its folder holds " + ", ".join(names[:3]) + " and others" * (len(names) > 3))
        if names
        else "; its folder is empty"
    )
    return f"{kind} {path} does not exist{close or there}"


def _duplicate(first: ModelSpec, second: ModelSpec) -> str:
    if first.text == second.text:
        return f"model {first.text!r} is given twice; leave one out, or give one of them another label: LABEL=MODEL"
    examples = []
    for number, spec in enumerate((first, second), start=1):
        parent = _as_label(spec.path.resolve().parent.name) if spec.path else ""
        body = spec.text.split("=", 1)[1] if spec.text.startswith(spec.label + "=") else spec.text
        stem = parent if parent and first.path and second.path and first.path.parent != second.path.parent else ""
        examples.append(f"{stem or spec.label + '-' + (str(number) if spec.path else spec.source)}={body}")
    if examples[0].split("=")[0] == examples[1].split("=")[0]:
        examples[1] = "other-" + examples[1]
    return (
        f"models {first.text!r} and {second.text!r} both have the label {first.label!r}; write LABEL=MODEL "
        f"to name them, e.g. {examples[0]} {examples[1]}"
    )


def _arch_label(arch: str) -> str:
    return arch.replace("/", "-")


def _as_label(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-") or "model"
