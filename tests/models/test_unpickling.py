"""Foreign files run no code: plain data loads through stand-ins, anything else is refused by name."""

import argparse
import builtins
import collections
import datetime
import io
import json
import os
import pathlib
import pickle
import sys
import types
import zipfile

import numpy as np
import omegaconf
import pytest
import timm
import torch
from lightning_fabric.utilities.data import AttributeDict
from PIL import Image

from featurespace import extraction
from featurespace.config import read_config
from featurespace.errors import FeaturespaceError
from featurespace.models import parse_model_spec, read_tensors
from featurespace.models.load import load_model
from featurespace.models.unpickling import load_pickle
from featurespace.studies.settings import StudyConfig
from featurespace.yaml_files import checked

STATE = {"conv.weight": torch.randn(4, 3, 1, 1), "bn.bias": torch.randn(4)}
BOTH = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(tmp_path, value, zipped=True):
    path = tmp_path / "x.pt"
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


PLAIN = {
    "namespace": (argparse.Namespace(lr=0.1, out=pathlib.Path("runs/a")), None),
    "path": (pathlib.PosixPath("/data/x"), pathlib.PurePosixPath("/data/x")),
    "pure path": (pathlib.PurePosixPath("a/b"), None),
    "pure windows path": (pathlib.PureWindowsPath("C:/data"), None),
    "float": (np.float64(0.5), None),
    "half": (np.float16(0.5), None),
    "big endian": (np.array([1, 2], ">i4")[0], None),
    "bool": (np.bool_(True), None),
    "integer": (np.int64(7), None),
    "array": (np.arange(6, dtype=np.float32).reshape(2, 3), None),
    "fortran": (np.asfortranarray(np.arange(6.0).reshape(2, 3)), None),
    "empty": (np.zeros((0, 3)), None),
    "no bytes": (b"", None),
    "text": (np.array(["a", "bc"]), None),
    "random state": (np.random.RandomState(0).get_state(), None),
    "ordered": (collections.OrderedDict(a=1), None),
    "counter": (collections.Counter("aab"), None),
    "defaultdict": (collections.defaultdict(list, a=[1]), {"a": [1]}),
    "datetime": (datetime.datetime(2026, 1, 2, 3, 4), None),
    "aware": (datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), None),
    "date": (datetime.date(2026, 1, 2), None),
    "timedelta": (datetime.timedelta(hours=2), None),
    "size": (torch.Size([1, 2]), None),
    "dtype": (torch.bfloat16, None),
    "device": (torch.device("cuda:0"), None),
    "set": ({1, 2}, None),
    "bytes": (b"abc", None),
    "version": (torch.__version__, str(torch.__version__)),
    "attributes of Lightning": (AttributeDict(lr=0.1, deep={"a": 1}), {"lr": 0.1, "deep": {"a": 1}}),
}


@BOTH
@pytest.mark.parametrize("name", PLAIN)
def test_plain_data_beside_the_weights_loads(tmp_path, zipped, name):
    stored, expected = PLAIN[name]
    expected = stored if expected is None else expected
    value, ran = load_pickle(saved(tmp_path, {"model": STATE, "extra": stored}, zipped))
    assert not ran and torch.equal(value["model"]["bn.bias"], STATE["bn.bias"])
    found = value["extra"]
    if name == "namespace":
        assert found.lr == 0.1 and found.out == pathlib.PurePosixPath("runs/a")
    elif name == "random state":
        assert found[0] == "MT19937" and np.array_equal(found[1], expected[1]) and found[2:] == expected[2:]
    else:
        np.testing.assert_equal(found, expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype and found.shape == expected.shape
    if name == "defaultdict":
        assert type(found) is dict


def test_a_path_of_windows_loads_anywhere(tmp_path):
    content = pickle.dumps({"w": torch.ones(1).numpy().tolist(), "p": pathlib.PureWindowsPath("C:/data")}, 2)
    path = saved(tmp_path, {"model": STATE, "extra": pathlib.PureWindowsPath("C:/data")})
    for name in (b"PureWindowsPath", b"WindowsPath"):
        changed = content.replace(b"PureWindowsPath", name)
        buffer = io.BytesIO()
        torch.save(STATE, buffer)
        rewrite(path, buffer.getvalue(), changed)
        assert load_pickle(path)[0]["p"] == pathlib.PureWindowsPath("C:/data")


def test_a_class_of_lightning_as_a_key_loads_as_its_name(tmp_path):
    from pytorch_lightning.callbacks import ModelCheckpoint

    value, _ = load_pickle(saved(tmp_path, {"state_dict": STATE, "callbacks": {ModelCheckpoint: {"best": 1}}}))
    assert [repr(key) for key in value["callbacks"]] == ["model_checkpoint.ModelCheckpoint"]


def rewrite(path, archive, pickled):
    """Write a checkpoint again with another data.pkl."""
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, pickled if entry.filename.endswith("data.pkl") else old.read(entry))


class Calls:
    """Pickled, it calls a function when it is loaded."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def hostile(marker):
    code = f"open({str(marker)!r}, 'w').close()"
    inner = io.BytesIO()
    torch.save(Calls(exec, code), inner)
    return {
        "os.system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "open": Calls(open, str(marker), "w"),
        "getattr": Calls(getattr, Calls(__import__, "os"), "system"),
        "import": Calls(__import__, "os"),
        "chain": Calls(builtins.map, Calls(getattr, pathlib.Path(marker), "touch"), [()]),
        "touch": Calls(pathlib.Path.touch, pathlib.Path(marker)),
        "torch.load": Calls(torch.load, inner.getvalue()),
        "hub": Calls(torch.hub.load, "a/b", "c"),
        "object array": np.array([Calls(exec, code)], dtype=object),
        "harmless object array": np.array([None, 1], dtype=object),
        "record": np.zeros(2, dtype=[("a", "O")]),
        "harmless record": np.zeros(2, dtype=[("a", "f4")]),
        "partial": Calls(Calls, exec, code),
    }


@BOTH
@pytest.mark.parametrize("name", hostile(pathlib.Path("x")))
def test_hostile_files_are_refused_and_nothing_runs(tmp_path, zipped, name):
    marker = tmp_path / "ran"
    path = saved(tmp_path, {"model": STATE, "extra": hostile(marker)[name]}, zipped)
    with pytest.raises(FeaturespaceError, match=r"(?s)refused.*save\(model.state_dict.*--trust.*runs the code in it"):
        read_tensors(path)
    assert not marker.exists()


class Restored(np.ndarray):
    """Pickled, it is an array of two numbers that comes out of what it is told."""

    def __reduce__(self):
        function, arguments, _ = super().__reduce__()
        return function, (np.ndarray, *arguments[1:]), (1, (2,), np.dtype("f8"), False, [1.0, 2.0])


@pytest.mark.parametrize(
    ("value", "needs"),
    [
        (Calls(os.system, "true"), "posix.system"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (omegaconf.OmegaConf.create({"lr": 1}), "omegaconf"),
        (np.array([None], dtype=object), "numpy.dtype-of-objects"),
        (np.zeros(2, [("a", "f4")]), "numpy.dtype-of-records"),
        (np.zeros(2).view(Restored), "numpy.ndarray-of-objects"),
        (Calls(np._core.multiarray.scalar, np.dtype("f8"), b"short"), "numpy.scalar-of-objects"),
    ],
)
@BOTH
def test_a_refusal_names_the_type(tmp_path, zipped, value, needs):
    args = argparse.Namespace(lr=1)  # which is no reason
    with pytest.raises(FeaturespaceError, match=f"needs [^)]*{needs}") as refused:
        read_tensors(saved(tmp_path, {"model": STATE, "args": args, "extra": value}, zipped))
    assert "argparse" not in str(refused.value)


def test_a_plain_pickle_and_a_later_protocol_are_refused(tmp_path):
    marker = tmp_path / "ran"
    for protocol in range(2, 6):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(Calls(os.system, f"touch {marker}"), protocol))
        with pytest.raises(FeaturespaceError, match="refused"):
            read_tensors(tmp_path / "x.pkl")
    assert not marker.exists()


@BOTH
def test_a_trusted_file_runs_and_its_layout_says_so(tmp_path, zipped):
    marker = tmp_path / "ran"
    path = saved(tmp_path, {"model": STATE, "extra": Calls(os.system, f"touch {marker}")}, zipped)
    found = read_tensors(path, trust=True)
    assert marker.exists() and found.layout.endswith("its code was run (--trust)")
    assert torch.equal(found.tensors["bn.bias"], STATE["bn.bias"])


def test_a_file_that_needs_no_trust_runs_nothing_and_says_nothing(tmp_path):
    assert "trust" not in read_tensors(saved(tmp_path, {"model": STATE}), trust=True).layout


@pytest.mark.parametrize("nested", [True, False])
def test_whole_networks_are_read_where_trusted(tmp_path, nested):
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    found = read_tensors(saved(tmp_path, {"model": network} if nested else network), trust=True)
    assert torch.equal(found.tensors["0.weight"], network[0].weight)


def test_torchscript_is_refused_and_read_where_trusted(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(2, 2))
    torch.jit.save(torch.jit.trace(network, torch.ones(1, 2)), tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match="needs TorchScript, a whole program"):
        read_tensors(tmp_path / "x.pt")
    assert torch.equal(read_tensors(tmp_path / "x.pt", trust=True).tensors["0.weight"], network[0].weight)


def test_a_trusted_file_that_fails_says_what_to_do(tmp_path):
    class Gone:
        pass

    Gone.__qualname__, Gone.__module__ = "Gone", "gone_package"
    sys.modules["gone_package"] = types.SimpleNamespace(Gone=Gone)
    try:
        path = saved(tmp_path, {"model": STATE, "extra": Gone()})
    finally:
        del sys.modules["gone_package"]
    with pytest.raises(FeaturespaceError, match="although it is trusted .*gone_package.*install the package"):
        read_tensors(path, trust=True)
    path = saved(tmp_path, {"model": STATE, "extra": Calls(divmod, 1, 0)})
    with pytest.raises(FeaturespaceError, match="ZeroDivisionError.*in the environment that wrote it"):
        read_tensors(path, trust=True)


def test_trust_is_given_on_the_command_line_only(tmp_path):
    (tmp_path / "c.yaml").write_text("models: [a]\ndata: [b]\ntrust: true\n")
    with pytest.raises(FeaturespaceError, match="unknown key 'trust'"):
        read_config(tmp_path / "c.yaml")
    values = {"out": "x", "tasks": {"t": {"data": "x=y"}}, "grid": [{"experiment": "e", "task": "t"}],
              "pretrainings": {"p": {"model": "resnet18@random"}}}  # fmt: skip
    with pytest.raises(FeaturespaceError, match="'trust', which only a command line can give"):
        checked(StudyConfig, {**values, "analyze": {"trust": True}})
    assert not parse_model_spec("resnet18@random").trust


def test_trust_reaches_the_models_and_is_recorded(tmp_path):
    state = timm.create_model("test_resnet", num_classes=2).state_dict()
    path = saved(tmp_path, {"model": state, "args": omegaconf.OmegaConf.create({"lr": 1})})
    with pytest.raises(FeaturespaceError, match="--trust"):
        load_model(parse_model_spec(f"test_resnet@{path}"))
    (tmp_path / "images").mkdir()
    for index in range(4):
        Image.new("RGB", (32, 32), (index * 9, 0, 0)).save(tmp_path / "images" / f"{index}.png")
    arguments = ([f"m=test_resnet@{path}"], [f"d={tmp_path / 'images'}"], tmp_path / "run")
    options = {"image_size": 32, "layers": "stages", "threads": 1}
    with pytest.raises(FeaturespaceError, match="--trust"):
        extraction.extract(*arguments, **options)
    run = extraction.extract(*arguments, **options, trust=True)
    record = json.loads((run.path / "provenance.json").read_text())
    assert record["models"][0]["trusted"] and "its code was run" in record["models"][0]["source"]
    assert any("its code was run" in each for each in record["messages"])
    assert "\ntrust" not in (run.path / "config.yaml").read_text()
