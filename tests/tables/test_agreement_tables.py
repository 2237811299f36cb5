"""Who knows what, from the files that finetuning writes."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from featurespace import seeding
from featurespace.errors import FeaturespaceError
from featurespace.metrics import answer_counts, error_consistency, pixel_agreement, sample_agreement
from featurespace.tables.agreement import agreement_tables, mask_agreement_tables, pixel_agreement_tables


def predictions(folder, name, *, rng, n=60, accuracy=0.7, labels="abc", group=None, shuffle=True, **changed):
    """A file of predictions; the truth is the same in all of them."""
    truth = np.array(list(labels))[np.arange(n) % len(labels)]
    right = rng.random(n) < accuracy
    wrong = np.array(list(labels))[(np.arange(n) + 1) % len(labels)]
    table = pd.DataFrame(
        {"id": [f"i{i}" for i in range(n)], "group": group, "label": truth, "predicted": np.where(right, truth, wrong)}
    )
    table = table.assign(**changed)
    (table.sample(frac=1, random_state=1) if shuffle else table).to_csv(folder / f"{name}.csv", index=False)
    return folder / f"{name}.csv"


def correct_of(*paths):
    tables = [pd.read_csv(path).set_index("id").sort_index(key=lambda ids: ids.str[1:].astype(int)) for path in paths]
    return np.stack([(table["label"] == table["predicted"]).to_numpy() for table in tables], axis=1)


def test_rows_are_those_of_the_metric_whatever_the_order_in_the_files(tmp_path, rng):
    paths = {name: predictions(tmp_path, name, rng=rng, shuffle=name == "q") for name in "pqr"}
    tables = agreement_tables(paths, task="x", permutations=199)
    correct = correct_of(*paths.values())
    expected = sample_agreement(correct, rng=seeding.child(0, "agreement", "x", "all"), permutations=199)
    table = tables["agreement"]
    assert table["set"].tolist() == ["none", "p", "q", "r", "p + q", "p + r", "q + r", "p + q + r"]
    assert table["n_models"].tolist() == [0, 1, 1, 1, 2, 2, 2, 3] and set(table["task"]) == {"x"}
    assert table["count"].tolist() == expected.counts.tolist() and set(table["n"]) == {60}
    for column, values in {"expected": expected.expected, "p_value": expected.p_values, "p_holm": expected.p_holm,
                           "error": expected.errors}.items():  # fmt: skip
        np.testing.assert_allclose(table[column], values)
    np.testing.assert_allclose(table["ci_low"], [share.ci_low for share in expected.shares])
    assert table["value"].sum() == pytest.approx(1)
    pairs = tables["error_consistency"]
    assert list(zip(pairs["a"], pairs["b"])) == [("p", "q"), ("p", "r"), ("q", "r")]
    assert pairs["value"][1] == error_consistency(correct[:, 0], correct[:, 2]).value


def test_groups_and_classes(tmp_path, rng):
    group = [f"g{i // 4}" for i in range(60)]
    paths = {"p": predictions(tmp_path, "p", rng=rng, group=group), "q": predictions(tmp_path, "q", rng=rng)}
    table = agreement_tables(paths, permutations=99)["agreement"]
    assert set(table["unit"]) == {"group"} and set(table["n_groups"]) == {15}
    alone = {"p": predictions(tmp_path, "p", rng=rng, group=[None] + group[1:]), "q": paths["q"]}
    assert set(agreement_tables(alone, permutations=99)["agreement"]["n_groups"]) == {16}
    truth = np.array(list("abc"))[np.arange(60) % 3]
    hard = {"predicted": np.where((truth == "a") & (rng.random(60) < 0.9), "b", truth)}
    paths = {name: predictions(tmp_path, name, rng=rng, **hard) for name in "pq"}
    plain, by_class = (
        agreement_tables(paths, by_class=each, permutations=99)["agreement"].set_index("set") for each in (False, True)
    )
    assert by_class.loc["none", "expected"] > 2 * plain.loc["none", "expected"]


def test_every_label_of_several_is_asked_by_itself(tmp_path):
    rng = np.random.default_rng(0)
    paths = {}
    truth = rng.random((50, 2)) < 0.4
    for name in "pq":
        answer = truth ^ (rng.random((50, 2)) < 0.2)
        cells = [["|".join(np.array(["A", "B"])[row]) or None for row in each] for each in (truth, answer)]
        labels = ["none" if cell is None else cell for cell in cells[0]]
        labels[0] = "?A"
        chances = np.where(answer, 0.8, 0.3)
        table = pd.DataFrame({"id": range(50), "group": None, "label": labels, "predicted": cells[1],
                              "p_A": chances[:, 0], "p_B": chances[:, 1]})  # fmt: skip
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        paths[name] = tmp_path / f"{name}.csv"
    tables = agreement_tables(paths, permutations=99)
    table = tables["agreement"]
    assert table.groupby("label", sort=False)["n"].first().to_dict() == {"A": 49, "B": 50}
    assert table.groupby("label")["value"].sum().tolist() == pytest.approx([1, 1])
    assert tables["error_consistency"]["label"].tolist() == ["A", "B"]


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"n": 59}, r"q.csv lacks 1 samples of .*p.csv, the first is 'i59'"),
        ({"n": 61}, r"p.csv lacks 1 samples of .*q.csv, the first is 'i60'"),
        ({"labels": "acb"}, r"sample 'i1': label b in .*p.csv, c in .*q.csv \(40 such samples\)"),
        ({"group": ["other"] * 60}, r"sample 'i0': group g in .*p.csv, other in .*q.csv \(60 such samples\)"),
    ],
)
def test_other_samples_labels_or_groups_are_named(tmp_path, rng, changed, message):
    paths = {"p": predictions(tmp_path, "p", rng=rng, group=["g"] * 60, shuffle=False),
             "q": predictions(tmp_path, "q", rng=rng, **changed)}  # fmt: skip
    with pytest.raises(FeaturespaceError, match=message):
        agreement_tables(paths)


@pytest.mark.parametrize(
    "models, message",
    [
        (["p"], r"asked of 1 models \(p\); it takes 2 to 6"),
        (list("abcdefg"), "asked of 7 models"),
        (["p", "none"], "a model is labelled 'none'"),
        (["p", "q + r"], r"a model is labelled 'q \+ r'"),
    ],
)
def test_labels_of_models(tmp_path, models, message):
    with pytest.raises(FeaturespaceError, match=message):
        agreement_tables({each: tmp_path / "p.csv" for each in models})
    with pytest.raises(FeaturespaceError, match=message):
        pixel_agreement_tables(np.ones((6, 2 ** len(models)), dtype=int), models)


def test_pixels(rng):
    masks = rng.integers(0, 3, (10, 8, 8))
    answers = {name: np.where(rng.random(masks.shape) < 0.8, masks, 0) for name in "pq"}
    counts = [answer_counts(mask, [each[i] for each in answers.values()]) for i, mask in enumerate(masks)]
    tables = pixel_agreement_tables(counts, list(answers), task="organs")
    expected = pixel_agreement(counts)
    table = tables["agreement"]
    assert table["count"].tolist() == expected.counts.tolist() and set(table["n"]) == {int((masks > 0).sum())}
    assert set(table["n_groups"]) == {10} and set(table["task"]) == {"organs"}
    assert tables["error_consistency"]["n"].tolist() == [int((masks > 0).sum())]
    with pytest.raises(FeaturespaceError, match=r"shape \(10, 4\); of 3 models \(p, q, r\) they are \(images, 8\)"):
        pixel_agreement_tables(counts, list("pqr"))


@pytest.fixture
def folders(tmp_path, rng):
    """True masks and those of two models, one of them in a subfolder, one without foreground."""
    masks = rng.integers(0, 3, (8, 6, 5)).astype(np.uint8)
    masks[3] = 0
    masks[0, 0, 0] = 255
    for name in ("truth", "p", "q"):
        for i, mask in enumerate(masks):
            path = tmp_path / name / ("sub" if i == 2 else ".") / f"{i}.{'bmp' if i == 1 else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            seen = mask if name == "truth" else np.where(rng.random(mask.shape) < 0.8, mask, 1).astype(np.uint8)
            Image.fromarray(seen).save(path)
    return tmp_path


def test_masks_in_folders(folders):
    def read(name, i):
        (path,) = (folders / name).rglob(f"{i}.*")
        return np.asarray(Image.open(path))

    counts = [answer_counts(read("truth", i), [read("p", i), read("q", i)]) for i in range(8)]
    expected = pixel_agreement_tables(counts, ["p", "q"])["agreement"]
    paths = {name: folders / name for name in "pq"}
    pd.testing.assert_frame_equal(mask_agreement_tables(folders / "truth", paths)["agreement"], expected)
    names = ["0", "1", "sub/2", *map(str, range(3, 8))]
    groups = {name: str(place // 2) for place, name in enumerate(names)}
    grouped = mask_agreement_tables(folders / "truth", paths, groups=groups)["agreement"]
    assert set(grouped["unit"]) == {"group"} and set(grouped["n_groups"]) == {4}
    with pytest.raises(FeaturespaceError, match=r"image '3' has no group \(groups name 2 images\)"):
        mask_agreement_tables(folders / "truth", paths, groups={"0": "a", "1": "b"})


def test_masks_that_do_not_fit(folders):
    paths = {name: folders / name for name in "pq"}
    with pytest.raises(FeaturespaceError, match="nowhere is no folder"):
        mask_agreement_tables(folders / "nowhere", paths)
    (folders / "empty").mkdir()
    with pytest.raises(FeaturespaceError, match="empty holds no masks"):
        mask_agreement_tables(folders / "empty", paths)
    Image.new("L", (5, 5)).save(folders / "q" / "4.png")
    with pytest.raises(FeaturespaceError, match="q: the prediction of '4' is 5 x 5 pixels and its mask 5 x 6"):
        mask_agreement_tables(folders / "truth", paths)
    Image.new("RGB", (5, 6)).save(folders / "q" / "4.png")
    with pytest.raises(FeaturespaceError, match="4.png has colours"):
        mask_agreement_tables(folders / "truth", paths)
    (folders / "q" / "4.png").unlink()
    with pytest.raises(FeaturespaceError, match="q: .* lacks the predictions of 1 of 8 masks, the first is '4'"):
        mask_agreement_tables(folders / "truth", paths)
    Image.new("L", (5, 6)).save(folders / "truth" / "5.tif")
    with pytest.raises(FeaturespaceError, match="5.png and .*5.tif are both masks of '5'"):
        mask_agreement_tables(folders / "truth", paths)


def test_masks_without_foreground(tmp_path):
    for name in ("truth", "p", "q"):
        (tmp_path / name).mkdir()
        Image.new("L", (4, 4)).save(tmp_path / name / "0.png")
    with pytest.raises(FeaturespaceError, match="no mask below .* has a pixel that is neither background"):
        mask_agreement_tables(tmp_path / "truth", {name: tmp_path / name for name in "pq"})
