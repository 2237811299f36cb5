"""Tables, arrays and configurations that are cut off or flipped are read or refused, never a traceback."""

import random
import time

import numpy as np
import pandas as pd
import pytest

from featurespace.config import AnalyzeConfig, read_config
from featurespace.data.arrays import open_npz
from featurespace.data.manifests import open_manifest
from featurespace.errors import FeaturespaceError
from featurespace.features.table import read_feature_table
from featurespace.yaml_files import read_yaml

YAML = (
    "models: [a=resnet18@random, 'b=resnet18@random']\ndata:\n  - x=images\nlayers: stages\nseed: 3\ncontrol: false\n"
)


def written(folder, kind):
    table = pd.DataFrame(
        {"id": [f"{i}" for i in range(30)], "path": [f"{i}.png" for i in range(30)], "f": np.arange(30.0)}
    )
    path = folder / f"x.{kind}"
    if kind == "npz":
        np.savez_compressed(path, images=np.zeros((30, 4, 4), np.uint8), label=np.array(["a", "b"] * 15))
    elif kind == "parquet":
        table.to_parquet(path)
    elif kind == "csv":
        table.to_csv(path, index=False)
    else:
        path.write_text(YAML)
    return path


def changed(content, draw):
    content = bytearray(content)
    for _ in range(draw.choice([1, 2, 5])):
        place = draw.randrange(len(content))
        if draw.random() < 0.5:
            content[place] ^= 1 << draw.randrange(8)
        else:
            content[place : place + draw.choice([1, 4])] = draw.randbytes(draw.choice([0, 1, 8]))
    return bytes(content[: draw.randrange(len(content) + 1)] if draw.random() < 0.2 else content)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("npz", lambda path: open_npz("x", path)),
        ("parquet", lambda path: open_manifest("x", path)),
        ("csv", lambda path: open_manifest("x", path)),
        ("csv", lambda path: read_feature_table("x", str(path), path)),
        ("parquet", lambda path: read_feature_table("x", str(path), path)),
        ("yaml", lambda path: read_config(path)),
        ("yaml", lambda path: read_yaml(path, AnalyzeConfig)),
    ],
)
def test_damaged_files_are_read_or_refused(tmp_path, kind, read):
    path = written(tmp_path, kind)
    content, draw, slowest, refused = path.read_bytes(), random.Random(0), 0.0, 0
    (tmp_path / "0.png").write_bytes(b"")
    for _ in range(150):
        path.write_bytes(changed(content, draw))
        start = time.perf_counter()
        try:
            read(path)
        except FeaturespaceError:
            refused += 1
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < 2 and refused > 5


def test_a_yaml_bomb_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (tmp_path / "x.yaml").write_text("\n".join(lines))
    with pytest.raises(FeaturespaceError, match="aliases .* are not allowed"):
        read_config(tmp_path / "x.yaml")
    (tmp_path / "y.yaml").write_text("models: !!python/object/apply:os.system ['touch ran']\n")
    with pytest.raises(FeaturespaceError, match="cannot be read as YAML"):
        read_config(tmp_path / "y.yaml")
