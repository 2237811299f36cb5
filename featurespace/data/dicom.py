"""DICOM files: their frames, read from the headers through pydicom."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurespace import memory
from featurespace.data.scans import NotUsed, file_size, needed, reason, refuse_bomb

HEADER = (
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID", "PatientName", "Modality",
    "Manufacturer", "ConvolutionKernel", "SliceThickness", "PatientAge", "PatientSex", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "BitsAllocated", "PhotometricInterpretation", "PixelSpacing", "ImagePositionPatient",
    "ImageOrientationPatient", "InstanceNumber", "AcquisitionNumber", "TemporalPositionIdentifier", "EchoTime",
    "BurnedInAnnotation", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
DEFLATED = "1.2.840.10008.1.2.1.99"
COMPRESSED_FROM = "1.2.840.10008.1.2.4", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.7", DEFLATED
RAW_BEGINNINGS = (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02")  # groups 8 and 2, where no preamble is
INFLATED = 1 << 30  # bytes of a deflated file that are unpacked
NO_PICTURES = ("SEG", "RTDOSE")  # their pixels are masks and doses


@dataclass(frozen=True)
class Frame:
    """One slice: where it is stored, and where it lies in the patient (None in pictures without geometry)."""

    path: str
    number: int
    header: Mapping[str, str]  # what its header tells, without what is empty
    order: tuple[float, ...]
    position: np.ndarray | None
    orientation: np.ndarray | None
    spacing: tuple[float, float] | None


def looks_like_dicom(path: str) -> bool:
    """Whether a file begins as DICOM files do, with or without their preamble."""
    with open(path, "rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or (len(start) == 132 and start[:2] in RAW_BEGINNINGS and start[2:4] != b"\xff\xff")


def read_frames(path: str) -> list[Frame]:
    """Return the frames of a DICOM file; pixels are not decoded.

    Raises
    ------
    NotUsed
        it holds no image, is truncated, or declares more than its file can hold
    """
    needed("reading DICOM", "monai", "pydicom")
    size = file_size(path)
    header, syntax, before = _header(path)
    kind = str(header.get("Modality") or "of unknown modality")[:16]
    if kind in NO_PICTURES:
        raise NotUsed(f"DICOM of what is no picture ({kind})")
    if not header.get("Rows") or not header.get("Columns"):
        raise NotUsed(f"DICOM without an image ({kind if kind.isalnum() else 'of unknown modality'})")
    try:
        count = int(header.get("NumberOfFrames") or 1)
        bits = int(header.Rows) * int(header.Columns) * int(header.SamplesPerPixel) * int(header.BitsAllocated)
        if before >= size:
            raise NotUsed(f"DICOM without pixels ({kind if kind.isalnum() else 'of unknown modality'})")
        if "422" in str(header.get("PhotometricInterpretation")):
            bits = bits * 2 // 3  # two pixels share their colour
        if bits > 0:
            packed = syntax.startswith(COMPRESSED_FROM)
            refuse_bomb(bits * max(count, 1) // 8, size if packed else size - before, compressed=packed)
        about = _texts(header)
        frames = [_frame(path, number, header, about) for number in range(count)]
    except NotUsed:
        raise
    except Exception as error:  # of a damaged header any element may be missing, empty or of another kind
        raise NotUsed(f"DICOM with a damaged header ({reason(error)})") from None
    if bits <= 0 or not frames:
        raise NotUsed("its header declares no pixels")
    return frames


def _header(path: str) -> tuple[Any, str, int]:
    """Return what of a header is needed, the transfer syntax, and the bytes before the pixels (0 where deflated)."""
    import pydicom

    try:
        with open(path, "rb") as file:
            if file.read(132)[128:] == b"DICM":
                meta = pydicom.filereader.read_file_meta_info(path)
                if str(meta.get("TransferSyntaxUID", "")) == DEFLATED:
                    _refuse_inflated(path, 144 + int(meta.FileMetaInformationGroupLength))
            file.seek(0)
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=list(HEADER))
            before = file.tell()
        for _ in header:  # elements are converted when they are first asked for
            pass
    except NotUsed:
        raise
    except Exception as error:  # of a broken file pydicom raises anything
        memory.pass_on(error, f"reading {path}")
        raise NotUsed(f"DICOM with a damaged header ({reason(error)})") from None
    syntax = str(getattr(header, "file_meta", {}).get("TransferSyntaxUID", ""))
    return header, syntax, 0 if syntax == DEFLATED else before


def _refuse_inflated(path: str, offset: int) -> None:
    """Raise NotUsed where a deflated file unpacks to more than fits; read in pieces, none of which is kept."""
    import psutil

    limit, total, unpacker = psutil.virtual_memory().available // 4, 0, zlib.decompressobj(-zlib.MAX_WBITS)
    with open(path, "rb") as file:
        file.seek(offset)
        while piece := file.read(1 << 16):
            while piece:
                total += len(unpacker.decompress(piece, 1 << 20))
                piece = unpacker.unconsumed_tail
                if total > limit or total > INFLATED:
                    raise NotUsed("deflated, and unpacks to more than fits into memory")


def _texts(header: Any) -> dict[str, str]:
    """Return the elements of a header that have a value as text, several values with / between them.

    A Dataset takes twenty times the memory, and asking it takes most of the time of reading a series.
    """
    found = {}
    for element in header:
        several = not isinstance(element.value, str) and element.VM > 1
        text = "/".join(map(str, element.value)) if several else str(element.value if element.value is not None else "")
        if element.VR != "SQ" and text.strip():
            found[element.keyword] = text.strip()
    return found


def _frame(path: str, number: int, header: Any, about: Mapping[str, str]) -> Frame:
    groups = _groups(header, number)
    position = _numbers(_within(groups, "PlanePositionSequence", header, "ImagePositionPatient"), 3)
    orientation = _numbers(_within(groups, "PlaneOrientationSequence", header, "ImageOrientationPatient"), 6)
    spacing = _numbers(_within(groups, "PixelMeasuresSequence", header, "PixelSpacing"), 2)
    if position is None or orientation is None or not np.linalg.norm(np.cross(orientation[:3], orientation[3:])):
        position = orientation = None
    order = tuple(
        as_number(about.get(name))
        for name in ("EchoTime", "TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber")
    )
    between = None if spacing is None or not (spacing > 0).all() else (float(spacing[0]), float(spacing[1]))
    return Frame(path, number, about, (*order, number), position, orientation, between)


def _groups(header: Any, number: int) -> list[Any]:
    """Return the functional groups of a frame, its own before the shared ones."""
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    return [*([own[number]] if own and number < len(own) else []), *([shared[0]] if shared else [])]


def _within(groups: list[Any], sequence: str, header: Any, name: str) -> Any:
    for group in groups:
        items = group.get(sequence)
        if items and items[0].get(name) is not None:
            return items[0].get(name)
    return header.get(name)


def _numbers(values: Any, count: int) -> np.ndarray | None:
    if values is None or isinstance(values, str) or len(values) != count:
        return None
    numbers = np.array([float(each) for each in values])
    return numbers if np.isfinite(numbers).all() else None


def as_number(value: Any) -> float:
    """Return an element of a header as a number, 0 where it is missing or none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
