"""Networks of segmentation-models-pytorch by name, ending at the decoder's last map: ``smp/Unet-resnet18``."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from featurespace.errors import FeaturespaceError, needs_extra, unknown

SMP = "smp/"


class DecoderFeatures(nn.Module):
    """Encoder and decoder of a segmentation network; returns the mean of the decoder's last map over space.

    The parts keep their names, so that layers are ``encoder.layer1.0`` or ``decoder.blocks.2``.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.encoder, self.decoder = network.encoder, network.decoder

    def forward(self, images: Tensor) -> Tensor:
        """Return (n, d) features of (n, c, h, w) images."""
        return self.decoder(self.encoder(images)).mean((2, 3))


def create_smp(arch: str, options: dict[str, Any]) -> nn.Module:
    """Build the network of ``smp/KIND-ENCODER`` without its last layer.

    Raises
    ------
    FeaturespaceError
        if segmentation-models-pytorch is not installed, or knows no such kind or encoder
    """
    kind, _, encoder = arch.removeprefix(SMP).partition("-")
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise needs_extra(arch, "segmentation-models-pytorch", "train") from error
    base = smp.base.SegmentationModel
    kinds = {name: each for name, each in vars(smp).items() if isinstance(each, type) and issubclass(each, base)}
    if kind not in kinds or not encoder:
        hint = "write smp/KIND-ENCODER, as in smp/Unet-resnet18"
        raise unknown("kind of segmentation network", kind, list(kinds), where="segmentation-models-pytorch", hint=hint)
    if encoder not in smp.encoders.get_encoder_names() and not encoder.startswith("tu-"):
        raise unknown("encoder", encoder, smp.encoders.get_encoder_names(), where="segmentation-models-pytorch",
                      hint="timm's networks are encoders as tu-NAME")  # fmt: skip
    try:
        network = kinds[kind](encoder, encoder_weights=None, in_channels=options.get("in_chans", 3))
    except (ValueError, AttributeError, RuntimeError, KeyError, IndexError) as error:
        raise FeaturespaceError(
            f"{kind} of segmentation-models-pytorch cannot be built over {encoder} ({error})"
        ) from error
    return DecoderFeatures(network)
