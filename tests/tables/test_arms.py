"""A run with two arms of two seeds, against the statistics of its single models."""

import numpy as np
import pytest
import torch
from oracles.runs import draw_few_figures, embed_by_pca
from oracles.stores import stores_of

import featurespace as fs
from featurespace.errors import FeaturespaceError
from featurespace.tables.arms import arms_table
from featurespace.tables.geometry import geometry_tables
from featurespace.tables.similarity import similarity_tables

ARMS = ("x=x1,x2", "y=y1,y2")


@pytest.fixture(scope="module")
def run(tmp_path_factory, two_domains):
    import timm

    root = tmp_path_factory.mktemp("arms")
    specs = []
    for seed, label in enumerate(("x1", "x2", "y1", "y2")):
        torch.manual_seed(seed)
        network = timm.create_model("test_resnet", num_classes=3)
        torch.save(network.state_dict(), root / f"{label}.pth")
        specs.append(f"{label}=test_resnet@{root / label}.pth")
    options = {"image_size": 32, "layers": "stages", "control": False, "only": "similarity,probe,gap,geometry"}
    data = [f"{label}={manifest}" for label, manifest in zip("de", two_domains)]
    with pytest.MonkeyPatch.context() as patch:
        draw_few_figures(patch)
        embed_by_pca(patch)
        return fs.analyze(specs, data, root / "run", arms=ARMS, **options)


def arms_of(run, **chosen):
    table = run.tables["arms"]
    for column, value in chosen.items():
        table = table[table[column] == value]
    return table


def test_the_arms_are_in_the_tables(run):
    layers = run.tables["layers"].drop_duplicates("model").set_index("model")["arm"]
    assert layers.to_dict() == {"x1": "x", "x2": "x", "y1": "y", "y2": "y"}
    assert "one_seed" not in set(run.tables["verdicts"]["verdict"])


def test_differences_are_of_the_means_and_wider_than_those_of_images_alone(run):
    table = run.tables["differences"].query("data == 'd'")
    arms = table[table["analysis"] == "arms"]
    linear = run.tables["probe"].query("probe == 'linear' and metric == 'accuracy' and data == 'd'")
    probe = linear.set_index(["model", "layer"])["value"]
    single = table[(table["analysis"] == "probe") & (table["a"] == "y1") & (table["b"] == "x1")].set_index("layer")
    assert len(arms) == 6
    for row in arms.itertuples():
        assert (row.a, row.b) == ("y", "x")
        means = [(probe[f"{arm}1", row.layer] + probe[f"{arm}2", row.layer]) / 2 for arm in "yx"]
        assert (row.value_a, row.value_b) == pytest.approx(tuple(means)) and row.value == pytest.approx(
            means[0] - means[1]
        )
        if row.interval != "none: every seed and every unit gives the same difference":
            assert row.interval == "group jackknife over groups, and 2 and 2 seeds"
            assert single.loc[row.layer, "interval"] == "group jackknife"
    assert arms["p_value"].notna().any()
    assert any(
        "could not" not in each["sentence"] and "the arm" in each["sentence"] for each in run.summary["findings"]
    )


def cka_of(run):
    table = run.tables["similarity"].query("metric == 'cka_debiased' and data == 'd'")
    return table.set_index(["model_a", "model_b", "layer_a", "layer_b"])["value"]


def test_cka_within_and_between_arms(run):
    cka, table = cka_of(run), arms_of(run, analysis="similarity", data="d")
    assert set(table["kind"]) == {"within_a", "within_b", "between", "within_less_between"}
    assert set(table["arm_a"]) == {"y"} and set(table["seeds_a"]) == {2}
    for layer, rows in table.groupby("layer"):
        value = rows.set_index("kind")["value"]
        assert value["within_a"] == pytest.approx(cka["y1", "y2", layer, layer])
        assert value["within_b"] == pytest.approx(cka["x1", "x2", layer, layer])
        between = np.mean([cka[f"x{i}", f"y{j}", layer, layer] for i in (1, 2) for j in (1, 2)])
        assert value["between"] == pytest.approx(between)
        assert value["within_less_between"] == pytest.approx((value["within_a"] + value["within_b"]) / 2 - between)
    between = table[table["kind"] == "between"]
    assert between["interval"].str.startswith("group jackknife over groups, and 2 and 2 seeds").all()
    tested = table[table["kind"] == "within_less_between"]
    assert tested["p_least"].to_numpy() == pytest.approx(1 / 3) and (tested["p_value"] >= 1 / 3 - 1e-9).all()
    assert tested["interval"].str.startswith("none: two seeds are one pair").all()
    assert (tested["p_holm"] >= tested["p_value"]).all() and table["p_value"].notna().sum() == len(tested)


def test_gap_and_geometry_of_arms_are_the_means_of_their_models(run):
    gap = run.tables["domain_gap"].query("metric == 'mmd2'").set_index(["model", "layer"])["value"]
    found = arms_of(run, analysis="gap")
    assert set(found["data"]) == {"d to e"} and len(found) == 6 and set(found["kind"]) == {"difference"}
    geometry = (
        run.tables["geometry"].query("metric == 'anisotropy' and data == 'e'").set_index(["model", "layer"])["value"]
    )
    others = arms_of(run, analysis="geometry", metric="anisotropy", data="e")
    for rows, values in ((found, gap), (others, geometry)):
        for row in rows.itertuples():
            means = [(values[f"{arm}1", row.layer] + values[f"{arm}2", row.layer]) / 2 for arm in "yx"]
            assert (row.value_a, row.value_b) == pytest.approx(tuple(means))
            assert row.value == pytest.approx(means[0] - means[1]) and row.ci_low < row.value < row.ci_high
            assert row.interval == "group jackknife over groups, and 2 and 2 seeds" and 0 < row.p_value <= 1


def test_probes_of_arms_stand_in_both_tables(run):
    old = run.tables["differences"].query("analysis == 'arms'").reset_index(drop=True)
    new = arms_of(run, analysis="probe").reset_index(drop=True)
    assert (old["value"] == new["value"]).all() and set(old["metric"]) == {"accuracy"}
    assert old["p_holm"].equals(new["p_holm"])


def test_the_report_has_a_chapter_of_arms(run):
    sentences = [each["sentence"] for each in run.summary["findings"] if each["table"] == "arms"]
    assert any(
        "the least" not in each and "CKA between them" in each and "cannot give less than 0.333" in each
        for each in sentences
    )
    assert any("distance" in each and "seeds and images both count as chance" in each for each in sentences)
    page = (run.path / "report.html").read_text()
    assert "Arms y and x on d, last layer" in page and "within less between" in page


def test_an_earlier_analysis_keeps_its_rows():
    row = {"of": "gap", "metric": "mmd2", "data": "d", "layer": "l", "a": "y", "b": "x", "kind": "difference", "value": 1.0,
           "ci_low": 0.5, "ci_high": 1.5, "p_value": 0.03, "p_least": np.nan, "value_a": 2.0, "value_b": 1.0, "seeds_a": 2,
           "seeds_b": 2, "n": 9, "interval": "i", "level": 0.95, "unit": "sample", "n_groups": 9}  # fmt: skip
    first = arms_table([row, {**row, "layer": "k", "p_value": 0.01}], None, ["gap"])
    assert first["p_holm"].tolist() == [0.03, 0.02]
    both = arms_table([{**row, "of": "probe"}], first, ["probe"])
    assert both["analysis"].tolist() == ["gap", "gap", "probe"] and both["p_holm"].tolist() == [0.03, 0.02, 0.03]
    assert arms_table([row], first, ["gap"])["layer"].tolist() == ["l"]


def test_one_seed_an_arm_is_said_not_to_separate(two_domains, tmp_path):
    specs = [f"{label}=test_resnet@random" for label in "xy"]
    options = {"image_size": 32, "layers": "stages", "control": False, "only": "similarity,geometry"}
    run = fs.analyze(specs, [f"d={two_domains[0]}"], tmp_path / "run", arms=["x=x", "y=y"], **options)
    table = run.tables["arms"]
    assert set(table.query("analysis == 'similarity'")["kind"]) == {"between"}
    assert table["interval"].str.contains("one seed in an arm cannot separate").all() and table["p_value"].isna().all()
    assert any("could not be compared by a test" in each["sentence"] for each in run.summary["findings"])


def test_the_ceiling_of_seeds_is_the_mean_cka_within_the_arms(run):
    scale = run.tables["scale"].query("data == 'd'").set_index(["model_a", "model_b", "layer_a"])
    cka = cka_of(run)
    for layer in scale.index.get_level_values("layer_a").unique():
        x, y = cka["x1", "x2", layer, layer], cka["y1", "y2", layer, layer]
        assert scale.loc[("x1", "y2", layer), "seeds"] == pytest.approx((x + y) / 2)
        assert scale.loc[("x1", "x2", layer), "seeds"] == pytest.approx(x)


def test_an_unknown_member_is_named(two_domains, tmp_path):
    with pytest.raises(FeaturespaceError, match="model 'x3' is not known in --arms; did you mean 'x1'"):
        fs.analyze(["x1=test_resnet@random"], [f"d={two_domains[0]}"], tmp_path / "r", arms=["x=x1,x3"])


def test_without_arms_the_column_is_empty(small_run):
    assert small_run.tables["layers"]["arm"].isna().all() and np.isnan(small_run.tables["scale"]["seeds"]).all()


def test_a_layer_without_a_value_in_one_seed_is_not_compared(tmp_path, rng):
    models = {name: {"l": rng.normal(size=(20, 4)), "k": rng.normal(size=(20, 2))} for name in ("x1", "x2", "y1", "y2")}
    models["y2"]["k"] = np.ones((20, 2))
    stores = stores_of(tmp_path, models, arms={name: name[0] for name in models})
    cka = [row for row in similarity_tables(stores, seed=0, measures=())[1] if row.get("of") == "similarity"]
    geometry = [
        row for row in geometry_tables(stores, seed=0, properties=("participation_ratio_debiased",))[1] if "of" in row
    ]
    assert {row["layer"] for row in cka} == {"l"} == {row["layer"] for row in geometry}
    assert {row["kind"] for row in cka} == {"within_a", "within_b", "between", "within_less_between"}
