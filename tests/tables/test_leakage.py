import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import featurespace as fs
from featurespace.data.specs import open_data
from featurespace.errors import FeaturespaceError
from featurespace.stats.near import near_pairs
from featurespace.tables.leakage import Side, leakage_sentences, leakage_tables


def pictures(rng, count):
    """Smooth random images, each different from all others."""
    coarse = rng.uniform(0, 255, (count, 6, 6))
    return [Image.fromarray(each.astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC) for each in coarse]


def folder(path, images, **columns):
    path.mkdir()
    names = [f"{number}.png" for number in range(len(images))]
    for name, image in zip(names, images):
        image.save(path / name)
    table = pd.DataFrame({"path": names, "id": [f"{path.name}-{number}" for number in range(len(images))], **columns})
    table.to_csv(path / "m.csv", index=False)
    return f"{path.name}={path / 'm.csv'}"


def as_jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(io.BytesIO(buffer.getvalue()))


def counts(table, a, b):
    of = table[(table["a"] == a) & (table["b"] == b)].set_index("kind")
    return {kind: None if pd.isna(value) else int(value) for kind, value in of["pairs"].items()}


def test_patients_and_images_in_two_data_sets_are_found_and_named(rng, tmp_path):
    one, two = pictures(rng, 8), pictures(rng, 6)
    two[0], two[1], two[2] = one[3].copy(), as_jpeg(one[5]), one[6].resize((40, 40))
    first = folder(tmp_path / "one", one, group=["p0", "p0", "p1", "p2", "p3", "p4", "p5", "p6"])
    second = folder(tmp_path / "two", two, group=["p0", "q1", "q2", "q3", "q4", ""])
    tables = fs.leakage([first, second], tmp_path / "out")
    assert counts(tables["leakage"], "one", "two") == {
        "patient": 1, "study": None, "identical image": 1, "near-identical image": 2,
    }  # fmt: skip
    pairs = tables["leakage_pairs"].set_index("kind")
    assert pairs.loc["identical image", ["sample_a", "sample_b"]].tolist() == ["one-3", "two-0"]
    near = pairs.loc[["near-identical image"]]
    assert set(zip(near["sample_a"], near["sample_b"])) == {("one-5", "two-1"), ("one-6", "two-2")}
    row = tables["leakage"].iloc[0]
    assert (row["shared_a"], row["shared_b"], row["n_a"], row["n_b"]) == (2, 1, 8, 6)
    [(sentence, shared)] = leakage_sentences(tables["leakage"])
    assert shared and sentence.startswith("one and two share 2 of 8 and 1 of 6 images by their patients; 1 of 8")
    assert sentence.endswith("(studies are not known).")
    assert len(pd.read_csv(tmp_path / "out" / "leakage_pairs.csv")) == 4


def test_splits_of_one_data_set_are_compared(rng, tmp_path):
    images = pictures(rng, 6)
    images[5] = images[0].copy()
    spec = folder(tmp_path / "x", images, split=["train"] * 3 + ["test"] * 3, group=list("abcdef"))
    table = fs.leakage([spec])["leakage"]
    assert (
        counts(table, "x/train", "x/test")["identical image"] == 1
        and counts(table, "x/train", "x/test")["patient"] == 0
    )
    assert leakage_sentences(table)[0][0].startswith(
        "x/train and x/test share 1 of 3 and 1 of 3 images by equal pixels"
    )


def test_what_has_nothing_in_common_says_so_and_grey_images_are_like_none(rng, tmp_path):
    grey = [Image.new("L", (64, 64), 7), Image.new("L", (32, 32), 7)]
    one, two = (
        folder(tmp_path / "one", pictures(rng, 5) + grey[:1]),
        folder(tmp_path / "two", pictures(rng, 5) + grey[1:]),
    )
    table = fs.leakage([one, two])["leakage"]
    assert counts(table, "one", "two") == {
        "patient": None, "study": None, "identical image": 0, "near-identical image": 0,
    }  # fmt: skip
    assert leakage_sentences(table) == [
        ("one and two share no identical images, no near-identical images (patients and studies are not known).", False)
    ]


def test_one_data_set_without_splits_is_refused(rng, tmp_path):
    with pytest.raises(FeaturespaceError, match="nothing to compare data set 'x' with: it has no splits; give two"):
        fs.leakage([folder(tmp_path / "x", pictures(rng, 3))])


def test_near_pairs_are_those_of_a_loop(rng):
    hashes = rng.integers(0, 4, 40).astype(np.uint64), rng.integers(0, 4, 30).astype(np.uint64)
    looks = [rng.normal(size=(n, 3)) for n in (40, 30)]
    looks = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in looks]
    i, j, like = near_pairs(*hashes, *looks, distance=1, like=0.5)
    expected = [
        (a, b) for a in range(40) for b in range(30)
        if bin(int(hashes[0][a]) ^ int(hashes[1][b])).count("1") <= 1 and looks[0][a] @ looks[1][b] >= 0.5
    ]  # fmt: skip
    assert list(zip(i, j)) == expected and np.allclose(like, [looks[0][a] @ looks[1][b] for a, b in expected])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distance": 65}, "distance is 65"),
        ({"like": 0}, "like is 0"),
        ({"pictures_a": np.eye(3)}, "2 and 2 hashes for 3"),
    ],
)
def test_near_pairs_refuses(changes, message):
    given = {"hashes_a": [1, 2], "hashes_b": [1, 2], "pictures_a": np.eye(2), "pictures_b": np.eye(2)} | changes
    with pytest.raises(ValueError, match=message):
        near_pairs(**given)


def test_patients_of_volumes_agree_between_data_sets_and_are_not_written(tmp_path):
    from tests.data.medical import write_series

    for name, patients in (("a", ["Miller", "Smith"]), ("b", ["Smith", "Jones"])):
        for number, patient in enumerate(patients):
            write_series(
                tmp_path / name / str(number), PatientID=patient, seed=ord(patient[0]), series=f"1.{ord(patient[0])}"
            )
    tables = fs.leakage([f"{name}={tmp_path / name}" for name in "ab"], tmp_path / "out")
    assert counts(tables["leakage"], "a", "b")["patient"] == 1
    written = "".join(file.read_text() for file in (tmp_path / "out").iterdir())
    assert "Smith" not in written and len(written) > 100
    assert open_data(f"a={tmp_path / 'a'}").identities("patient") is not None


def test_without_images_patients_alone_are_compared():
    def side(name, patients):
        samples = pd.DataFrame(
            {"id": [f"{name}{row}" for row in range(4)], "split": ["train", "train", "test", "test"]}
        )
        return Side(name, samples, {"patient": None if patients is None else np.array(patients), "study": None}, None)

    tables = leakage_tables([side("x", [*"abbc"]), side("y", ["c", "d", "", "e"]), side("z", None)])
    table = tables["leakage"]
    assert counts(table, "x", "y") == {
        "patient": 1, "study": None, "identical image": None, "near-identical image": None,
    }  # fmt: skip
    assert counts(table, "x/train", "x/test")["patient"] == 1 and counts(table, "y/train", "y/test")["patient"] == 0
    assert tables["leakage_pairs"][["sample_a", "sample_b"]].values.tolist() == [["x3", "y0"], ["x1", "x2"]]
    unknown = "(studies and identical images and near-identical images are not known)"
    assert leakage_sentences(table) == [
        (f"x and y share 1 of 4 and 1 of 4 images by their patients {unknown}.", True),
        (f"x/train and x/test share 1 of 2 and 1 of 2 images by their patients {unknown}.", True),
        (f"y/train and y/test share no patients {unknown}.", False),
    ]  # of z nothing is known, and nothing is said
    known = table.assign(pairs=table["pairs"].fillna(0))
    assert "not known" not in leakage_sentences(known)[0][0]
