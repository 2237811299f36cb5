"""MAE: three quarters of the patches are hidden, and a small decoder shall tell their pixels from the others.

He, Chen, Xie, Li, Dollar, Girshick 2021, arXiv 2111.06377. There: mask ratio 0.75, pixels normalised by patch, decoder of
width 512 with 8 blocks, random crops of 0.2 to 1 of the area and mirroring, 4096 images a batch, AdamW (betas 0.9 and
0.95, which the configuration must say: torch's are 0.9 and 0.999) with a learning rate of 1.5e-4 times batch / 256,
weight decay 0.05, 40 epochs of warm-up, cosine, 800 epochs; fixed sine-cosine position embeddings. All of it is in
analyses/recipes/mae_vit_base.yaml.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from timm.layers import PatchEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from featurespace.errors import FeaturespaceError
from featurespace.models.load import Model
from featurespace.training import augment
from featurespace.training.batches import Batch
from featurespace.training.method import PretrainingMethod
from featurespace.training.settings import TrainingConfig

ALLOWED = "name a plain vision transformer of timm, e.g. vit_small_patch16_224 or vit_base_patch16_224"


class MAEOptions(BaseModel):
    """Options of MAE."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mask_ratio: float = Field(default=0.75, gt=0, lt=1, description="Share of the patches that are hidden.")
    normalised: bool = Field(default=True, description="Pixels are told relative to mean and deviation of their patch.")
    decoder_width: int = Field(default=512, ge=4, multiple_of=4, description="Width of the decoder.")
    decoder_depth: int = Field(default=8, ge=1, description="Blocks of the decoder.")
    decoder_heads: int = Field(default=16, ge=1, description="Attention heads of the decoder.")
    min_scale: float = Field(default=0.2, gt=0, le=1, description="Least share of the image that is cut out.")
    flip: float = Field(default=0.5, ge=0, le=1, description="Share of images mirrored.")

    @model_validator(mode="after")
    def _heads_fit(self) -> MAEOptions:
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} is no multiple of decoder_heads {self.decoder_heads}; change one"
            )
        return self


class Method(PretrainingMethod):
    """Encoder of the visible patches, decoder of all, mean squared error on the hidden ones.

    A network with random weights gets the paper's initial values and fixed sine-cosine position embeddings; one that
    comes with weights keeps all of them, and its position embeddings are trained on.
    """

    Options = MAEOptions

    def __init__(self, config: TrainingConfig, model: Model, steps: int, classes: int, options: MAEOptions):
        network = _plain_transformer(model)
        patch = int(network.patch_embed.patch_size[0])
        _check_grid(model, patch, options)
        super().__init__(config, model, steps, classes, options)
        self.mae, self.patch = options, patch
        self.patches, self.prefix = (self.size // self.patch) ** 2, int(network.num_prefix_tokens)
        utils, timm_modules = self.lightly("models.utils"), self.lightly("models.modules")
        fresh = model.source.startswith("random weights")
        network.to(memory_format=torch.contiguous_format)  # lightly's initial values need it
        self.encoder = timm_modules.MaskedVisionTransformerTIMM(
            network, weight_initialization="" if fresh else "skip", pos_embed_initialization="skip"
        )
        self.encoder.mask_token.requires_grad_(False)  # hidden patches are left out, so it takes no part
        if fresh:
            # Not by lightly's encoder, which takes embeddings without a class token for ones with it.
            prefix = 0 if network.no_embed_class else self.prefix
            utils.initialize_2d_sine_cosine_positional_embedding(network.pos_embed, num_prefix_tokens=prefix)
        network.to(memory_format=torch.channels_last)
        width = options.decoder_width
        self.enter = nn.Linear(network.embed_dim, width)
        self.decoder = timm_modules.MaskedVisionTransformerDecoderTIMM(
            self.patches, width, options.decoder_depth, options.decoder_heads, num_prefix_tokens=self.prefix
        )
        self.leave = nn.Linear(width, self.patch**2 * self.form.input_size[0])
        for layer in (self.enter, self.leave):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        if config.compiled:  # the backbone, compiled as a whole, is called by its parts here
            network.blocks.compile()
            self.decoder.compile()

    def loss(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """Return the mean squared error of the hidden patches of one random crop of each image."""
        crops = augment.draw_crops(batch.whole, rng=rng, min_scale=self.mae.min_scale, flip=self.mae.flip)
        kept, hidden = (
            torch.from_numpy(each[batch.own]).to(batch.pixels.device)
            for each in draw_masks(batch.whole, self.patches, self.mae.mask_ratio, rng=rng)
        )
        own = augment.Crops(*(each[batch.own] for each in crops))
        images = self.normalised(augment.crop(batch.pixels.float() / 255, own, self.size))
        return nn.functional.mse_loss(self.told(images, kept).float(), self.wanted(images, hidden))

    def told(self, images: Tensor, kept: Tensor) -> Tensor:
        """Return the pixels that the decoder tells of the patches that are not kept, by number, (b, hidden, numbers)."""
        utils, n = self.lightly("models.utils"), len(images)
        prefix = torch.arange(self.prefix, device=kept.device).expand(n, -1)
        seen = torch.cat([prefix, kept + self.prefix], dim=1)
        features = self.encoder.encode(images, idx_keep=seen)
        # Networks that pool by the mean norm after pooling; token by token here, so that this norm is trained, too.
        features = self.enter(self.backbone.get_submodule("fc_norm")(features))
        tokens = utils.repeat_token(self.decoder.mask_token, (n, self.prefix + self.patches)).type_as(features)
        decoded = self.decoder(utils.set_at_index(tokens, seen, features))
        return self.leave(utils.get_at_index(decoded, _others(kept, self.patches) + self.prefix))

    def wanted(self, images: Tensor, hidden: Tensor) -> Tensor:
        """Return the pixels of hidden patches, relative to mean and deviation of each patch if asked for."""
        utils = self.lightly("models.utils")
        pixels = utils.get_at_index(utils.patchify(images, self.patch), hidden)
        if not self.mae.normalised:
            return pixels
        # The unbiased variance and this constant are those of the authors' code.
        return (pixels - pixels.mean(-1, keepdim=True)) / (pixels.var(-1, keepdim=True) + 1e-6).sqrt()


def draw_masks(n: int, patches: int, ratio: float, *, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw which patches of each image are kept and which are hidden, each (n, count) in rising order."""
    order = rng.random((n, patches)).argsort(axis=1)
    kept = _kept(patches, ratio)
    return np.sort(order[:, :kept], axis=1), np.sort(order[:, kept:], axis=1)


def _kept(patches: int, ratio: float) -> int:
    return int(patches * (1 - ratio))


def _others(kept: Tensor, patches: int) -> Tensor:
    """Return the numbers that are not kept, in rising order."""
    hidden = torch.ones(len(kept), patches, dtype=torch.bool, device=kept.device).scatter_(1, kept, False)
    return hidden.nonzero()[:, 1].reshape(len(kept), -1)


def _plain_transformer(model: Model) -> VisionTransformer:
    """Return the network, or refuse it: patches must be told apart, and every weight that features use be trained."""
    network = model.network
    if type(network) is not VisionTransformer:  # not a subclass, which may have tokens of its own
        reason = f"{model.arch} ({type(network).__name__}) is none"
    elif not isinstance(network.patch_embed, PatchEmbed):
        reason = f"{model.arch} makes its tokens by a {type(network.patch_embed).__name__}, whose patches overlap"
    elif network.pos_embed is None:
        reason = f"{model.arch} has no position embeddings that are added"
    elif network.attn_pool is not None:
        reason = f"{model.arch} pools by attention, which no hidden patch would train"
    else:
        return network
    raise FeaturespaceError(f"method mae needs a plain vision transformer and {reason}; {ALLOWED}")


def _check_grid(model: Model, patch: int, options: MAEOptions) -> None:
    _, height, width = model.preprocessing.input_size
    patches = (height // patch) * (width // patch)
    if height != width or height % patch:
        raise FeaturespaceError(
            f"image size {height} x {width} is no square of patches of {patch} pixels; "
            f"set image_size to a multiple of {patch}"
        )
    if not 0 < _kept(patches, options.mask_ratio) < patches:
        raise FeaturespaceError(
            f"mask_ratio {options.mask_ratio:g} keeps {_kept(patches, options.mask_ratio)} of {patches} patches; one at "
            "least must be kept and one hidden: change mask_ratio or raise image_size"
        )
