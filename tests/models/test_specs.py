import os
import subprocess
import sys

import pytest

from featurespace import models
from featurespace.errors import FeaturespaceError
from featurespace.models import parse_model_spec, parse_model_specs


def test_a_name_that_is_not_exported_is_said():
    with pytest.raises(AttributeError, match="module 'featurespace.models' has no attribute 'load_modell'"):
        models.load_modell  # noqa: B018


@pytest.mark.parametrize(
    ("text", "label", "source", "arch"),
    [
        ("resnet18@random", "resnet18", "random", "resnet18"),
        ("base=resnet18.a1_in1k:pretrained", "base", "pretrained", "resnet18.a1_in1k"),
        ("resnet18:pretrained", "resnet18", "pretrained", "resnet18"),
        ("hf-hub:timm/resnet18.a1_in1k", "resnet18.a1_in1k", "hf-hub", "timm/resnet18.a1_in1k"),
        ("x=hf-hub:owner/name@main", "x", "hf-hub", "owner/name@main"),
        ("torchvision/resnet18@random", "torchvision-resnet18", "random", "torchvision/resnet18"),
        ("torchvision/resnet18:pretrained", "torchvision-resnet18", "pretrained", "torchvision/resnet18"),
        ("A.b_c+d-1=resnet18@random", "A.b_c+d-1", "random", "resnet18"),
    ],
)
def test_a_spec_without_a_file(text, label, source, arch):
    spec = parse_model_spec(text)
    assert (spec.label, spec.source, spec.arch, spec.path, spec.text) == (label, source, arch, None, text)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("best.pt", "lr=0.1.pt", "features.npz", "runs/lr=0.1/epoch=3-step=10.ckpt", "runs/a@b/last.pth"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "pipe.pt")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "label", "source", "arch", "path"),
    [
        ("resnet18@best.pt", "best", "file", "resnet18", "best.pt"),
        ("mine=resnet18@best.pt", "mine", "file", "resnet18", "best.pt"),
        ("torchvision/resnet18@best.pt", "best", "file", "torchvision/resnet18", "best.pt"),
        ("resnet18@lr=0.1.pt", "lr-0.1", "file", "resnet18", "lr=0.1.pt"),
        ("resnet18@runs/lr=0.1/epoch=3-step=10.ckpt", "epoch-3-step-10", "file", "resnet18", None),
        ("x=resnet18@runs/lr=0.1/epoch=3-step=10.ckpt", "x", "file", "resnet18", None),
        ("resnet18@runs/a@b/last.pth", "last", "file", "resnet18", "runs/a@b/last.pth"),
        ("features.npz", "features", "features", None, "features.npz"),
        ("radiomics=features.npz", "radiomics", "features", None, "features.npz"),
        ("local-dir:runs", "runs", "local-dir", None, "runs"),
    ],
)
def test_a_spec_with_a_file(folder, text, label, source, arch, path):
    spec = parse_model_spec(text)
    assert (spec.label, spec.source, spec.arch) == (label, source, arch)
    assert path is None or str(spec.path) == path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; a model is"),
        ("x=", "is empty"),
        ("my label=resnet18", "label 'my label' .* letters, digits .* my-label=resnet18"),
        ("=resnet18", "label ''"),
        ("resnet 18", "is no architecture"),
        ("resnet18@", "nothing follows '@'; write resnet18@FILE or resnet18@random"),
        ("x" * 5000 + "=", "is empty"),
        ("resnet18@" + "x" * 5000, "does not exist"),
        ("~nobody/a.pt", "does not exist"),
        ("a\0b.pt", "no name or path"),
        ("local-dir:" + "x" * 5000, "does not exist"),
        ("resnet18@bst.pt", "file bst.pt does not exist; did you mean 'best.pt'"),
        ("resnet18@nowhere/bst.pt", "nor does its folder nowhere"),
        ("resnet18@runs", "runs is a directory; name a file in it, or write local-dir:runs"),
        ("resnet18@features.npz", "is a table of features, not a checkpoint"),
        ("best.pt", "no featurespace manifest.*write ARCH@best.pt"),
        ("runs/a@b/lost.pth", "lost.pth does not exist; did you mean 'runs/a@b/last.pth'"),
        ("local-dir:rnus", "directory rnus does not exist; did you mean 'runs'"),
        ("resnet18", "write resnet18@random for random weights, resnet18:pretrained for timm's, or resnet18@FILE"),
        (
            "a=torchvision/resnet18",
            "write torchvision/resnet18@random .* torchvision/resnet18:pretrained for torchvision's",
        ),
        ("resnet18@/dev/null", "/dev/null is no regular file; name a file"),
        ("pipe.pt", "pipe.pt is no regular file"),
        ("hf-hub:name", "'name' is not OWNER/NAME"),
    ],
)
def test_a_wrong_spec_says_what_to_write(folder, text, message):
    with pytest.raises(FeaturespaceError, match=message):
        parse_model_spec(text)


def test_labels_must_differ_and_the_message_shows_how(folder):
    (folder / "run1").mkdir()
    (folder / "run2").mkdir()
    for run in ("run1", "run2"):
        (folder / run / "best.pt").write_bytes(b"x")
    with pytest.raises(FeaturespaceError, match="both have the label 'best'.*run1=resnet18@run1/best.pt run2="):
        parse_model_specs(["resnet18@run1/best.pt", "resnet18@run2/best.pt"])
    with pytest.raises(
        FeaturespaceError, match="resnet18-random=resnet18@random resnet18-pretrained=resnet18:pretrained"
    ):
        parse_model_specs(["resnet18@random", "resnet18:pretrained"])
    with pytest.raises(FeaturespaceError, match="'resnet18@random' is given twice"):
        parse_model_specs(["resnet18@random", "resnet18@random"])
    with pytest.raises(FeaturespaceError, match="both have the label 'a'"):
        parse_model_specs(["a=resnet18@random", "a=resnet34@random"])
    assert [spec.label for spec in parse_model_specs(["a=resnet18@random", "resnet18@random"])] == ["a", "resnet18"]


def test_the_suggested_labels_of_a_duplicate_parse():
    with pytest.raises(FeaturespaceError) as caught:
        parse_model_specs(["resnet18@random", "resnet18:pretrained"])
    parse_model_specs(str(caught.value).split("e.g. ")[1].split())


def test_parsing_imports_neither_torch_nor_timm():
    code = (
        "import sys, featurespace.models as m; m.parse_model_specs(['resnet18@random', 'b=resnet50:pretrained']);"
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'numpy.random'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code.replace(", 'numpy.random'", "")]).returncode == 0


def test_an_architecture_alone_is_enough_where_weights_do_not_matter(folder):
    for text, expected in (("resnet18", "resnet18"), ("x=torchvision/resnet18", "torchvision/resnet18")):
        spec = parse_model_spec(text, bare=True)
        assert (spec.source, spec.arch, spec.text) == ("random", expected, text)
    assert parse_model_spec("resnet18:pretrained", bare=True).source == "pretrained"
    assert parse_model_spec("features.npz", bare=True).source == "features"
