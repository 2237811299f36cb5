import pytest
import yaml

from featurespace.config import AnalyzeConfig, make_config, read_config, to_yaml
from featurespace.errors import FeaturespaceError
from featurespace.options import ANALYZE

BASE = {"models": ("a@x", "b@y"), "data": ("x=y",)}


def test_every_option_is_in_the_table_and_the_schema():
    assert set(ANALYZE) | {"models", "data", "begun_with"} == set(AnalyzeConfig.model_fields)
    for name, option in ANALYZE.items():
        field = AnalyzeConfig.model_fields[name]
        assert field.default == option.default and field.description == option.help


def test_a_saved_config_reads_back_as_itself(tmp_path):
    config = make_config(**BASE, layers="stages", only="probe,gap", seed=3)
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert make_config(**read_config(tmp_path / "c.yaml")) == config
    assert config.analyses == ("probe", "gap")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "prob"}, "'prob' is no analysis; did you mean 'probe'"),
        ({"pool": "max"}, "option 'pool': .*'avg', 'cls' or 'none'; the value was 'max'"),
        ({"batch_size": 0}, "option 'batch_size': .*greater than or equal to 1; the value was 0"),
        ({"precison": "fp32"}, "unknown option 'precison'; did you mean 'precision'"),
        ({"seed": -1}, "option 'seed'"),
        ({"models": ()}, "option 'models'"),
    ],
)
def test_errors(options, message):
    with pytest.raises(FeaturespaceError, match=message):
        make_config(**{**BASE, **options})


@pytest.mark.parametrize(
    ("text", "message"),
    [("layerz: blocks", "unknown key 'layerz'; did you mean 'layers'"), ("- a\n- b", "must hold keys and values"), ("a: [", "cannot be read as YAML"),
     ("!!python/object/apply:os.system ['true']", "cannot be read as YAML")],
)  # fmt: skip
def test_bad_files(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(FeaturespaceError, match=message):
        read_config(tmp_path / "c.yaml")
    with pytest.raises(FeaturespaceError, match="cannot be read"):
        read_config(tmp_path / "none.yaml")


def test_each_option_is_described_in_the_saved_config():
    text = to_yaml(make_config(**BASE))
    assert all(f"# {option.help}\n" in text for option in ANALYZE.values())
    assert yaml.safe_load(text)["models"] == ["a@x", "b@y"]


def test_identity_leaves_out_what_changes_no_number_of_a_run():
    config = make_config(**BASE)
    assert config.identity() == make_config(**BASE, threads=1, only="probe", batch_size=3).identity()
    assert config.identity() != make_config(**BASE, seed=1).identity()
