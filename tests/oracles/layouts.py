"""Vision transformers as functions of a state dict under other libraries' names; nothing of the package is imported here.

Names and epsilons follow the public descriptions of transformers 5.24, open_clip 3.3 and DINOv2.
"""

import torch
from torch.nn import functional as F

# One table a layout: where each part is, for block {i}. What is None is not there.
HF_VIT = {
    "patch": "embeddings.patch_embeddings.projection", "cls": "embeddings.cls_token",
    "positions": "embeddings.position_embeddings", "norm1": "encoder.layer.{i}.layernorm_before",
    "norm2": "encoder.layer.{i}.layernorm_after", "q": "encoder.layer.{i}.attention.attention.query",
    "k": "encoder.layer.{i}.attention.attention.key", "v": "encoder.layer.{i}.attention.attention.value",
    "out": "encoder.layer.{i}.attention.output.dense", "fc1": "encoder.layer.{i}.intermediate.dense",
    "fc2": "encoder.layer.{i}.output.dense", "norm": "layernorm",
}  # fmt: skip
HF_DINOV2 = {
    **HF_VIT, "norm1": "encoder.layer.{i}.norm1", "norm2": "encoder.layer.{i}.norm2", "fc1": "encoder.layer.{i}.mlp.fc1",
    "fc2": "encoder.layer.{i}.mlp.fc2", "scale1": "encoder.layer.{i}.layer_scale1.lambda1",
    "scale2": "encoder.layer.{i}.layer_scale2.lambda1", "registers": "embeddings.register_tokens",
}  # fmt: skip
HF_CLIP = {
    "patch": "vision_model.embeddings.patch_embedding", "cls": "vision_model.embeddings.class_embedding",
    "positions": "vision_model.embeddings.position_embedding.weight", "before": "vision_model.pre_layrnorm",
    "norm1": "vision_model.encoder.layers.{i}.layer_norm1", "norm2": "vision_model.encoder.layers.{i}.layer_norm2",
    "q": "vision_model.encoder.layers.{i}.self_attn.q_proj", "k": "vision_model.encoder.layers.{i}.self_attn.k_proj",
    "v": "vision_model.encoder.layers.{i}.self_attn.v_proj", "out": "vision_model.encoder.layers.{i}.self_attn.out_proj",
    "fc1": "vision_model.encoder.layers.{i}.mlp.fc1", "fc2": "vision_model.encoder.layers.{i}.mlp.fc2",
    "norm": "vision_model.post_layernorm",
}  # fmt: skip
OPEN_CLIP = {
    "patch": "visual.conv1", "cls": "visual.class_embedding", "positions": "visual.positional_embedding",
    "before": "visual.ln_pre", "norm1": "visual.transformer.resblocks.{i}.ln_1",
    "norm2": "visual.transformer.resblocks.{i}.ln_2", "qkv": "visual.transformer.resblocks.{i}.attn.in_proj_",
    "out": "visual.transformer.resblocks.{i}.attn.out_proj", "fc1": "visual.transformer.resblocks.{i}.mlp.c_fc",
    "fc2": "visual.transformer.resblocks.{i}.mlp.c_proj", "norm": "visual.ln_post",
}  # fmt: skip
DINOV2 = {
    "patch": "patch_embed.proj", "cls": "cls_token", "positions": "pos_embed", "norm1": "blocks.{i}.norm1",
    "norm2": "blocks.{i}.norm2", "qkv": "blocks.{i}.attn.qkv.", "out": "blocks.{i}.attn.proj",
    "scale1": "blocks.{i}.ls1.gamma", "scale2": "blocks.{i}.ls2.gamma", "fc1": "blocks.{i}.mlp.fc1",
    "fc2": "blocks.{i}.mlp.fc2", "norm": "norm", "registers": "register_tokens",
}  # fmt: skip


def state(table, *, width=32, depth=2, patch=16, side=32, channels=3, registers=0, patch_bias=True, seed=0):
    """Random weights under a layout's names, none alike, at a scale that keeps signals alive."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(shape, generator=generator) * (shape[-1] ** -0.5)  # noqa: E731
    tensors = {}

    def linear(name, out, into):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = draw(out, into), draw(out)

    def norm(name):
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = 1 + draw(width), draw(width)

    flat = table["positions"].endswith(("embedding", "embedding.weight"))  # CLIP's have no axis for the batch
    shape = (width,) if flat else (1, 1, width)
    tensors[table["cls"]] = draw(*shape)
    tokens = 1 + (side // patch) ** 2
    tensors[table["positions"]] = draw(tokens, width) if flat else draw(1, tokens, width)
    if registers:
        tensors[table["registers"]] = draw(1, registers, width)
    tensors[f"{table['patch']}.weight"] = draw(width, channels, patch, patch) * channels**-0.5 * patch**-0.5
    if patch_bias:
        tensors[f"{table['patch']}.bias"] = draw(width)
    if "before" in table:
        norm(table["before"])
    for i in range(depth):
        at = {part: name.format(i=i) for part, name in table.items()}
        norm(at["norm1"])
        if "qkv" in at:
            tensors[f"{at['qkv']}weight"], tensors[f"{at['qkv']}bias"] = draw(3 * width, width), draw(3 * width)
        else:
            for part in "qkv":
                linear(at[part], width, width)
        linear(at["out"], width, width)
        norm(at["norm2"])
        linear(at["fc1"], 2 * width, width)
        linear(at["fc2"], width, 2 * width)
        for part in ("scale1", "scale2"):
            if part in at:
                tensors[at[part]] = draw(width)
    norm(table["norm"])
    return tensors


def features(tensors, table, images, *, heads=2, eps=1e-6, act=F.gelu):
    """The class token after the last norm."""
    get = lambda part, i=0: tensors.get(table[part].format(i=i)) if part in table else None  # noqa: E731
    width = get("cls").numel()

    def linear(x, name):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    weight = tensors[f"{table['patch']}.weight"]
    x = F.conv2d(images, weight, tensors.get(f"{table['patch']}.bias"), stride=weight.shape[-1])
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([get("cls").reshape(1, 1, width).expand(len(x), -1, -1), x], 1)
    x = x + get("positions").reshape(1, -1, width)
    if get("registers") is not None:
        x = torch.cat([x[:, :1], get("registers").expand(len(x), -1, -1), x[:, 1:]], 1)
    if "before" in table:
        x = norm(x, table["before"])
    depth = sum(f"{table['norm2'].format(i=i)}.weight" in tensors for i in range(100))
    for i in range(depth):
        at = {part: name.format(i=i) for part, name in table.items()}
        y = norm(x, at["norm1"])
        if "qkv" in at:
            q, k, v = (y @ tensors[f"{at['qkv']}weight"].T + tensors[f"{at['qkv']}bias"]).chunk(3, -1)
        else:
            q, k, v = (linear(y, at[part]) for part in "qkv")
        parts = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v)]
        scores = parts[0] @ parts[1].transpose(-1, -2) * (width // heads) ** -0.5
        y = linear((scores.softmax(-1) @ parts[2]).transpose(1, 2).flatten(2), at["out"])
        x = x + (y * get("scale1", i) if "scale1" in at else y)
        y = linear(act(linear(norm(x, at["norm2"]), at["fc1"])), at["fc2"])
        x = x + (y * get("scale2", i) if "scale2" in at else y)
    return norm(x, table["norm"])[:, 0]


def quick_gelu(x):
    return x * (1.702 * x).sigmoid()
