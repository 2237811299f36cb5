import hashlib
import os

import pytest

from featurespace import files


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    target = files.write_text(tmp_path / "a.txt", "old")

    def fail(path):
        path.write_text("half")
        raise RuntimeError("disk")

    with pytest.raises(RuntimeError, match="disk"):
        files.write_atomic(target, fail)
    assert target.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls, replace = [], os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append(os.fstat(descriptor).st_ino))
    monkeypatch.setattr(os, "replace", lambda *names: calls.append("renamed") or replace(*names))
    files.write_text(tmp_path / "a.txt", "all of it")
    assert calls == [(tmp_path / "a.txt").stat().st_ino, "renamed"]


def test_json_refuses_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_hash_file_is_sha256(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1000)
    assert files.hash_file(tmp_path / "a") == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_hash_value_does_not_depend_on_key_order():
    assert files.hash_value({"a": 1, "b": [2]}) == files.hash_value({"b": [2], "a": 1})
    assert files.hash_value({"a": 1}) != files.hash_value({"a": 2})


@pytest.mark.parametrize("name", ["layer1.0.conv", "a_b-c"])
def test_safe_name_keeps_plain_names(name):
    assert files.safe_name(name) == name


@pytest.mark.parametrize("name", ["../../etc/passwd", "-rf", "a:0", "ü", "", "a/b", "x" * 300 + "/", "x" * 300])
def test_safe_name_is_one_harmless_component(name):
    safe = files.safe_name(name)
    assert "/" not in safe and safe[0] not in ".-" and len(safe) < 120


def test_safe_name_keeps_different_names_apart():
    assert len({files.safe_name(name) for name in ("a:0", "a/0", "a_0", "a 0", "x" * 300, "x" * 301)}) == 6


def test_text_that_is_no_utf_8_is_escaped(tmp_path):
    assert files.write_text(tmp_path / "a", "name \udcff").read_text() == r"name \udcff"
