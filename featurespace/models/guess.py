"""Which architecture a checkpoint may belong to, from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from featurespace.models.matching import best_match

MOST = 40  # networks built for one guess, of some 0.05 s each
COMMON = (  # for names that tell nothing
    *("resnet18", "resnet34", "resnet50", "resnet101", "densenet121", "vgg16_bn", "efficientnet_b0", "mobilenetv2_100"),
    *(
        "convnext_tiny",
        "convnext_base",
        "swin_tiny_patch4_window7_224",
        "vit_small_patch16_224",
        "vit_base_patch16_224",
    ),
)
MODULES = 3  # families of timm looked through
_INITIALISERS = {
    *("normal_", "uniform_", "erfinv_", "mul_", "add_", "div_", "clamp_", "fill_", "zero_", "copy_", "ones_", "zeros_"),
    *("trunc_normal_", "constant_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
}
# Names that parts of timm's commonest families have, or that torchvision and efficientnet_pytorch give them.
_FAMILIES = (
    (r"^layer[1-4]\.\d+\.conv\d", ("resnet",)),
    (r"^blocks\.\d+\.attn\.(qkv|q_proj)", ("vision_transformer", "deit", "beit", "eva")),
    (r"^blocks\.\d+\.\d+\.conv_(dw|pw|exp)", ("efficientnet", "mobilenetv3")),
    (r"^s\d\.b\d+\.conv1", ("regnet",)),
    (r"^stages\.\d+\.blocks\.\d+\.conv_dw", ("convnext",)),
    (r"^layers\.\d+\.blocks\.\d+\.attn\.relative_position_bias_table", ("swin_transformer",)),
    (r"^features\.denseblock1", ("densenet",)),
    (r"encoder_layer_\d", ("vision_transformer",)),
    (r"trunk_output", ("regnet",)),
    (r"^_blocks\.0\.", ("efficientnet",)),
    (r"^features\.\d+\.(\d+\.)?(block|conv)\.\d+\.\d", ("efficientnet", "mobilenetv3")),
    (r"^features\.\d+\.\d+\.layer_scale", ("convnext",)),
    (r"^features\.\d+\.\d+\.attn\.relative_position", ("swin_transformer",)),
    (r"^features\.\d+\.weight", ("vgg",)),
    (r"^[4-7]\.\d+\.conv1\.", ("resnet",)),
)
# What timm calls transformers of a width.
_WIDTHS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1152: "so400m", 1280: "huge", 1408: "giant"}


class Guess(NamedTuple):
    """An architecture of timm, the share of tensors that fit it, and by what (names, a renaming, or shapes alone)."""

    arch: str
    share: float
    method: str

    def __str__(self) -> str:
        by = "by shapes alone" if self.method == "shapes" else f"by name and shape ({self.method})"
        return f"{self.sureness} {self.arch}: {self.share:.1%} of the tensors fit {by}"

    @property
    def sureness(self) -> str:
        """How sure it is, in words."""
        if self.method != "shapes" and self.share > 0.99:
            return "certainly"
        return "very probably" if self.share > 0.95 else "perhaps a variant of" if self.share > 0.7 else "hardly"


def fitting_architectures(tensors: Mapping[str, Tensor], *, limit: int = 4) -> list[Guess]:
    """Return the architectures of timm whose tensors a checkpoint holds, by names and shapes, best first.

    The families come from the names, the order within one from depth, width and patch size; no more than `MOST` networks
    are built, without memory or arithmetic. The share is of the tensors of file and network together, the classifier and
    momentum copies left out.
    """
    body = _without_copies(tensors)
    guesses = []
    for arch, by_shape in guess_architectures(body, limit=limit + 2):
        report = best_match(_state(arch), body).report
        loaded = len(report.matched) + len(report.reshaped)
        others = [e for e in report.unexpected if (e.source or "").startswith(report.prefix)]
        share = loaded / max(loaded + len(report.missing) + len(report.mismatched) + len(others), 1)
        guesses.append(Guess(arch, share, report.method) if share > by_shape / 2 else Guess(arch, by_shape, "shapes"))
    return sorted(guesses, key=lambda guess: (guess.method == "shapes", -round(guess.share, 4)))[:limit]


def guess_architectures(
    tensors: Mapping[str, Tensor], *, candidates: Iterable[str] | None = None, limit: int = 3
) -> list[tuple[str, float]]:
    """Return (timm name, share) for the nearest architectures by shapes alone, best first.

    The share is intersection over union of the two collections of shapes, axes of length one and tensors of
    fewer than two axes left out; 1.0 means every shape of one occurs as often in the other.
    """
    ours = _collection(tuple(value.shape) for value in tensors.values())
    scored: list[tuple[str, float]] = []
    whole = ""
    for arch in plausible_architectures(tensors) if candidates is None else candidates:
        if whole and arch not in whole and whole not in arch:
            continue  # one holds everything; only its namesakes may do so too
        theirs = _collection(tuple(value.shape) for value in _state(arch).values())
        union = (ours | theirs).total()
        if union:
            scored.append((arch, (ours & theirs).total() / union))
            if candidates is None and not theirs - ours and (ours - theirs).total() <= 2:  # a classifier, say
                whole = arch
    if whole and _is_known(f"tf_{whole}"):  # Google's own weights: the same tensors, another padding
        scored.append((f"tf_{whole}", next(share for arch, share in scored if arch == whole)))
    return sorted(dict(scored).items(), key=lambda pair: -pair[1])[:limit]


def _is_known(arch: str) -> bool:
    import timm

    return timm.is_model(arch)


def suggestion(tensors: Mapping[str, Tensor], arch: str) -> str:
    """Return a sentence on which architecture to try."""
    guesses = [guess for guess in fitting_architectures(tensors) if guess.share >= 0.5 and guess.arch != arch]
    if not guesses:
        return f"No common architecture has these shapes; `featurespace inspect {arch}` lists the network's layers."
    names = " or ".join(f"{guess.arch} ({guess.share:.0%} of the tensors)" for guess in guesses[:2])
    return f"The file looks like {names}: try ARCH@FILE with that."


def plausible_architectures(tensors: Mapping[str, Tensor]) -> list[str]:
    """Return up to `MOST` names of timm's that a checkpoint may have, the likeliest first."""
    names = [_plain(name) for name in tensors]
    known = [
        family for pattern, found in _FAMILIES if any(re.search(pattern, name) for name in names) for family in found
    ]
    others = [family for family in _families(names) if family not in known]
    facts = _facts(tensors)
    found = [*_ranked(known, facts)[:MOST], *_ranked(others, facts)[: MOST // 2]]
    return found or list(COMMON)


def _ranked(families: Sequence[str], facts: set[str]) -> list[str]:
    """Return the names of families of timm, those that hold most of the facts first, then the shortest."""
    import timm

    words = {
        arch: set(re.findall(r"[a-z]+|\d+", arch.replace("patch", "patch ")))
        for family in families
        for arch in timm.list_models(module=family)
    }
    return sorted(words, key=lambda arch: (-len(words[arch] & facts), len(arch), arch))


def _plain(name: str) -> str:
    """Return a name without the wrappers in front of it, so that what is left begins as a network's own names do."""
    wrapper = r"(module|model|backbone|encoder(_[qk])?|_orig_mod|net|network|student|teacher|online_\w+|trunk|resnet)\."
    return re.sub(rf"^({wrapper})+", "", name)


@lru_cache(maxsize=1)
def _attributes() -> dict[str, set[str]]:
    """Return the names that each of timm's modules gives to parts of a network, read from its source (0.1 s)."""
    import timm.models

    given = re.compile(r"(?:self\.|add_module\(f?[\"'])(\w+)")
    folder = Path(timm.models.__file__).parent
    return {path.stem: set(given.findall(path.read_text(encoding="utf-8"))) for path in folder.glob("[a-z]*.py")}


def _families(names: Sequence[str]) -> list[str]:
    """Return the modules of timm whose networks call their parts as the file does, rare names counting more."""
    parts = {re.sub(r"\d+$", "", part) for name in names for part in name.split(".")[:-1]} - {""}
    known = {module: {re.sub(r"\d+$", "", each) for each in found} for module, found in _attributes().items()}
    spread = Counter(part for found in known.values() for part in found & parts)
    scores = {module: sum(1 / spread[part] for part in found & parts) for module, found in known.items()}
    shares = {module: len(found & parts) for module, found in known.items()}
    ranked = sorted(known, key=lambda module: (-shares[module], -scores[module]))
    return [module for module in ranked if shares[module]][:MODULES]


def _facts(tensors: Mapping[str, Tensor]) -> set[str]:
    """Return words and numbers that names of timm may hold for a network of these tensors."""
    names = [_plain(name) for name in tensors]
    blocks = {hit[0] for name in names if (hit := re.match(r"(layer[1-4]|[4-7])\.\d+\.", name))}
    each = 3 if any(re.match(r"(layer[1-4]|[4-7])\.\d+\.conv3\.", name) for name in names) else 2
    facts = {str(each * len(blocks) + 2)} if blocks else set()
    if not any(re.search(r"\.(se|_se_reduce)\.|fc1\.weight", name) for name in names):
        facts |= {"lite"}  # what EfficientNets without squeeze and excitation are called
    if any(re.search(r"^conv_head\.bias|^features\.\d+\.block\.\d+\.\d", name) for name in names):
        facts |= {"mobilenetv"}
    for name, value in tensors.items():
        if value.ndim == 4 and value.shape[2] == value.shape[3] and re.search(r"patch_embed|conv_proj", name):
            facts |= {str(value.shape[2]), _WIDTHS.get(value.shape[0], "")}
    return facts - {""} | {"224"}


def _without_copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without second copies of the network (MoCo's key encoder): the same names and shapes inside."""
    inside: dict[str, set[tuple[str, torch.Size]]] = {}
    for name, value in tensors.items():
        parts = name.split(".")
        for depth in range(1, min(4, len(parts))):
            prefix = ".".join(parts[:depth]) + "."
            inside.setdefault(prefix, set()).add((name[len(prefix) :], value.shape))
    large = [prefix for prefix, found in inside.items() if len(found) > max(20, len(tensors) / 5)]
    copies = [
        prefix
        for index, prefix in enumerate(large)
        if any(
            len(inside[prefix] & inside[other]) > 0.9 * len(inside[prefix])
            for other in large[:index]
            if other not in prefix
        )
    ]
    return {name: value for name, value in tensors.items() if not name.startswith(tuple(copies))}


def _collection(shapes: Iterable[tuple[int, ...]]) -> Counter[tuple[int, ...]]:
    squeezed = (tuple(n for n in shape if n != 1) for shape in shapes)
    return Counter(shape for shape in squeezed if len(shape) >= 2)


class _NoInitialisers(TorchFunctionMode):
    """Leaves out the filling of tensors, on the meta device three quarters of the time a network takes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in _INITIALISERS and (args or "tensor" in (kwargs or {})):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@lru_cache(maxsize=256)
def _state(arch: str) -> dict[str, Tensor]:
    import timm

    with torch.device("meta"), _NoInitialisers():  # names and shapes without memory or arithmetic
        network = timm.create_model(arch, num_classes=0)
    return dict(network.state_dict())
