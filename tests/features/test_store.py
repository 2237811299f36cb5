import errno
import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest

from featurespace.errors import FeaturespaceError
from featurespace.features import rows
from featurespace.features import store as module
from featurespace.features.store import FeatureStore

KEY = {"weights": "w", "data": "d"}


def samples(n):
    return pd.DataFrame(
        {"id": [f"i{index}" for index in range(n)], "path": "p", "label": "a", "group": None, "split": None}
    )


def create(path, n=6, key=KEY):
    return FeatureStore.create(
        path, key=key, names=("m", "d"), samples=samples(n), widths={"a.0": 2, "x:1": 3}, batch_size=2
    )


def batch(start, rng=None):
    return {"a.0": np.arange(4.0).reshape(2, 2) + start, "x:1": np.ones((2, 3)) * start}


def fill(store, upto=6, bad=None):
    for start in range(store.rows_done, upto, 2):
        store.write(start, batch(start), {row: why for row, why in (bad or {}).items() if start <= row < start + 2})
    return store


def test_what_is_written_is_read(tmp_path):
    fill(create(tmp_path / "s")).finish()
    store = FeatureStore.open(tmp_path / "s", verify=True)
    assert list(store) == ["a.0", "x:1"] and store.rows_done == 6
    np.testing.assert_array_equal(store["a.0"], [[0, 1], [2, 3], [2, 3], [4, 5], [4, 5], [6, 7]])
    assert store["x:1"].dtype == np.float32 and not store["x:1"].flags.writeable
    np.testing.assert_array_equal(np.load(tmp_path / "s" / "layers" / "a.0.npy", mmap_mode="r"), store["a.0"])
    assert store.samples["id"].tolist() == [f"i{index}" for index in range(6)]


def test_an_unknown_layer_names_the_close_one(tmp_path):
    fill(create(tmp_path / "s")).finish()
    with pytest.raises(FeaturespaceError, match="layer 'a.1' is not known .*did you mean 'a.0'"):
        FeatureStore.open(tmp_path / "s")["a.1"]


def test_unfinished_is_not_taken_for_whole(tmp_path):
    store = fill(create(tmp_path / "s"), upto=4)
    store.checkpoint(4)
    with pytest.raises(FeaturespaceError, match=r"unfinished \(4 of 6 rows\); run the same command again"):
        FeatureStore.open(tmp_path / "s")
    assert FeatureStore.matching(tmp_path / "s", KEY) is None


def test_it_resumes_after_the_rows_that_count_and_ends_with_the_same_bits(tmp_path):
    fill(create(tmp_path / "whole")).finish()
    store = fill(create(tmp_path / "s"), upto=2)
    store.checkpoint(2)
    store.write(2, {name: value + 100 for name, value in batch(2).items()})  # written, never counted: then killed
    del store
    resumed = create(tmp_path / "s")
    assert resumed.rows_done == 2
    fill(resumed).finish()
    for name in ("layers/a.0.npy", "samples.parquet", "manifest.json"):
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_resumed_store_keeps_its_batch_boundaries(tmp_path):
    fill(create(tmp_path / "s"), upto=2).checkpoint(2)
    again = FeatureStore.create(
        tmp_path / "s", key=KEY, names=("m", "d"), samples=samples(6), widths={"a.0": 2, "x:1": 3}, batch_size=5
    )
    assert again.rows_done == 2 and again.manifest["batch_size"] == 2


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "samples"])
def test_damage_is_found(tmp_path, damage):
    fill(create(tmp_path / "s")).finish()
    file = tmp_path / "s" / ("samples.parquet" if damage == "samples" else "layers/a.0.npy")
    content = bytearray(file.read_bytes())
    if damage == "delete":
        file.unlink()
    elif damage == "truncate":
        file.write_bytes(content[:-4])
    else:
        content[-1] ^= 1
        file.write_bytes(content)
    assert FeatureStore.matching(tmp_path / "s", KEY) is None
    with pytest.raises(FeaturespaceError, match="delete"):
        FeatureStore.open(tmp_path / "s").verify()


def test_damaged_rows_are_not_resumed(tmp_path):
    fill(create(tmp_path / "s"), upto=4).checkpoint(4)
    rows = np.lib.format.open_memmap(tmp_path / "s" / "layers" / "a.0.npy", mode="r+")
    rows[1, 1] += 1
    rows.flush()
    assert create(tmp_path / "s").rows_done == 0


def test_another_key_replaces_the_store(tmp_path):
    fill(create(tmp_path / "s")).finish()
    assert FeatureStore.matching(tmp_path / "s", {**KEY, "weights": "other"}) is None
    assert create(tmp_path / "s", key={**KEY, "weights": "other"}).rows_done == 0


def test_rows_of_bad_images_are_taken_out(tmp_path):
    fill(create(tmp_path / "s"), bad={1: "broken", 4: "empty"}).finish()
    store = FeatureStore.open(tmp_path / "s", verify=True)
    assert store.samples["id"].tolist() == ["i0", "i2", "i3", "i5"]
    np.testing.assert_array_equal(store["a.0"], [[0, 1], [2, 3], [4, 5], [6, 7]])
    assert [each["id"] for each in store.manifest["bad_images"]] == ["i1", "i4"]
    np.save(tmp_path / "plain.npy", np.array(store["a.0"]))
    assert (tmp_path / "plain.npy").read_bytes() == (tmp_path / "s" / "layers" / "a.0.npy").read_bytes()


@pytest.mark.parametrize("cut", [0, 1])
def test_a_kill_while_files_are_cut_loses_no_row(tmp_path, monkeypatch, cut):
    original, done = module.cut, []

    def killed(*arguments):
        if len(done) == cut:
            raise KeyboardInterrupt
        done.append(original(*arguments))

    fill(create(tmp_path / "whole"), bad={1: "broken"}).finish()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "cut", killed)
        fill(create(tmp_path / "s"), bad={1: "broken"}).finish()
    store = create(tmp_path / "s")
    assert store.rows_done == 6
    store.finish()
    for name in ("layers/a.0.npy", "samples.parquet", "manifest.json"):
        assert (tmp_path / "s" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_blocks_are_reserved_and_a_sparse_copy_is_filled(tmp_path):
    path = tmp_path / "s"
    store = create(path, n=100_000)
    file = path / "layers" / "a.0.npy"
    size = file.stat().st_size
    assert size == 128 + 4 * 2 * 100_000 and 512 * file.stat().st_blocks >= size
    fill(store, upto=4).checkpoint(4)
    content = file.read_bytes()
    with open(file, "r+b") as handle:  # as some copying tools do
        handle.truncate(256)
        handle.truncate(size)
    assert create(path, n=100_000).rows_done == 4
    assert 512 * file.stat().st_blocks >= size and file.read_bytes() == content


@pytest.mark.parametrize("change", [{"model": "other"}, {"rows_done": 4}, {"complete": False}, {"bad_images": [1]}])
def test_a_changed_manifest_is_no_manifest(tmp_path, change):
    fill(create(tmp_path / "s")).finish()
    file = tmp_path / "s" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(FeaturespaceError, match=r"manifest\.json is not what was written; delete"):
        FeatureStore.open(tmp_path / "s")
    assert FeatureStore.matching(tmp_path / "s", KEY) is None and create(tmp_path / "s").rows_done == 0


def test_no_store_and_another_format(tmp_path):
    with pytest.raises(FeaturespaceError, match="holds no feature store"):
        FeatureStore.open(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99}')
    with pytest.raises(FeaturespaceError, match="another format"):
        FeatureStore.open(tmp_path)


def test_a_store_tells_what_it_is(tmp_path):
    fill(create(tmp_path / "s")).finish()
    store = FeatureStore.open(tmp_path / "s")
    assert repr(store) == f"FeatureStore({str(tmp_path / 's')!r}, 6 rows, 2 layers)" and len(store) == 2


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_where_no_blocks_can_be_reserved_the_file_has_its_length_all_the_same(tmp_path, monkeypatch, code):
    def refuse(descriptor, start, size):
        raise OSError(code, "no")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", refuse)
        store = create(tmp_path / "s")
    assert (tmp_path / "s" / "layers" / "a.0.npy").stat().st_size == 128 + 4 * 2 * 6
    fill(store).finish()
    FeatureStore.open(tmp_path / "s", verify=True)


def test_a_full_disk_is_told_before_the_first_row(tmp_path, monkeypatch):
    def full(descriptor, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FeaturespaceError, match=r"a\.0\.npy cannot be written \(No space left on device\); "):
        create(tmp_path / "s")


def test_a_file_that_was_cut_off_is_told(tmp_path):
    fill(create(tmp_path / "s")).finish()
    file = tmp_path / "s" / "layers" / "a.0.npy"
    assert rows.digest_of(file, 2, 0, 6).hexdigest() == hashlib.sha256(file.read_bytes()[128:]).hexdigest()
    with open(file, "r+b") as handle:
        handle.truncate(128 + 4 * 2 * 6 - 5)
    with pytest.raises(ValueError, match="it is 5 bytes too short"):
        rows.digest_of(file, 2, 0, 6)
    with pytest.raises(FeaturespaceError, match=r"a\.0\.npy .*; delete .* and run the same command again"):
        FeatureStore.open(tmp_path / "s", verify=True)
