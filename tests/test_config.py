import os

import pytest
import yaml

from featurespace.config import AnalyzeConfig, make_config, read_config
from featurespace.errors import FeaturespaceError
from featurespace.options import ANALYZE
from featurespace.yaml_files import to_yaml

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
        ({"arms": ["ct"]}, "option 'arms': 'ct' is no arm; write NAME=LABEL,LABEL"),
        ({"arms": ["ct=a,"]}, "option 'arms': 'ct=a,' is no arm"),
        ({"arms": ["ct=a,b", "mr=b"]}, "option 'arms': model 'b' is in the arms 'ct' and 'mr'; one is allowed"),
        ({"arms": ["ct=a", "ct=b"]}, "option 'arms': an arm is named twice among ct, ct"),
        ({"steps": "a"}, "option 'steps': expected two different labels of models or more"),
        ({"steps": "a,b,a"}, "option 'steps': expected two different labels"),
        ({"steps": 3}, "option 'steps': expected labels of models, as a list or separated by commas"),
        ({"columns": 3}, "option 'columns': expected names of columns"),
        ({"columns": "age,label"}, "option 'columns': 'label' has a meaning of its own"),
        ({"arms": 3}, "option 'arms': expected a list of texts"),
        ({"measures": "rsa,pwca"}, "option 'measures': 'pwca' is no measure; did you mean 'pwcca'"),
        ({"measures": 3}, "option 'measures': expected a list of names, each one measure"),
        ({"properties": "isotropy"}, "option 'properties': 'isotropy' is no property; did you mean 'anisotropy'"),
        ({"distances": "kids"}, "option 'distances': 'kids' is no distance; did you mean 'kid'"),
        ({"only": "prob"}, "'prob' is no analysis; did you mean 'probe'"),
        ({"pool": "max"}, "option 'pool': .*'avg', 'cls' or 'none'; the value was 'max'"),
        ({"batch_size": 0}, "option 'batch_size': .*greater than or equal to 1; the value was 0"),
        ({"precison": "fp32"}, "unknown option 'precison'; did you mean 'precision'"),
        ({"seed": -1}, "option 'seed'"),
        ({"models": ()}, "option 'models'"),
        ({"models": {"a": "resnet18@random"}}, "option 'models': expected a list of specs, each one text LABEL=..."),
        ({"data": 5}, "option 'data': Input should be a list; the value was 5"),
        ({"limit": True}, "option 'limit': expected a whole number, not true or false"),
        ({"seed": False}, "option 'seed': expected a whole number, not true or false"),
        ({"only": ""}, "option 'only': names no analysis; leave it out for all"),
        ({"only": " , "}, "option 'only': names no analysis"),
        ({"only": []}, "option 'only': names no analysis"),
        ({"only": 5}, "option 'only': expected a list of names, each one analysis"),
        ({"only": [["probe"]]}, r"\['probe'\] is no analysis.*; allowed: similarity"),
        ({"image_size": 100_000}, "option 'image_size': .*less than or equal to 4096"),
        ({"threads": 10**9}, "option 'threads': .*less than or equal to 1024"),
        ({"layers": [["x" * 99] * 99] * 99}, r"option 'layers': .*valid string; the value was .{,2000}\Z"),
    ],
)
def test_errors(options, message):
    with pytest.raises(FeaturespaceError, match=message):
        make_config(**{**BASE, **options})


@pytest.mark.parametrize(
    ("text", "message"),
    [("layerz: blocks", "c.yaml:1: unknown key 'layerz'; did you mean 'layers'"), ("- a\n- b", "must hold keys and values"), ("a: [", "cannot be read as YAML"),
     ("!!python/object/apply:os.system ['true']", "cannot be read as YAML"), ("", "must hold keys and values"), ("hello", "must hold keys"),
     ("only: probe\nseed: 1\nonly: gap", "key 'only' stands twice"), ("only:\n\t- gap", "cannot be read as YAML"),
     ("seed: &a 1\nlimit: *a", r"aliases \(\*name\) are not allowed"), ("only: &a [*a]", "aliases"), ("seed: 1\n1: 2", "c.yaml:2: unknown key 1"),
     ("only: " + "[" * 5000 + "]" * 5000, "cannot be read as YAML"), ("only: !own x", "cannot be read as YAML"), ("[a]: 2", "cannot be read as YAML"),
     ("a: 1\n---\nb: 2", "cannot be read as YAML"), ("seed: 1 #" + "x" * 1_000_000, "more than 1,000,000 characters"),
     ("models: {a: resnet18@random}", "'models' must be a list of texts.*it is {'a': 'resnet18@random'}"),
     ("data:\n- x: y", "'data' must be a list of texts"), ("models:", "'models' must be a list of texts"),
     ("seed: " + "9" * 5000, "cannot be read as YAML"), ("only: \udce9", "cannot be read as YAML .*utf-8")],
)  # fmt: skip
def test_bad_files(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(FeaturespaceError, match=message):
        read_config(tmp_path / "c.yaml")


def test_each_option_is_described_in_the_saved_config():
    text = to_yaml(make_config(**BASE))
    assert all(f"# {option.help}\n" in text for option in ANALYZE.values())
    assert yaml.safe_load(text)["models"] == ["a@x", "b@y"]


def test_identity_leaves_out_what_changes_no_number_of_a_run():
    config = make_config(**BASE)
    assert config.identity() == make_config(**BASE, threads=1, only="probe", batch_size=3).identity()
    assert config.identity() != make_config(**BASE, seed=1).identity()


def test_aliases_cannot_stand_for_gigabytes(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(12)]
    (tmp_path / "c.yaml").write_text("\n".join(lines))
    with pytest.raises(FeaturespaceError, match="aliases"):
        read_config(tmp_path / "c.yaml")


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "config.yaml").write_text("seed: 1")
    for name, message in (("", "is no regular file"), ("pipe.yaml", "is no regular file"), ("confg.yaml", r"did you mean .*config\.yaml"),
                          ("x" * 5000, "does not exist"), ("none/c.yaml", "does not exist")):  # fmt: skip
        with pytest.raises(FeaturespaceError, match=f"cannot be read as YAML .*{message}"):
            read_config(tmp_path / name)


def test_a_byte_order_mark_is_no_key(tmp_path):
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfseed: 1\r\n")
    assert read_config(tmp_path / "c.yaml") == {"seed": 1}


def test_one_model_need_not_be_a_list(tmp_path):
    (tmp_path / "c.yaml").write_text("models: a=resnet18@random\ndata: x=y")
    assert read_config(tmp_path / "c.yaml") == {"models": ["a=resnet18@random"], "data": ["x=y"]}
    assert make_config(models="a=resnet18@random", data="x=y").models == ("a=resnet18@random",)
