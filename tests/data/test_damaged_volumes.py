"""Damaged and hostile files of volumes: refused or bad images, without a traceback, in bounded time and memory.

Memory is what a process holds afterwards; the peak in between is not looked at.
"""

import gzip
import time
import zlib
from collections import Counter
from pathlib import Path

import imagecodecs
import monai.data.image_reader  # noqa: F401  # before memory is measured, of which it takes much
import nibabel
import numpy as np
import psutil
import pydicom
import pytest
from pydicom.data import get_testdata_file

from featurespace.data.dicom import read_frames
from featurespace.data.dicom_pixels import coded_pixels
from featurespace.data.scans import NotUsed
from featurespace.data.specs import open_data
from featurespace.data.volumes import read_volume
from featurespace.errors import FeaturespaceError
from tests.data.medical import compressed, write_slice

SECONDS = 60  # that no small file may take, on a busy core too
MEGABYTES = 300

_packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
ZEROS = _packer.compress(b"\0" * (1 << 24)) + _packer.flush(
    zlib.Z_FULL_FLUSH
)  # a piece of deflate that may be repeated


def used(path):
    """Open a file as a data set and read its images; return what came of it."""
    process, start = psutil.Process(), time.perf_counter()
    before = process.memory_info().rss
    try:
        data = open_data(f"x={path}")
        for row in range(min(len(data), 3)):
            data.image(row)
        outcome = "read"
    except FeaturespaceError as error:
        outcome = str(error)
    assert time.perf_counter() - start < SECONDS, outcome
    assert process.memory_info().rss - before < MEGABYTES << 20, outcome
    return outcome


def nifti(path, shape=(8, 8, 8)):
    nibabel.save(
        nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 900, shape).astype(np.int16), np.eye(4)), path
    )
    return path


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "MR_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "a.npy"])
def test_every_single_flipped_bit_of_a_header_and_every_cut_ends_well(tmp_path, name):
    path, rng = tmp_path / name, np.random.default_rng(0)
    if ".nii" in name:
        nifti(path)
    elif name == "a.npy":
        np.save(path, np.zeros((4, 5, 6), np.float32))
    else:
        path.write_bytes(Path(get_testdata_file(name)).read_bytes())
    whole, outcomes = path.read_bytes(), Counter()
    header = 348 if name == "a.nii" else 128 if name == "a.npy" else 1500
    for trial in range(40):
        damaged = bytearray(whole)
        if trial % 4:
            damaged[rng.integers(min(header, len(whole)))] ^= 1 << int(rng.integers(8))
        else:
            damaged = damaged[: rng.integers(len(whole))]
        path.write_bytes(damaged)
        outcomes["read" if used(path) == "read" else "refused"] += 1
    assert outcomes["refused"] >= 5 and (outcomes["read"] >= 5 or name == "a.npy")  # whose header is text


def declares(path, shape, packed):
    """A NIfTI file whose header declares a shape and behind which ``packed`` follows."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    raw = header.binaryblock + b"\0\0\0\0"
    path.write_bytes(packed(raw))
    return path


def test_a_packed_file_that_unpacks_without_end_is_read_as_far_as_its_header_says(tmp_path):
    endless = tmp_path / "a.nii.gz"

    def packed(raw):
        packer = zlib.compressobj(wbits=31)
        return packer.compress(raw) + packer.flush(zlib.Z_FULL_FLUSH) + ZEROS * 256

    declares(endless, (4, 4, 4), packed)  # four gigabytes of zeros
    assert used(endless) == "read"


def test_a_packed_file_that_declares_much_is_refused(tmp_path):
    path = declares(tmp_path / "a.nii.gz", (30000, 30000, 300), gzip.compress)
    assert "declares far more pixels than a file of its size can hold" in used(path)
    path = declares(tmp_path / "b.nii.gz", (300, 300, 300), gzip.compress)  # 54 MB, which it does not hold
    assert "cannot be read" in used(path)


@pytest.mark.parametrize("changes", [{"Rows": 60000, "Columns": 60000}, {"NumberOfFrames": 2**31 - 1}, {"NumberOfFrames": -1},
                                     {"BitsAllocated": 64}, {"SamplesPerPixel": 1000}, {"Rows": 0}])  # fmt: skip
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "encapsulated"])
def test_dicom_that_declares_more_than_it_holds_is_refused_or_a_bad_image(tmp_path, changes, packed):
    path = write_slice(tmp_path / "a.dcm", np.zeros((6, 5), np.int16))
    if packed:
        compressed(path, path, pydicom.uid.RLELossless)
    header = pydicom.dcmread(path)
    for name, value in changes.items():
        setattr(header, name, value)
    header.save_as(path)
    assert used(path) != "read" or changes == {"NumberOfFrames": -1}


@pytest.mark.slow
def test_a_frame_that_unpacks_to_more_than_its_header_says_is_a_bad_image(tmp_path):
    path = write_slice(tmp_path / "a.dcm", np.zeros((6, 5), np.int16))
    header = pydicom.dcmread(path)
    for syntax, frame in {
        pydicom.uid.JPEG2000Lossless: imagecodecs.jpeg2k_encode(np.zeros((6000, 6000), np.uint16), level=0),
        pydicom.uid.JPEGLSLossless: imagecodecs.jpegls_encode(np.zeros((6000, 6000), np.uint16)),
        pydicom.uid.JPEGLosslessSV1: imagecodecs.ljpeg_encode(np.zeros((6000, 6000), np.uint16), bitspersample=16),
        pydicom.uid.RLELossless: np.array([1, 64] + [0] * 14, "<u4").tobytes() + b"\x81\x00" * 400_000,
    }.items():
        header.PixelData = pydicom.encaps.encapsulate([frame])
        header["PixelData"].VR = "OB"
        header.file_meta.TransferSyntaxUID = syntax
        header.save_as(path)
        assert "cannot be read" in used(path), syntax.name


@pytest.mark.parametrize("encode", [
    lambda zeros: imagecodecs.jpeg2k_encode(zeros, level=0), imagecodecs.jpegls_encode,
    lambda zeros: imagecodecs.ljpeg_encode(zeros, bitspersample=16), lambda zeros: imagecodecs.jpeg8_encode(zeros.astype(np.uint8)),
], ids=["jpeg2000", "jpeg-ls", "lossless", "jpeg"])  # fmt: skip
def test_a_frame_tells_its_size_before_it_is_decoded(encode):
    frame = bytes(encode(np.zeros((60, 50), np.uint16)))
    assert coded_pixels(frame) == 3000
    assert all(coded_pixels(frame[:length]) in (0, 3000) for length in range(len(frame)))
    assert coded_pixels(b"\xff\xd8" + b"\xff" * 50) == 0


def test_a_frame_that_says_to_be_huge_is_not_decoded(tmp_path, monkeypatch):
    path = write_slice(tmp_path / "a.dcm", np.zeros((6, 5), np.int16))
    header = pydicom.dcmread(path)
    header.PixelData = pydicom.encaps.encapsulate([imagecodecs.jpeg2k_encode(np.zeros((60, 50), np.uint16), level=0)])
    header["PixelData"].VR, header.file_meta.TransferSyntaxUID = "OB", pydicom.uid.JPEG2000Lossless
    header.save_as(path)
    monkeypatch.setattr("pydicom.pixels.pixel_array", lambda *args, **options: pytest.fail("decoded"))
    assert "cannot be read (a frame that is larger than its header says)" in used(path)


@pytest.mark.slow
def test_a_deflated_file_that_unpacks_without_end_is_refused(tmp_path):
    source = Path(get_testdata_file("image_dfl.dcm")).read_bytes()
    offset = 144 + int(
        pydicom.filereader.read_file_meta_info(get_testdata_file("image_dfl.dcm")).FileMetaInformationGroupLength
    )
    (tmp_path / "a.dcm").write_bytes(source[:offset] + ZEROS * 256)
    assert "deflated, and unpacks to more than fits into memory" in used(tmp_path / "a.dcm")


def test_a_deflated_file_is_refused_at_its_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("featurespace.data.dicom.INFLATED", 1000)
    assert "(1 files are not used: deflated, and unpacks to more than fits into memory)" in used(
        get_testdata_file("image_dfl.dcm")
    )


def changed(path, **fields):
    """Write fields of a NIfTI header that nibabel itself would refuse to write."""
    raw = path.read_bytes()
    header = np.frombuffer(raw[:348], nibabel.nifti1.header_dtype).copy()
    for name, value in fields.items():
        header[name] = value
    path.write_bytes(header.tobytes() + raw[348:])
    return path


@pytest.mark.parametrize("dim", [[3, 0, 8, 8], [3, -8, 8, 8], [3, -8, -8, 8], [4, 8, 8, 8, 0], [5, 8, -8, 8, 1, -2]])
def test_lengths_of_axes_that_are_not_positive_are_no_pixels(tmp_path, dim):
    path = changed(nifti(tmp_path / "a.nii"), dim=dim + [1] * (8 - len(dim)))
    assert "not used: its header declares no pixels" in used(path)


@pytest.mark.parametrize(("shape", "axes"), [((4,), 1), ((4, 4, 4, 2, 3), 5), ((4, 4, 4, 1, 1, 2), 6)])
def test_nifti_of_other_axes_than_space_and_time_is_refused(tmp_path, shape, axes):
    assert f"a NIfTI file of {axes} axes, which is no volume and no series" in used(nifti(tmp_path / "a.nii", shape))


def test_voxels_that_are_no_numbers_and_places_that_are_none_are_refused(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)), tmp_path / "complex.nii")
    assert "its voxels are neither numbers nor colours" in used(tmp_path / "complex.nii")
    axes = {"sform_code": 1, "srow_x": [1, 1, 0, 0], "srow_z": [0, 0, 1, 0]}
    path = changed(nifti(tmp_path / "a.nii"), srow_y=[0, 0, 0, 0], **axes)
    assert "places voxels nowhere (singular affine)" in used(path)
    path = changed(path, srow_y=[0, 1e-17, 0, 0], **axes)
    assert "places voxels nowhere (two of its axes are nearly one)" in used(path)


def test_a_volume_that_does_not_fit_into_memory_is_refused_by_its_header(tmp_path, monkeypatch):
    path = changed(nifti(tmp_path / "a.nii"), dim=[3, 4096, 4096, 8, 1, 1, 1, 1])
    with open(path, "r+b") as file:
        file.truncate(352 + (4096 * 4096 * 8 << 1))  # a hole, which takes no space
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Little", (), {"available": 1 << 27}))
    with pytest.raises(FeaturespaceError, match="its header declares more pixels than fit into memory"):
        open_data(f"x={path}")


def test_a_file_that_goes_before_its_header_is_read_is_not_used(tmp_path):
    with pytest.raises(NotUsed, match="No such file or directory"):
        read_frames(str(tmp_path / "gone.dcm"))


def framed(path, syntax, frame):
    """A slice of 6 x 5 pixels whose encoded frame is that one."""
    header = pydicom.dcmread(write_slice(path, np.zeros((6, 5), np.int16)))
    header.PixelData = pydicom.encaps.encapsulate([frame])
    header["PixelData"].VR, header.file_meta.TransferSyntaxUID = "OB", syntax
    header.save_as(path)
    return path


def test_a_frame_without_a_decoder_names_its_transfer_syntax(tmp_path, monkeypatch):
    path = framed(tmp_path / "film.dcm", pydicom.uid.MPEG2MPML, b"\0\0\1\xb3" + bytes(60))
    message = r"film.dcm cannot be read \(no decoder for the transfer syntax MPEG2 Main Profile"
    with pytest.raises(FeaturespaceError, match=message):
        read_volume(path)
    assert "cannot be read (no decoder for the transfer syntax MPEG2 Main Profile" in used(path)
    frame = imagecodecs.jpegls_encode(np.zeros((6, 5), np.uint16))
    path = framed(tmp_path / "packed.dcm", pydicom.uid.JPEGLSLossless, frame)
    monkeypatch.setattr("pydicom.pixels.decoders.base.Decoder.available_plugins", ())
    assert "no decoder for the transfer syntax JPEG-LS Lossless" in used(path)


def test_a_frame_of_another_shape_than_its_header_says_is_a_bad_image(tmp_path):
    frame = imagecodecs.ljpeg_encode(np.zeros((7, 5), np.uint16), bitspersample=16)
    path = framed(tmp_path / "a.dcm", pydicom.uid.JPEGLosslessSV1, frame)
    assert "cannot be read" in used(path)
    with pytest.raises(FeaturespaceError, match="a.dcm cannot be read"):
        read_volume(path)


def test_pixels_without_extent_are_a_singular_geometry(tmp_path):
    path = write_slice(tmp_path / "a.dcm", np.zeros((6, 5), np.int16), PixelSpacing=[1e-20, 1e-20])
    assert "1 series whose geometry is singular are left out" in used(path)


def test_a_damaged_volume_is_told_where_slices_are_chosen_by_what_they_show(tmp_path):
    (tmp_path / "scans").mkdir()
    for name in ("whole", "cut"):
        nifti(tmp_path / "scans" / f"{name}.nii.gz", (32, 32, 8))
    cut = tmp_path / "scans" / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:5000])
    (tmp_path / "x.yaml").write_text("path: scans\nfilled: 0.01\n")
    data = open_data(f"x={tmp_path / 'x.yaml'}")
    assert len(data) == 8 and "1 volumes cannot be read (EOFError)" in data.notes
