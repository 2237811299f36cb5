"""Tensors that one layout keeps apart and another together, brought to the form of the network that takes them.

A tensor made here carries in its name what it was made of, so that the match report tells: ``{query,key,value}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

_PARTS = (("query", "key", "value"), ("q_proj", "k_proj", "v_proj"))


def prepared(tensors: Mapping[str, Tensor], model_names: Iterable[str]) -> dict[str, Tensor]:
    """Return the tensors with query, key and value joined, or their bias split, where the network has them so.

    Registers of DINOv2 come with a position embedding that begins with the class token's; where the network has
    registers and no such row, it is added to the class token.
    """
    kinds = {name.rpartition(".")[0].rpartition(".")[2] + "." + name.rpartition(".")[2] for name in model_names}
    result = dict(tensors)
    if "qkv.weight" in kinds:
        for parts in _PARTS:
            if not any(kind.startswith(parts[0] + ".") for kind in kinds):
                result = _joined(result, parts)
    if "attn.q_bias" in kinds and "qkv.bias" not in kinds:
        result = _split(result)
    if any(name.endswith("reg_token") for name in model_names):
        result = _registers(result)
    return result


def _joined(tensors: dict[str, Tensor], parts: tuple[str, str, str]) -> dict[str, Tensor]:
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        found = re.search(rf"\.({'|'.join(parts)})\.(weight|bias)$", name)
        names = [f"{name[: found.start(1)]}{part}.{found[2]}" for part in parts] if found else []
        if found and all(each in tensors for each in names):
            label = f"{name[: found.start(1)]}{{{','.join(parts)}}}.{found[2]}"
            if label not in result:
                result[label] = torch.cat([tensors[each] for each in names])
        else:
            result[name] = value
    return result


def _split(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Split the joint bias of Swin V2, whose part for the keys no implementation uses."""
    result: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if name.endswith(".attn.qkv.bias") and value.ndim == 1 and len(value) % 3 == 0:
            query, _, values = value.chunk(3)
            result |= {f"{name}[q]": query, f"{name}[v]": values}
        else:
            result[name] = value
    return result


def _registers(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Add the class token's position to the class token, as timm keeps it; the rest of the positions stay."""
    for name in [name for name in tensors if name.rpartition(".")[2] == "register_tokens"]:
        prefix = name.removesuffix("register_tokens")
        for word in ("pos_embed", "position_embeddings"):
            token, places = tensors.get(f"{prefix}cls_token"), tensors.get(f"{prefix}{word}")
            if token is not None and places is not None:
                tensors = {**tensors, f"{prefix}cls_token": token + places[:, :1], f"{prefix}{word}": places[:, 1:]}
        tensors[f"{prefix}reg_token"] = tensors.pop(name)
    return tensors
