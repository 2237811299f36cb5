"""What Hugging Face's transformers calls the tensors of its vision networks.

Query, key and value arrive here as one tensor, ``{query,key,value}``: see ``joins``.
"""

from __future__ import annotations

from featurespace.models.layouts.patterns import Patterns, next_number

_DENSE = (
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^layernorm\.", "norm."),
)
_EMBEDDINGS = (
    (r"^embeddings\.(cls_token|mask_token)$", r"\1"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.(register_tokens|reg_token)$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
)
_VIT = (
    *_EMBEDDINGS,
    (r"^encoder\.layer\.", "blocks."),
    (r"\.attention\.attention\.\{query,key,value\}\.", ".attn.qkv."),
    *_DENSE,
)
VIT = Patterns(r"encoder\.layer\.0\.layernorm_before\.", _VIT)
DINOV2 = Patterns(
    r"encoder\.layer\.0\.layer_scale1\.",
    (
        *_VIT,
        (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
        (r"\.mlp\.weights_in\.", ".mlp.fc1."),
        (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    ),
)
CLIP = Patterns(
    r"embeddings\.class_embedding$",
    (
        (r"^embeddings\.class_embedding$", "cls_token"),
        (r"^embeddings\.patch_embedding\.", "patch_embed.proj."),
        (r"^embeddings\.position_embedding\.weight$", "pos_embed"),
        (r"^pre_layrnorm\.", "norm_pre."),  # spelt so
        (r"^post_layernorm\.", "norm."),
        (r"^encoder\.layers\.", "blocks."),
        (r"\.self_attn\.\{q_proj,k_proj,v_proj\}\.", ".attn.qkv."),
        (r"\.self_attn\.out_proj\.", ".attn.proj."),
        (r"\.layer_norm(\d)\.", r".norm\1."),
    ),
)
SWIN = Patterns(
    r"encoder\.layers\.0\.blocks\.0\.attention\.self\.",
    (
        (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
        (r"^embeddings\.norm\.", "patch_embed.norm."),
        (r"^encoder\.layers\.(\d+)\.downsample\.", next_number("layers.", ".downsample.")),
        (r"^encoder\.layers\.", "layers."),
        (r"\.attention\.self\.\{query,key,value\}\.", ".attn.qkv."),
        (r"\.attention\.self\.relative_position", ".attn.relative_position"),
        *_DENSE,
    ),
)
CONVNEXT = Patterns(
    r"encoder\.stages\.0\.layers\.0\.dwconv\.",
    (
        (r"^embeddings\.patch_embeddings\.", "stem.0."),
        (r"^embeddings\.layernorm\.", "stem.1."),
        (r"^encoder\.stages\.(\d+)\.downsampling_layer\.", r"stages.\1.downsample."),
        (r"^encoder\.stages\.(\d+)\.layers\.", r"stages.\1.blocks."),
        (r"^layernorm\.", "head.norm."),
        (r"\.layernorm\.", ".norm."),
        (r"\.dwconv\.", ".conv_dw."),
        (r"\.pwconv(\d)\.", r".mlp.fc\1."),
        (r"\.grn\.", ".mlp.grn."),
        (r"\.layer_scale_parameter$", ".gamma"),
    ),
)
RESNET = Patterns(
    r"embedder\.embedder\.convolution\.",
    (
        (r"^embedder\.embedder\.convolution\.", "conv1."),
        (r"^embedder\.embedder\.normalization\.", "bn1."),
        (r"^encoder\.stages\.(\d+)\.layers\.", next_number("layer", ".")),
        (r"\.layer\.(\d)\.convolution\.", next_number(".conv", ".")),
        (r"\.layer\.(\d)\.normalization\.", next_number(".bn", ".")),
        (r"\.shortcut\.convolution\.", ".downsample.0."),
        (r"\.shortcut\.normalization\.", ".downsample.1."),
    ),
)
