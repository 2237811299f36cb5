"""Checkpoints that are damaged or made to do harm end in an error, in bounded time and memory."""

import io
import struct
import subprocess
import sys
import tarfile
import time
import zipfile

import pytest
import torch

from featurespace.errors import FeaturespaceError
from featurespace.models import read_tensors

STATE = {"a": torch.arange(1000.0), "b": torch.ones(3)}


@pytest.fixture
def entries(tmp_path):
    """The entries of a checkpoint, by name."""
    torch.save(STATE, tmp_path / "good.pt")
    with zipfile.ZipFile(tmp_path / "good.pt") as archive:
        return {entry.filename: archive.read(entry) for entry in archive.infolist()}


def write(path, entries, how=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_a_compressed_checkpoint_reads_the_same_weights(tmp_path, entries):
    """Mapped into memory, the compressed bytes would be taken for weights."""
    found = read_tensors(write(tmp_path / "x.pt", entries, zipfile.ZIP_DEFLATED)).tensors
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_without_checksums_a_checkpoint_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "x.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert torch.equal(read_tensors(tmp_path / "x.pt").tensors["a"], STATE["a"])


@pytest.mark.parametrize("name", ["../../x", "good/../../x", "/etc/x", "C:\\x", "good\\..\\..\\x"])
def test_names_that_lead_out_of_the_archive(tmp_path, entries, name):
    with pytest.raises(FeaturespaceError, match="made to do harm.*leads out of it"):
        read_tensors(write(tmp_path / "x.pt", {**entries, name: b"x"}))
    assert not (tmp_path.parent / "x").exists()


def test_a_link_in_an_archive(tmp_path, entries):
    link = zipfile.ZipInfo("good/data/9")
    link.external_attr = 0o120777 << 16
    path = write(tmp_path / "x.pt", entries)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(FeaturespaceError, match="is a link"):
        read_tensors(path)


def test_a_flipped_bit_of_a_weight_is_found(tmp_path, entries):
    path = tmp_path / "good.pt"
    content = bytearray(path.read_bytes())
    content[content.index(entries["good/data/0"]) + 2001] ^= 4
    path.write_bytes(content)
    with pytest.raises(FeaturespaceError, match="damaged.*Bad CRC.*good/data/0"):
        read_tensors(path)


def changed_directory(content, name, *, offset, value, form="<I"):
    """Change a field of an entry in the central directory of an archive."""
    content, start = bytearray(content), 0
    while True:
        start = content.index(b"PK\x01\x02", start)
        if content[start + 46 : start + 46 + len(name)] == name:
            content[start + offset : start + offset + struct.calcsize(form)] = struct.pack(form, value)
            return bytes(content)
        start += 4


def test_a_size_that_is_declared_and_not_there(tmp_path, entries):
    path = write(tmp_path / "x.pt", entries)
    path.write_bytes(changed_directory(path.read_bytes(), b"good/data/0", offset=24, value=1 << 31))
    with pytest.raises(FeaturespaceError, match="declares 2,147,483,648 bytes and has 4,000"):
        read_tensors(path)


def test_entries_that_overlap(tmp_path, entries):
    path = write(tmp_path / "x.pt", entries)
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("good/data/0").header_offset
    path.write_bytes(changed_directory(path.read_bytes(), b"good/data/1", offset=42, value=place))
    with pytest.raises(FeaturespaceError, match="overlaps|damaged"):
        read_tensors(path)


def test_an_entry_that_is_there_twice(tmp_path, entries):
    path = write(tmp_path / "x.pt", entries)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning):
        archive.writestr("good/data/0", b"x" * 4000)
    with pytest.raises(FeaturespaceError, match="'good/data/0' is there twice"):
        read_tensors(path)


def test_encrypted_and_oddly_compressed_archives(tmp_path, entries):
    path = write(tmp_path / "x.pt", entries)
    path.write_bytes(changed_directory(path.read_bytes(), b"good/data/0", offset=8, value=1, form="<H"))
    with pytest.raises(FeaturespaceError, match="is encrypted"):
        read_tensors(path)
    with pytest.raises(FeaturespaceError, match="compressed in a way torch does not read"):
        read_tensors(write(tmp_path / "y.pt", entries, zipfile.ZIP_LZMA))


def test_other_archives_are_told_apart(tmp_path, entries):
    write(tmp_path / "x.zip", {"weights.pt": b"x"})
    with pytest.raises(FeaturespaceError, match=r"zip archive without a checkpoint .*it holds weights.pt.*unpack it"):
        read_tensors(tmp_path / "x.zip")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for index in range(5):
            archive.add(tmp_path / "good.pt", f"run/{index}\x1b[31m.pt")
    with pytest.raises(FeaturespaceError, match=r"is a tar archive \(holding run/0.*, \.\.\.\).*tar -xf") as told:
        read_tensors(tmp_path / "x.tar")
    assert "\x1b" not in str(told.value)
    (tmp_path / "x.tar").write_bytes((tmp_path / "good.pt").read_bytes())  # as published: torch.save named it .pth.tar
    assert torch.equal(read_tensors(tmp_path / "x.tar").tensors["a"], STATE["a"])


@pytest.mark.parametrize(
    ("start", "message"),
    [(b"\x1f\x8b", "gunzip"), (b"BZh9", "bunzip2"), (b"\xfd7zXZ\0", "unxz"), (b"\x89HDF\r\n", "HDF5 file, as Keras")],
)
def test_compressed_files_name_what_unpacks_them(tmp_path, start, message):
    (tmp_path / "x.pt").write_bytes(start + bytes(300))
    with pytest.raises(FeaturespaceError, match=message):
        read_tensors(tmp_path / "x.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_one_value_seen_as_a_million_million(tmp_path, zipped):
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(FeaturespaceError, match="declares tensors of 4,000,000,000,000 bytes and holds"):
        read_tensors(tmp_path / "x.pt")
    torch.save({"a": torch.zeros(1).expand(8, 8)}, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert read_tensors(tmp_path / "x.pt").tensors["a"].shape == (8, 8)


def test_many_tensors_that_show_the_same_bytes(tmp_path):
    values = torch.zeros(1 << 20)
    torch.save({str(index): values[: 1 << 20] for index in range(64)}, tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match="declares tensors of 268,435,456 bytes"):
        read_tensors(tmp_path / "x.pt")
    torch.save({"tied": values, "too": values}, tmp_path / "x.pt")
    assert read_tensors(tmp_path / "x.pt").tensors.keys() == {"tied", "too"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (torch.empty(10, device="meta"), "meta"),
        (torch.eye(3).to_sparse(), "sparse_coo"),
        (torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantised"),
    ],
)
def test_tensors_that_are_not_dense(tmp_path, value, kind):
    torch.save({"a": torch.ones(2), "b": value}, tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match=f"quantised, sparse or without values .*{kind}.*save dense weights"):
        read_tensors(tmp_path / "x.pt")


def test_mappings_that_multiply(tmp_path):
    """Six mappings, a hundred references each: the file has kilobytes, a walk through it a million million steps."""
    value = {str(index): torch.ones(1) for index in range(100)}
    for _ in range(5):
        value = {str(index): value for index in range(100)}
    torch.save(value, tmp_path / "x.pt")
    with pytest.raises(FeaturespaceError, match="refers to itself more than 5,000,000 times"):
        read_tensors(tmp_path / "x.pt")
    value = {"a": torch.ones(1)}
    value["self"] = value
    torch.save(value, tmp_path / "x.pt")
    assert read_tensors(tmp_path / "x.pt").tensors["a"] == 1


def test_attributes_of_a_tensor_do_not_shadow_its_methods(tmp_path):
    value = torch.ones(2)
    value.detach = value.numel = value.shape_ = "x"
    torch.save({"a": value}, tmp_path / "x.pt")
    assert torch.equal(read_tensors(tmp_path / "x.pt").tensors["a"], torch.ones(2))


def bombs(tmp_path, entries):
    zeros = io.BytesIO()
    with zipfile.ZipFile(zeros, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            if name != "good/data/0":
                archive.writestr(name, content)
        with archive.open("good/data/0", "w", force_zip64=True) as entry:
            for _ in range(128):
                entry.write(bytes(1 << 20))
    (tmp_path / "zip.pt").write_bytes(zeros.getvalue())
    liar = write(tmp_path / "liar.pt", entries, zipfile.ZIP_DEFLATED)
    liar.write_bytes(changed_directory(liar.read_bytes(), b"good/data/0", offset=24, value=0xFFFFFFF0))
    torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, tmp_path / "view.pt")
    torch.save(STATE, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    content = (tmp_path / "legacy.pt").read_bytes()
    declared = b"cpu" + content.split(b"cpu", 1)[1][:8]
    big = declared.replace(struct.pack("<H", 1000), struct.pack("<H", 65535))
    (tmp_path / "legacy.pt").write_bytes(content.replace(declared, big, 1))
    header = b'{"a": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}'
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(64))
    (tmp_path / "y.safetensors").write_bytes((1 << 40).to_bytes(8, "little") + bytes(64))
    return ["zip.pt", "liar.pt", "view.pt", "legacy.pt", "x.safetensors", "y.safetensors"]


def test_what_declares_to_unpack_to_too_much_is_refused(tmp_path, entries):
    path = write(tmp_path / "x.pt", entries, zipfile.ZIP_DEFLATED)
    path.write_bytes(changed_directory(path.read_bytes(), b"good/data/0", offset=24, value=0xFFFFFFF0))
    message = (
        r"made to do harm: it declares 4,294,9\d\d,\d\d\d bytes in a file of \d,\d\d\d; take it from its source again"
    )
    with pytest.raises(FeaturespaceError, match=message):
        read_tensors(path)


def test_what_unpacks_to_more_than_memory_is_refused(tmp_path, entries, monkeypatch):
    path = write(tmp_path / "x.pt", entries, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Little", (), {"available": 1000}))
    message = r"x\.pt unpacks to 0\.0 GiB, and 0\.0 GiB of memory are free; save it without compression"
    with pytest.raises(FeaturespaceError, match=message):
        read_tensors(path)


def test_a_tar_archive_that_is_cut_off_says_what_of_it_can_be_read(tmp_path):
    for name in "ab":
        (tmp_path / name).write_bytes(bytes(2000))  # four blocks, behind one of the header
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in "ab":
            archive.add(tmp_path / name, name)
    whole = (tmp_path / "x.tar").read_bytes()
    for length, held in ((3 * 512, "a"), (512, "nothing that can be read")):
        (tmp_path / "x.tar").write_bytes(whole[:length])
        with pytest.raises(FeaturespaceError, match=rf"is a tar archive \(holding {held}\).*unpack it with tar -xf"):
            read_tensors(tmp_path / "x.tar")


READ_ALL = """
import resource, sys, time
from featurespace.errors import FeaturespaceError
from featurespace.models import read_tensors
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (300 << 20),) * 2)
for path in sys.argv[1:]:
    start = time.perf_counter()
    try:
        read_tensors(path)
    except FeaturespaceError as error:
        print(f"{time.perf_counter() - start:.3f} {error}")
"""


@pytest.mark.slow
def test_bombs_are_refused_in_little_time_and_memory(tmp_path, entries):
    paths = [str(tmp_path / name) for name in bombs(tmp_path, entries)]
    done = subprocess.run([sys.executable, "-c", READ_ALL, *paths], capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == len(paths), done.stdout + done.stderr[-2000:]
    assert all(float(line.split()[0]) < 2 for line in lines), lines


def test_a_good_file_is_read_at_once(tmp_path):
    torch.save({"a": torch.randn(5_000_000)}, tmp_path / "x.pt")
    start = time.perf_counter()
    read_tensors(tmp_path / "x.pt")
    assert time.perf_counter() - start < 2
