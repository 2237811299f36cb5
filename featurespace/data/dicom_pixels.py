"""The pixels of DICOM frames, decoded by whatever plugin of pydicom can."""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurespace import memory
from featurespace.data.nifti import exact_float
from featurespace.data.scans import NotUsed, canonical

JPEG_12_BIT_AND_LOSSLESS = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
RLE = "1.2.840.10008.1.2.5"
SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xF7})  # segments of JPEG and JPEG-LS that hold rows and columns
LARGER = 4  # times the header's pixels that a frame may have; decoders refuse the rest by themselves
IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


@dataclass(frozen=True)
class DicomPixels:
    """Decodes the frames of a volume when it is called, into (x, y, z[, 3]) values in canonical orientation.

    A frame that cannot be decoded is NaN; where none can, the first frame's error is raised.

    Attributes
    ----------
    places : (path, number) of each frame
    affine : (4, 4), from (column, row, slice) to millimetres
    """

    places: tuple[tuple[str, int], ...]
    affine: np.ndarray

    def __call__(self) -> np.ndarray:
        """Return the values."""
        planes: list[np.ndarray | None] = []
        problem: Exception | None = None
        path, header = "", None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values of the header
            for file, number in self.places:
                try:
                    if file != path:
                        path, header = file, _read(file)
                    planes.append(frame_values(header, number))
                except Exception as error:  # of damaged pixels the decoders raise anything
                    memory.pass_on(error, f"reading {file}")
                    planes.append(None)
                    problem = problem or error
        shapes = {each.shape for each in planes if each is not None}
        if problem is not None and not shapes:
            raise problem
        shape = max(shapes)
        dtype = np.result_type(*(each for each in planes if each is not None))
        volume = np.full((len(planes), *shape), np.nan, dtype)
        for index, each in enumerate(planes):
            if each is not None and each.shape == shape:
                volume[index] = each
        return canonical(volume.swapaxes(0, 2), self.affine)


def _read(path: str) -> Any:
    import pydicom
    from monai.data.image_reader import PydicomReader

    header: Any = PydicomReader(force=True).read(path)
    if "TransferSyntaxUID" not in header.file_meta:  # a file without preamble
        implicit, little = header.original_encoding
        header.file_meta.TransferSyntaxUID = pydicom.uid.UID(
            IMPLICIT if implicit else EXPLICIT if little else BIG_ENDIAN
        )
    return header


def frame_values(header: Any, number: int) -> np.ndarray:
    """Return (rows, columns) values of a frame after slope and intercept, or (rows, columns, 3) colours in 0..255."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    _refuse_larger(header, number)
    stored = pixel_array(header, index=number, decoding_plugin=_plugin(header.file_meta.TransferSyntaxUID))
    if header.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, header)[..., :3]
        return (stored * np.float32(255 / np.iinfo(stored.dtype).max)).astype(np.float32)
    if stored.ndim == 3:
        return (stored * np.float32(255 / (2 ** int(header.BitsStored) - 1))).astype(np.float32)
    if "ModalityLUTSequence" in header:
        return exact_float(np.asarray(apply_modality_lut(stored, header)))
    slope, intercept = _rescale(header, number)
    return exact_float(stored if (slope, intercept) == (1.0, 0.0) else stored * slope + intercept)


def _refuse_larger(header: Any, number: int) -> None:
    """Raise NotUsed where a JPEG or JPEG 2000 frame is larger than its header says, before a decoder makes room for it."""
    from pydicom.encaps import get_frame

    if not header.file_meta.TransferSyntaxUID.is_encapsulated or header.file_meta.TransferSyntaxUID == RLE:
        return
    frame = get_frame(header.PixelData, number, number_of_frames=int(header.get("NumberOfFrames") or 1))
    if coded_pixels(frame) > LARGER * int(header.Rows) * int(header.Columns):
        raise NotUsed("a frame that is larger than its header says")


def coded_pixels(frame: bytes) -> int:
    """Return rows times columns of a JPEG, JPEG-LS or JPEG 2000 frame as its own header has them, 0 where none is found."""
    start = frame.find(b"\xff\x4f\xff\x51")  # JPEG 2000, with or without boxes around it
    if start >= 0 and len(frame) >= start + 16:
        width, height = struct.unpack(">II", frame[start + 8 : start + 16])
        return width * height
    place = 2
    while place + 9 <= len(frame) and frame[0] == frame[place] == 0xFF:
        kind, length = frame[place + 1], int.from_bytes(frame[place + 2 : place + 4], "big")
        if kind in SIZES:
            height, width = struct.unpack(">HH", frame[place + 5 : place + 9])
            return height * width
        place += 1 if kind == 0xFF else 2 + length
    return 0


def _plugin(syntax: Any) -> str:
    """Return the plugin of pydicom that decodes a transfer syntax, "" for pydicom's own choice.

    Damaged files must not end the process: GDCM then aborts it, and the RLE decoder of pylibjpeg panics past every handler.
    """
    from pydicom.pixels import get_decoder

    if not syntax.is_encapsulated:
        return ""
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:  # of films
        raise NotUsed(f"no decoder for the transfer syntax {syntax.name}") from None
    if syntax in JPEG_12_BIT_AND_LOSSLESS:
        if "imagecodecs" not in decoder.available_plugins:
            decoder.add_plugin("imagecodecs", ("featurespace.data.dicom_pixels", "decode_jpeg"))
        return "imagecodecs"
    safe = [each for each in decoder.available_plugins if each != "gdcm"]
    own = [each for each in safe if each == "pydicom"]
    if not safe:
        raise NotUsed(f"no decoder for the transfer syntax {syntax.name}")
    return (own or safe)[0]


def is_available(uid: str) -> bool:
    """Whether `decode_jpeg` decodes a transfer syntax; pydicom asks."""
    return uid in JPEG_12_BIT_AND_LOSSLESS


def decode_jpeg(source: bytes, runner: Any) -> bytes:
    """Return the little-endian pixels of a JPEG frame, for pydicom."""
    from imagecodecs import jpeg_decode

    frame = jpeg_decode(source)
    expected = (runner.rows, runner.columns, *([3] if runner.samples_per_pixel == 3 else []))
    if frame.shape != expected:
        raise ValueError(f"a frame of shape {frame.shape} where the header says {expected}")
    if frame.ndim == 3:
        runner.set_option("planar_configuration", 0)
    return frame.astype(f"<u{runner.bits_allocated // 8}").tobytes()


def _rescale(header: Any, number: int) -> tuple[float, float]:
    own, shared = header.get("PerFrameFunctionalGroupsSequence"), header.get("SharedFunctionalGroupsSequence")
    for group in [*([own[number]] if own and number < len(own) else []), *([shared[0]] if shared else [])]:
        items = group.get("PixelValueTransformationSequence")
        if items and items[0].get("RescaleSlope") is not None:
            return float(items[0].RescaleSlope), float(items[0].RescaleIntercept)
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    if slope is None or intercept is None:
        return 1.0, 0.0
    return float(slope), float(intercept)
