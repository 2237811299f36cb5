"""A word that is misspelt meets the nearest one that is allowed, whatever it names; a shell completes it before."""

import os
import subprocess
import sys
from typing import Literal, get_args, get_origin

import pytest
from commands import command

from featurespace.config import AnalyzeConfig
from featurespace.exporting import WRITERS
from featurespace.options import ANALYZE
from featurespace.results.settings import CompareConfig

STUDY = """out: {out}
defaults: {{image_size: 32}}
pretrainings: {{a: {{model: test_resnet@random}}}}
tasks: {{t: {{data: "x={out}", task: multiclass}}}}
grid: [{{experiment: e, seed: [0]}}]
"""


def said(*arguments):
    result = command(*arguments)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    return " ".join(each for each in result.stderr.split() if each not in "╭─╮│╰╯")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("analize", "Did you mean 'analyze'?"),
        ("train pretrian", "Did you mean 'pretrain'?"),
        ("export --frmat csv r", "--format"),
        ("analyze {m} --pool avgg", "'avg', 'cls' or 'none'; the value was 'avgg'; did you mean 'avg'?"),
        ("analyze {m} --precision fp23", "did you mean 'fp32'?"),
        ("analyze {m} --on-bad-image skp", "did you mean 'skip'?"),
        ("analyze {m} --device cuad", "write auto, cpu, cuda, cuda:0 or mps; did you mean 'cuda'"),
        ("analyze {m} --only simlarity", "did you mean 'similarity'"),
        ("analyze {m} --measures rsaa", "did you mean 'rsa'"),
        ("analyze {m} --layers layr4.*", "did you mean 'layer4"),
        ("analyze {m} --layers blocs", "did you mean 'blocks'?"),
        ("analyze {m} --arms x=a,bb", "model 'bb' is not known in --arms; allowed: a"),
        ("analyze test_resnt@random --data x={x} --out {o}", "did you mean 'test_resnet"),
        ("inspect test_resnet:pretraind", "did you mean test_resnet:pretrained?"),
        ("inspect test_resnet@radom", "did you mean test_resnet@random?"),
        ("inspect hf-hb:timm/x", "did you mean hf-hub:timm/x?"),
        ("inspect torchvison/resnet18", "did you mean torchvision/resnet18?"),
        ("inspect local-dr:x", "did you mean local-dir:x?"),
        ("compare {o}/run.csv --out {o}/c", "/runs.csv?"),
        ("compare {o}/runs.csv --out {o}/c --std smple", "did you mean 'sample'?"),
        ("compare {o}/runs.csv --out {o}/c --family tas", "did you mean 'task'?"),
        (
            "compare {o}/runs.csv --out {o}/c --lower-is-better acuracy",
            "metric 'acuracy' is not known in the runs; did you mean 'accuracy'?",
        ),
        ("report {o}/imges", "/images?"),
        ("leakage x={o}/imges", "/images?"),
        ("train finetune {o}/ft.yaml --set task=multclass", "did you mean 'multiclass'"),
        ("train finetune {o}/ft.yaml --set optimzer=sgd", "did you mean 'optimizer'?"),
        ("train finetune {o}/ft.yaml --set data=[", "error: --set 'data=[': the value is no YAML ("),
        ("train finetune {o}/f.yaml", "/ft.yaml?"),
    ],
)
def test_what_is_typed(tmp_path, two_domains, typed, message):
    (tmp_path / "images").mkdir()
    (tmp_path / "ft.yaml").write_text(f"model: test_resnet@random\ndata: x={two_domains[0]}\nout: {tmp_path}/ft\n")
    rows = "".join(f"e,{name},t,{run},accuracy,{0.5 + run / 10}\n" for name in "ab" for run in range(3))
    (tmp_path / "runs.csv").write_text("experiment,pretraining,task,run,metric,value\n" + rows)
    model = f"a=test_resnet@random --data x={two_domains[0]} --out {tmp_path}/r --image-size 32 --no-control -q"
    assert message in said(*typed.format(m=model, x=two_domains[0], o=tmp_path).split())


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("image_size", "imge_size", "study.yaml:2: option 'defaults': defaults has the key 'imge_size', which no training takes from there; did you mean 'image_size'"),
        ("model:", "modl:", "study.yaml:3: unknown option 'pretrainings.a.modl'; did you mean 'model'?"),
        ("task: m", "tas: m", "task 't' has the key 'tas', which `featurespace train finetune` does not know; did you mean 'task'"),
        ("seed:", "seeds:", "unknown option 'grid.0.seeds'; did you mean 'seed'?"),
        ("experiment:", "experimnt:", "unknown option 'grid.0.experimnt'; did you mean 'experiment'"),
        ("seed:", "colour:", "unknown option 'grid.0.colour'; allowed: experiment, pretraining, task, "),
        ("grid:", "gird:", "study.yaml:5: unknown key 'gird'; did you mean 'grid'"),
        ("out:", "analyze: {{layer: stages}}\nout:", "did you mean 'layers'?"),
        ("{{model: test_resnet@random}}", "{{train: {{modl: x}}}}", "did you mean 'model'"),
        ("multiclass", "multclass", "did you mean 'multiclass'"),
    ],
)  # fmt: skip
def test_what_a_study_says(tmp_path, right, wrong, message):
    (tmp_path / "study.yaml").write_text(STUDY.replace(right, wrong, 1).format(out=tmp_path))
    assert message in said("study", tmp_path / "study.yaml", "--list")


def words_of(schema, name):
    """Return the words that a schema allows for an option: all of them are literals."""
    found, left = [], [schema.model_fields[name].annotation]
    while left:
        each = left.pop()
        found += get_args(each) if get_origin(each) is Literal else []
        left += get_args(each) if get_origin(each) is not Literal else []
    return tuple(found)


def test_a_shell_is_offered_what_is_allowed():
    for name, option in ANALYZE.items():
        literals = words_of(AnalyzeConfig, name)
        assert not literals or option.choices == literals, name
    assert completions("export", "--format", "") == list(WRITERS)
    assert completions("compare", "--std", "") == list(words_of(CompareConfig, "std"))
    assert completions("analyze", "--only", "similarity,pr") == ["similarity,probe"]
    assert completions("exp") == ["export"]


def completions(*words):
    environment = {
        "_FEATURESPACE_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(("featurespace", *words)), "COMP_CWORD": str(len(words)),
    }  # fmt: skip
    code = "from featurespace.cli import app; app(prog_name='featurespace')"
    result = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True)
    return result.stdout.split()
