import numpy as np
import pandas as pd
import pytest
from scipy.spatial import procrustes
from sklearn.neighbors import NearestNeighbors

from featurespace.metrics.embedding import turned_onto, umap_embedding
from featurespace.tables import aligned
from featurespace.tables.aligned import NEAREST

IMAGE = ["data", "sample"]


def test_every_model_shows_the_same_images_of_all_data_sets(small_run):
    table = small_run.tables["aligned_embedding"]
    shown = {model: set(zip(rows["data"], rows["sample"])) for model, rows in table.groupby("model")}
    assert set(shown) == {"before", "after", "untrained"} and len(table) == 3 * 2 * 72
    assert all(each == shown["before"] for each in shown.values())
    assert set(table["layer"]) == {"pooled"}


def test_neighbours_are_those_of_another_library(small_run):
    features = {
        data: pd.DataFrame(
            np.array(small_run.features("after", data)["pooled"]), small_run.features("after", data).samples["id"]
        )
        for data in ("bright", "dark")
    }
    X = np.concatenate([each.to_numpy(float) for each in features.values()])
    names = [(data, sample) for data, each in features.items() for sample in each.index]
    distances, _ = NearestNeighbors(n_neighbors=NEAREST + 1).fit(X).kneighbors(X)
    rows = small_run.tables["neighbours"]
    rows = rows[rows["model"] == "after"]
    of = rows.pivot(index=IMAGE, columns="rank", values="distance").loc[names]
    assert of.columns.tolist() == list(range(1, NEAREST + 1))
    np.testing.assert_allclose(of.to_numpy(), distances[:, 1:], rtol=1e-4, atol=1e-4)
    own = rows["data"].eq(rows["neighbour_data"]) & rows["sample"].eq(rows["neighbour"])
    assert not own.any() and set(zip(rows["neighbour_data"], rows["neighbour"])) <= set(names)


def test_more_images_are_sampled_by_label(small_run, monkeypatch):
    monkeypatch.setattr(aligned, "MOST", 60)
    samples = small_run.features("after", "dark").samples
    rows = aligned._rows(samples, 2, seed=0)
    assert len(rows) == 30 and samples["label"].iloc[rows].value_counts().between(9, 11).all()
    assert (rows == aligned._rows(samples, 2, seed=0)).all()


def test_a_picture_is_turned_as_a_whole(rng):
    E, target = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    angle = np.array([[np.cos(2), -np.sin(2)], [np.sin(2), np.cos(2)]])
    np.testing.assert_allclose(turned_onto(3 * E @ angle * [1, -1] + 7, E), E, atol=1e-9)
    turned = turned_onto(E, target)
    share = ((turned - target) ** 2).sum() / ((target - target.mean(0)) ** 2).sum()
    np.testing.assert_allclose(share, procrustes(target, E)[2])
    with pytest.raises(ValueError, match="they must be the same"):
        turned_onto(E, target[:5])


@pytest.mark.slow
def test_a_layout_starts_where_it_is_told(rng):
    X = np.r_[rng.normal(size=(40, 5)), rng.normal(8, 1, (40, 5))]
    start = np.r_[rng.normal(0, 0.1, (40, 2)), rng.normal(5, 0.1, (40, 2))]
    first, mirrored = (umap_embedding(X, seed=0, start=sign * start) for sign in (1, -1))
    for E, sign in ((first, 1), (mirrored, -1)):
        assert np.all(sign * (E[40:].mean(0) - E[:40].mean(0)) > 0)
    with pytest.raises(ValueError, match=r"start has the shape \(3, 2\)"):
        umap_embedding(X, seed=0, start=np.zeros((3, 2)))
