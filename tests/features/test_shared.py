"""A store that several processes fill; here one process plays all of them."""

import json

import numpy as np
import pandas as pd
import pytest

from featurespace import distributed
from featurespace.errors import FeaturespaceError
from featurespace.features.shared import Part, close_shared, open_shared
from featurespace.features.store import FeatureStore

KEY = {"of": "test"}
ROWS, BATCH, WIDTHS = 23, 4, {"a": 3, "b": 1}


@pytest.fixture
def features(rng):
    return {name: rng.normal(size=(ROWS, width)).astype(np.float32) for name, width in WIDTHS.items()}


@pytest.fixture
def samples():
    ids = [f"i{row}" for row in range(ROWS)]
    return pd.DataFrame(
        {"id": ids, "path": ids, "label": None, "group": None, "split": None, "domain": "x"}, dtype="string"
    )


def begun(path, samples):
    return FeatureStore.create(path, key=KEY, names=("m", "x"), samples=samples, widths=WIDTHS, batch_size=BATCH)


def part_of(monkeypatch, path, samples, rank, size):
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(size))
    return Part(open_shared(path), samples)


def fill(part, features, bad=(), until=None):
    for start in range(part.done, part.stop, BATCH):
        if until is not None and start >= until:
            break
        rows = slice(start, min(start + BATCH, part.stop))
        reasons = {row: "broken" for row in bad if rows.start <= row < rows.stop}
        part.write(start, {name: each[rows] for name, each in features.items()}, reasons)
    part.checkpoint()
    return part.state()


def written(tmp_path, monkeypatch, samples, features, size, bad=()):
    path = tmp_path / f"by{size}"
    begun(path, samples)
    states = [fill(part_of(monkeypatch, path, samples, rank, size), features, bad) for rank in range(size)]
    close_shared(open_shared(path), samples, states)
    return path


@pytest.mark.parametrize("size", [2, 3, 9])
@pytest.mark.parametrize("bad", [(), (0, 7, 22)])
def test_the_files_are_those_of_one_process(tmp_path, monkeypatch, samples, features, size, bad):
    alone = begun(tmp_path / "alone", samples)
    for start in range(0, ROWS, BATCH):
        rows = slice(start, start + BATCH)
        alone.write(start, {name: each[rows] for name, each in features.items()},
                    {row: "broken" for row in bad if rows.start <= row < rows.stop})  # fmt: skip
    alone.finish()
    path = written(tmp_path, monkeypatch, samples, features, size, bad)
    files = sorted(each.relative_to(path) for each in path.rglob("*") if each.is_file())
    assert files == sorted(
        each.relative_to(tmp_path / "alone") for each in (tmp_path / "alone").rglob("*") if each.is_file()
    )
    for each in files:
        assert (path / each).read_bytes() == (tmp_path / "alone" / each).read_bytes(), each
    FeatureStore.open(path, verify=True)


def test_each_process_has_whole_batches_and_all_have_all_rows(tmp_path, monkeypatch, samples):
    begun(tmp_path / "s", samples)
    ends = [0]
    for rank in range(4):
        part = part_of(monkeypatch, tmp_path / "s", samples, rank, 4)
        assert part.start == ends[-1] and part.start % BATCH == 0
        ends.append(part.stop)
    assert ends[-1] == ROWS


def test_a_killed_process_goes_on_where_it_was(tmp_path, monkeypatch, samples, features):
    begun(tmp_path / "s", samples)
    fill(part_of(monkeypatch, tmp_path / "s", samples, 1, 2), features, bad=(14,), until=16)
    part = part_of(monkeypatch, tmp_path / "s", samples, 1, 2)
    assert (part.start, part.done) == (12, 16) and [image["row"] for image in part.bad] == [14]
    fill(part, features)
    assert part.state()["layers"] == fill_anew(tmp_path, monkeypatch, samples, features)["layers"]


def fill_anew(tmp_path, monkeypatch, samples, features):
    begun(tmp_path / "anew", samples)
    return fill(part_of(monkeypatch, tmp_path / "anew", samples, 1, 2), features, bad=(14,))


@pytest.mark.parametrize("damage", ["row", "state", "other share", "other key", "shorter", "no object"])
def test_rows_that_are_not_what_was_written_are_made_again(tmp_path, monkeypatch, samples, features, damage):
    path = tmp_path / "s"
    begun(path, samples)
    fill(part_of(monkeypatch, path, samples, 0, 2), features)
    state, layer = path / "parts/0-of-2.json", path / "layers/a.npy"
    size = 2
    if damage == "row":
        content = bytearray(layer.read_bytes())
        content[140] ^= 1
        layer.write_bytes(content)
    elif damage == "state":
        state.write_text(json.dumps(json.loads(state.read_text()) | {"done": 8}))
    elif damage == "other share":
        size = 5
        state.rename(path / "parts/0-of-5.json")
    elif damage == "other key":
        other = FeatureStore.create(
            path, key={"of": "other"}, names=("m", "x"), samples=samples, widths=WIDTHS, batch_size=BATCH
        )
        assert other.rows_done == 0
    elif damage == "shorter":
        layer.write_bytes(layer.read_bytes()[:140])
    else:
        state.write_text("[]")
    part = part_of(monkeypatch, path, samples, 0, size)
    assert part.done == part.start == 0 and not part.bad


def test_numbers_that_are_none_are_counted_but_not_those_of_unreadable_images(tmp_path, monkeypatch, samples, features):
    features["a"][[3, 9, 20]] = np.nan
    path = written(tmp_path, monkeypatch, samples, features, 2, bad=(9,))
    assert {layer["name"]: layer["nonfinite"] for layer in FeatureStore.open(path).manifest["layers"]} == {
        "a": 2,
        "b": 0,
    }


def test_a_process_that_does_not_see_the_files_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("featurespace.features.shared.time.sleep", lambda seconds: None)
    with pytest.raises(
        FeaturespaceError, match="does not see .*the first process.*file system that all machines share"
    ):
        open_shared(tmp_path / "nowhere")


def test_alone_nothing_is_asked_of_others(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "8")  # without a rank nobody has started us
    assert (distributed.size(), distributed.rank(), distributed.local_rank()) == (1, 0, 0)
    array = np.arange(3.0)
    assert distributed.total([array])[0] is array and distributed.told("x") == "x" and distributed.gathered(1) == [1]
    with distributed.processes():
        assert distributed.together(lambda: 5) == 5
