"""Pictures of few images, of images that are all alike and of features with one column."""

import numpy as np
import pytest
from oracles.stores import stores_of

from featurespace.metrics import trustworthiness
from featurespace.progress import Progress
from featurespace.tables.embedding import embedding_tables


def tables_of(tmp_path, models):
    progress = Progress()
    return embedding_tables(stores_of(tmp_path, models), seed=0, progress=progress), progress.messages


def test_fewer_than_16_images_have_no_picture(tmp_path, rng):
    tables, said = tables_of(tmp_path, {"m": {"l": rng.normal(size=(15, 3))}})
    assert said == ["no embedding of 'x': it has 15 images, at least 16 are needed"]
    assert all(table.empty for table in tables.values())


@pytest.mark.parametrize(
    ("features", "alone", "aligned"),
    [
        (lambda X: X * 0 + 1, "all images have the same features", "all images have the same features"),
        (lambda X: X[:, :1], r"components is 2; X of shape (20, 1) has at most 1", None),
    ],
)
def test_features_without_a_picture_are_said_and_other_models_have_theirs(
    tmp_path, rng, monkeypatch, features, alone, aligned
):
    for room in ("embedding", "aligned"):  # of one column UMAP makes a picture, and the PCA of the other tests none
        ends = f"featurespace.tables.{room}.umap_embedding"
        monkeypatch.setattr(ends, lambda X, **options: X[:, [0, -1]].astype(np.float32))
    X = rng.normal(size=(20, 3))
    tables, said = tables_of(tmp_path, {"odd": {"l": features(X)}, "m": {"l": X}})
    expected = [f"no aligned embedding by 'odd': {aligned}"] if aligned else []
    assert said == [*expected, f"no embedding of 'x' by 'odd': {alone}"]
    assert set(tables["embedding"]["model"]) == {"m"} and len(tables["embedding"]) == 2 * 20
    assert set(tables["aligned_embedding"]["model"]) == ({"m"} if aligned else {"odd", "m"})
    points = tables["embedding"].query("method == 'pca'")[["x", "y"]].to_numpy()
    quality = tables["embedding_quality"].set_index(["method", "model"])["value"]
    assert quality["pca", "m"] == pytest.approx(trustworthiness(X.astype(np.float32), points, k=9))
