import gc
import os
import shutil

# Before NumPy and torch are imported: one thread each, because small work on busy cores waits for its slowest thread.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import matplotlib  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pytest  # noqa: E402
from filelock import FileLock  # noqa: E402
from oracles.runs import draw_few_figures, embed_by_pca  # noqa: E402
from PIL import Image  # noqa: E402

matplotlib.use("Agg")
gc.disable()  # until all tests are collected: a fifth of that time would go into looking for garbage


def pytest_collection_finish():
    """Leave what collecting made out of later searches for garbage."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_disks():
    """No file waits until it is on the disk: nothing here has to outlive a power cut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def few_figures(request, monkeypatch):
    """Runs draw their first figure, as a coarse PNG: figures take longest, and those of `small_run` are whole.

    Tests marked ``figures`` draw all that a user gets.
    """
    if not request.node.get_closest_marker("figures"):
        draw_few_figures(monkeypatch)


@pytest.fixture(autouse=True)
def no_umap(request, monkeypatch):
    """Runs have PCA in place of UMAP, except `small_run` and those of tests marked ``umap``."""
    if not request.node.get_closest_marker("umap"):
        embed_by_pca(monkeypatch)


def write_patches(folder, *, shift, seed, classes=3, groups=6, per_group=4, side=32):
    """Images whose class is the orientation of a grating, in groups, with a split by group, and a manifest."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"))
    rows = []
    for label in range(classes):
        angle = np.pi * label / classes
        for group in range(groups):
            phase = rng.uniform(0, 2 * np.pi)
            for number in range(per_group):
                wave = np.sin((np.cos(angle) * grid[0] + np.sin(angle) * grid[1]) * 0.8 + phase)
                noise = rng.normal(0, 0.4, (3, side, side))
                array = np.clip(128 + 50 * (wave + noise) + shift, 0, 255).astype(np.uint8).transpose(1, 2, 0)
                name = f"class{label}/{group}-{number}.png"
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(array).save(folder / name)
                split = "test" if group % 3 == 0 else "train"
                rows.append({"path": name, "label": f"class{label}", "group": f"{label}-{group}", "split": split})
    pd.DataFrame(rows).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A function that has a folder filled by the first worker that asks for it, for all of them."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root

    def folder(name, fill):
        with FileLock(root / f"{name}.lock"):
            if not (root / f"{name}.filled").exists():
                fill(root / name)
                (root / f"{name}.filled").touch()
        return root / name

    return folder


@pytest.fixture(scope="session")
def two_domains(shared):
    """Manifests of two small domains."""

    def fill(folder):
        write_patches(folder / "bright", shift=40, seed=1)
        write_patches(folder / "dark", shift=-40, seed=2)

    root = shared("domains", fill)
    return root / "bright" / "manifest.csv", root / "dark" / "manifest.csv"


@pytest.fixture(scope="session")
def checkpoints(shared):
    """Two checkpoints of one small architecture: the second is the first with some weights moved."""
    root = shared("checkpoints", write_checkpoints)
    return root / "before.pth", root / "after.ckpt"


def write_checkpoints(root):
    import timm
    import torch

    root.mkdir(exist_ok=True)
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=3)
    torch.save(network.state_dict(), root / "before.pth")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "layer3" in name or "layer4" in name:
                parameter.add_(0.3 * parameter.std() * torch.randn_like(parameter)) if parameter.ndim > 1 else None
    torch.save(
        {"state_dict": {f"model.{key}": value for key, value in network.state_dict().items()}}, root / "after.ckpt"
    )


@pytest.fixture(scope="session")
def small_run(tmp_path_factory, shared, two_domains, checkpoints):
    """A finished run of two checkpoints on two domains: a copy of its own for each worker."""
    import featurespace as fs
    from featurespace.run import Run

    bright, dark = two_domains
    before, after = checkpoints

    def fill(folder):
        fs.analyze(
            [f"before=test_resnet@{before}", f"after=test_resnet@{after}"],
            [f"bright={bright}", f"dark={dark}"],
            folder,
            image_size=32,
            batch_size=20,
        )

    copy = shutil.copytree(shared("small", fill), tmp_path_factory.mktemp("runs") / "small")
    return Run(copy)


@pytest.fixture
def analyze(tmp_path, rng, monkeypatch):
    """A whole run in a moment: few images, one of them broken, three batches, a checkpoint after each, one figure."""
    rows = []
    for index in range(14):
        path = tmp_path / f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
        rows.append({"path": path.name, "label": "ab"[index % 2], "group": index // 2})
    (tmp_path / "8.png").write_bytes(b"broken")
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    from matplotlib.figure import Figure

    import featurespace as fs
    from featurespace.plots.all import Drawn

    monkeypatch.setattr("featurespace.features.extract.CHECKPOINT_SECONDS", -1.0)
    monkeypatch.setattr(
        "featurespace.plots.all.figures", lambda tables: [Drawn("probe_by_depth", Figure((1, 1)), pd.DataFrame())]
    )
    options = {"image_size": 32, "layers": "maxpool,pooled", "batch_size": 5, "control": False, "only": "similarity",
               "pictures": False}  # fmt: skip

    table = pd.DataFrame(rng.normal(size=(14, 3)), columns=list("uvw")).assign(id=[row["path"] for row in rows])
    table.to_csv(tmp_path / "t.csv", index=False)
    models = ["m=test_resnet@random", f"t={tmp_path / 't.csv'}"]

    def run(name, **changed):
        return fs.analyze(models, [f"x={tmp_path / 'm.csv'}"], tmp_path / name, **options | changed)

    return run
