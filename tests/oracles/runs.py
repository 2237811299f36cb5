"""What a run holds, read and computed without the package; what two runs of a command have in common."""

import itertools
import json
import re
from pathlib import Path

import numpy as np

from featurespace.metrics import pca_embedding

TIMES = {"provenance.json", "report.html", "hashes.json", ".lock"}  # hold times


def draw_few_figures(patch):
    """Let runs draw their first figure alone, as a coarse PNG, while the patch of pytest holds."""
    from featurespace.plots import all as every

    whole = every.figures
    patch.setattr(every, "figures", lambda tables: itertools.islice(whole(tables), 1))
    patch.setattr("featurespace.run.FIGURE_FORMATS", ("png",))
    patch.setattr("featurespace.run.FIGURE_DPI", 50)
    patch.setattr("featurespace.viewing.SHOWN", 2)


def embed_by_pca(patch):
    """Let runs take PCA for UMAP while the patch of pytest holds: UMAP is compiled in every process that calls it."""

    def stand_in(X, *, start=None, **options):
        return pca_embedding(X).astype(np.float32)

    patch.setattr("featurespace.tables.embedding.umap_embedding", stand_in)
    patch.setattr("featurespace.tables.aligned.umap_embedding", stand_in)


def contents(folder):
    """Every file of a run and its bytes, without those that hold times."""
    found = {str(file.relative_to(folder)): file for file in sorted(Path(folder).rglob("*")) if file.is_file()}
    return {name: file.read_bytes() for name, file in found.items() if name not in TIMES}


def report_but_for_times(folder):
    """The report's text without dates and seconds."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:+]+", "TIME", (Path(folder) / "report.html").read_text())
    return re.sub(r"<td>[\d.]+</td></tr>", "<td>SECONDS</td></tr>", text)


def layer_file(run_path, model, data, layer):
    folder = Path(run_path) / "features" / model / data
    manifest = json.loads((folder / "manifest.json").read_text())
    return np.load(folder / next(each["file"] for each in manifest["layers"] if each["name"] == layer)).astype(
        np.float64
    )


def song_hsic(K, L):
    """Song et al. 2012, equation 5, term by term."""
    n = len(K)
    K, L = K - np.diag(np.diag(K)), L - np.diag(np.diag(L))
    one = np.ones(n)
    return (
        np.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (one @ K @ L @ one)
    ) / (n * (n - 3))


def slow_cka(X, Y):
    K, L = X @ X.T, Y @ Y.T
    return song_hsic(K, L) / np.sqrt(song_hsic(K, K) * song_hsic(L, L))
