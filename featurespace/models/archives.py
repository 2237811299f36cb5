"""What kind of file a checkpoint is, told by its first bytes, and whether a zip archive is one to be opened."""

from __future__ import annotations

import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

import psutil

from featurespace.errors import FeaturespaceError

SMALL = 1 << 26  # bytes that are always unpacked, however well they are compressed
MAX_RATIO = 100  # trained weights hardly shrink; deflate reaches 1032 on zeros
CHUNK = 1 << 20
_OTHERS = {
    b"\x1f\x8b": "compressed with gzip; unpack it with gunzip",
    b"BZh": "compressed with bzip2; unpack it with bunzip2",
    b"\xfd7zXZ": "compressed with xz; unpack it with unxz",
    b"\x28\xb5\x2f\xfd": "compressed with zstd; unpack it with unzstd",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it",
    b"\x89HDF": "an HDF5 file, as Keras writes them, and cannot be read; convert it to a state_dict of torch",
}


def check_kind(path: Path) -> bool:
    """Return whether a file is a zip archive, as torch.save writes them; False for pickles, which are older.

    Raises
    ------
    FeaturespaceError
        for anything else, with what it is instead
    """
    with open(path, "rb") as handle:
        start = handle.read(512)
    if start.startswith(b"PK"):
        return True
    if start[257:262] == b"ustar":
        raise FeaturespaceError(
            f"{path} is a tar archive (holding {_tar_names(path)}), not a checkpoint; unpack it with tar -xf and name "
            "the file in it"
        )
    if start.startswith(b"\x80"):
        return False
    for magic, kind in _OTHERS.items():
        if start.startswith(magic):
            raise FeaturespaceError(f"{path} is no checkpoint: it is {kind}")
    kind = "a text file" if start.isascii() and b"\x00" not in start else "no checkpoint"
    hint = " (a Git LFS pointer: run `git lfs pull`)" if start.startswith(b"version https://git-lfs") else ""
    raise FeaturespaceError(
        f"{path} is {kind}{hint}, not something that torch.save or safetensors wrote; name the checkpoint itself"
    )


def check_zip(path: Path) -> tuple[int, bool]:
    """Return the bytes that an archive unpacks to and whether any of them are compressed.

    Names, places and sizes of the entries are looked at before anything is unpacked, then every checksum is. One of
    zero is what torch writes where it was told not to compute any, and is passed over.

    Raises
    ------
    FeaturespaceError
        for an archive that is damaged, holds no checkpoint, or is made to do harm
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_content(path, [entry.filename for entry in entries])
            for entry in entries:
                _check_entry(path, entry)
            _check_places(path, entries, archive.start_dir)
            total, packed = sum(entry.file_size for entry in entries), any(entry.compress_type for entry in entries)
            _check_size(path, total)
            for entry in entries:
                if entry.CRC:
                    with archive.open(entry) as content:
                        while content.read(CHUNK):
                            pass
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise FeaturespaceError(
            f"checkpoint {path} ({path.stat().st_size} bytes) is cut off or damaged ({error}); copy it again and "
            "compare its size or hash"
        ) from error
    return total, packed


def _check_content(path: Path, names: list[str]) -> None:
    inner = {name.partition("/")[2] for name in names}
    if "data.pkl" not in inner:
        shown = ", ".join(names[:3]) or "nothing"
        raise FeaturespaceError(
            f"{path} is a zip archive without a checkpoint of torch.save in it (it holds {shown}); unpack it and name "
            "the file itself"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise _harmful(path, f"the entry {twice!r} is there twice")


def _check_entry(path: Path, entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    parts = {*PurePosixPath(name).parts, *PureWindowsPath(name).parts}
    if ".." in parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise _harmful(path, f"the entry {name!r} leads out of it")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise _harmful(path, f"the entry {name!r} is a link")
    if entry.flag_bits & 1:
        raise FeaturespaceError(f"{path} is encrypted; unpack it with its password, and save the weights again")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FeaturespaceError(f"{path} is compressed in a way torch does not read; unpack it and zip it with -0")
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        raise _harmful(path, f"the entry {name!r} declares {entry.file_size:,} bytes and has {entry.compress_size:,}")


def _check_places(path: Path, entries: list[zipfile.ZipInfo], end: int) -> None:
    """Raise where two entries share bytes, by which a small archive can unpack to a huge one."""
    ordered = sorted(entries, key=lambda entry: entry.header_offset)
    starts = [entry.header_offset for entry in ordered[1:]] + [end]
    for entry, limit in zip(ordered, starts):
        if entry.header_offset + 30 + len(entry.filename) + entry.compress_size > limit:
            raise _harmful(path, f"the entry {entry.filename!r} overlaps the next one")


def _check_size(path: Path, total: int) -> None:
    size = path.stat().st_size
    if total > SMALL and total > MAX_RATIO * size:
        raise _harmful(path, f"it declares {total:,} bytes in a file of {size:,}")
    free = psutil.virtual_memory().available
    if total > size and total > free:
        raise FeaturespaceError(
            f"checkpoint {path} unpacks to {total / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB of memory are free; "
            "save it without compression"
        )


def _harmful(path: Path, why: str) -> FeaturespaceError:
    return FeaturespaceError(f"checkpoint {path} is damaged or made to do harm: {why}; take it from its source again")


def _tar_names(path: Path) -> str:
    names: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                names.append(member.name)
                if len(names) == 4:
                    break
    except (tarfile.TarError, OSError, ValueError):  # cut off, perhaps; what was read stands
        pass
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") if names else "nothing that can be read"
