"""Frames of DICOM files sorted into volumes by their geometry."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from featurespace.data.dicom import Frame, as_number
from featurespace.data.dicom_pixels import DicomPixels
from featurespace.data.scans import NotUsed, Scan, canonical_geometry, canonical_origin

UNSURE = ("US", "XA", "SC", "OT")  # modalities that write into their pictures
TILT = np.cos(np.deg2rad(0.5))
UNEVEN = 0.01  # of the spacing


def scans_of(frames: Sequence[Frame], notes: Counter[str]) -> list[Scan]:
    """Sort frames into volumes.

    A volume is the frames of one series with one orientation and size, in the order of their positions along the normal.
    Where each position occurs as often (echoes, time points), it is as many volumes; a slice that occurs again beside others
    that do not is left out. Frames without a geometry stay together in their file.

    Parameters
    ----------
    notes : what is odd, counted by its text; it is added to
    """
    series: dict[tuple, list[Frame]] = {}
    seen: set[tuple[str, int]] = set()
    for frame in frames:
        instance = frame.header.get("SOPInstanceUID") or frame.path
        if (instance, frame.number) in seen:
            notes["duplicate slices (same SOPInstanceUID) are left out"] += 1
            continue
        seen.add((instance, frame.number))
        series.setdefault(_series(frame), []).append(frame)
    return [
        scan
        for number, each in enumerate(series.values())
        for part, stack in enumerate(_stacks(each, notes))
        for scan in _scan(stack, f"{number}#{part}", notes)
    ]


def _series(frame: Frame) -> tuple:
    header = frame.header
    size = tuple(header.get(name) for name in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"))
    if frame.orientation is None:
        return (frame.path, *size)
    return (
        header.get("SeriesInstanceUID") or os.path.dirname(frame.path),
        *frame.orientation.round(3),
        *size,
    )


def _normal(frame: Frame) -> np.ndarray:
    assert frame.orientation is not None
    across = np.cross(frame.orientation[:3], frame.orientation[3:])
    return across / np.linalg.norm(across)


def _stacks(frames: list[Frame], notes: Counter[str]) -> list[list[Frame]]:
    """Return the frames of each volume of a series, sorted along the normal."""
    if frames[0].orientation is None:
        return [sorted(frames, key=lambda each: each.number)]
    normal = _normal(frames[0])
    places: dict[float, list[Frame]] = {}
    for frame in sorted(frames, key=lambda each: each.order):
        assert frame.position is not None
        places.setdefault(round(float(frame.position @ normal), 3), []).append(frame)
    ordered = [places[place] for place in sorted(places)]
    times = len(ordered[0])
    if times > 1 and all(len(each) == times for each in ordered):
        notes["series hold several volumes (time points, echoes), each taken by itself"] += 1
        return [[each[time] for each in ordered] for time in range(times)]
    repeated = sum(len(each) - 1 for each in ordered)
    if repeated:
        notes["duplicate slices (a place that occurs again) are left out"] += repeated
    return [[each[0] for each in ordered]]


def _scan(frames: list[Frame], part: str, notes: Counter[str]) -> list[Scan]:
    first, header = frames[0], frames[0].header
    affine = _affine(frames)
    try:
        stored = (int(header["Columns"]), int(header["Rows"]), len(frames))
        shape, spacing, stacked = canonical_geometry(stored, affine)
    except NotUsed:
        notes["series whose geometry is singular are left out"] += 1
        return []
    if first.orientation is not None and len(frames) > 1:
        _tell_geometry(frames, notes)
    placed = first.orientation is not None and first.spacing is not None
    burnt = header.get("BurnedInAnnotation", "").upper()
    if burnt == "YES":
        notes["scans say that text is burnt into their pixels (BurnedInAnnotation), which may name a patient"] += 1
    elif burnt != "NO" and header.get("Modality") in UNSURE:
        notes["scans do not say whether text is burnt into their pixels; look before you share figures"] += 1
    names = ("PatientID", "PatientName", "StudyInstanceUID")
    patient = next((header[name] for name in names if name in header), first.path)
    identity = header.get("SeriesInstanceUID") or header.get("SOPInstanceUID") or first.path
    return [
        Scan(
            key=f"{identity}#{header.get('SOPInstanceUID') or first.path}#{part}", patient=patient,
            files=tuple(dict.fromkeys(each.path for each in frames)), shape=shape, stacked=stacked, spacing=spacing,
            load=DicomPixels(tuple((each.path, each.number) for each in frames), affine), modality=header.get("Modality", ""),
            study=header.get("StudyInstanceUID", ""),
            origin=canonical_origin(stored, affine) if placed else None,
            inverted=header.get("PhotometricInterpretation") == "MONOCHROME1", about=_about(header),
        )
    ]  # fmt: skip


def _affine(frames: list[Frame]) -> np.ndarray:
    """Return the affine from (column, row, slice) to millimetres, x towards the patient's right."""
    first, last = frames[0], frames[-1]
    rows, columns = first.spacing or (1.0, 1.0)
    affine = np.eye(4)
    if first.orientation is None or first.position is None or last.position is None:
        affine[:3, :3] = np.diag([columns, rows, 1.0])
    else:
        thickness = as_number(first.header.get("SliceThickness")) or 1.0
        step = (last.position - first.position) / (len(frames) - 1) if len(frames) > 1 else _normal(first) * thickness
        affine[:3, :3] = np.column_stack([first.orientation[:3] * columns, first.orientation[3:] * rows, step])
        affine[:3, 3] = first.position
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM's axes run towards left and back


def _tell_geometry(frames: list[Frame], notes: Counter[str]) -> None:
    positions = np.array([each.position for each in frames])
    normal = _normal(frames[0])
    steps = np.diff(positions @ normal)
    usual = float(np.median(steps))
    gaps = steps / usual
    whole = np.abs(gaps - gaps.round()) <= UNEVEN * gaps.round()
    missing = int((gaps.round() - 1)[whole & (gaps.round() > 1)].sum())
    if missing:
        notes["slices are missing within their volumes"] += missing
    if not whole.all():
        notes["volumes have slices at uneven distances, and are taken as if they were even"] += 1
    direction = positions[-1] - positions[0]
    if abs(direction @ normal) < TILT * np.linalg.norm(direction):
        notes["volumes are sheared (gantry tilt): other axes than the acquired one are oblique"] += 1


def _about(header: Mapping[str, str]) -> dict[str, str]:
    """Return what the samples table tells of device and patient; ages of 90 and more are 90, as privacy rules ask."""
    age = header.get("PatientAge", "")
    years = age[:-1] if age[-1:].upper() == "Y" and age[:-1].isdecimal() else ""
    if age[-1:].upper() in ("M", "W", "D") and age[:-1].isdecimal():
        years = str(int(int(age[:-1]) / {"M": 12, "W": 52.18, "D": 365.25}[age[-1].upper()]))
    found = {
        "modality": header.get("Modality"), "manufacturer": header.get("Manufacturer"),
        "kernel": header.get("ConvolutionKernel"),
        "slice_thickness": header.get("SliceThickness"), "age": str(min(int(years), 90)) if years else "",
        "sex": header.get("PatientSex"),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}
