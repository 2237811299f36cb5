"""Synthetic DICOM and NIfTI files with known voxels, for the tests of volumes."""

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"


def write_slice(path, pixels, *, position=(0.0, 0.0, 0.0), series="1.2.3", orientation=(1, 0, 0, 0, 1, 0), **tags):
    """Write one DICOM slice; ``pixels`` (rows, columns) int16 or uint16."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CT_STORAGE, ExplicitVRLittleEndian
    meta.MediaStorageSOPInstanceUID = generate_uid()
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID = CT_STORAGE, meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2", series, "CT"
    ds.PatientName, ds.PatientID, ds.PatientAge, ds.PatientSex = "Doe^Jane", "ID4711", "093Y", "F"
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, int(pixels.dtype.kind == "i")
    ds.PixelSpacing, ds.SliceThickness = [0.8, 0.5], 2.0
    ds.ImagePositionPatient, ds.ImageOrientationPatient = list(position), list(orientation)
    ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.PixelData = pixels.tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path


def write_series(folder, *, positions=(0.0, 2.0, 4.0, 6.0), order=None, seed=0, shape=(6, 5), **tags):
    """Write an axial series, its files named in another order than they lie in; return (slices, rows, columns)."""
    values = np.random.default_rng(seed).integers(0, 3000, (len(positions), *shape)).astype(np.int16)
    for number, index in enumerate(order if order is not None else range(len(positions))):
        place = (0.0, 0.0, float(positions[index]))
        write_slice(folder / f"{number:03d}.dcm", values[index], position=place, InstanceNumber=index + 1, **tags)
    return values


def compressed(source, target, syntax):
    """Write a DICOM file again with its pixels compressed."""
    ds = pydicom.dcmread(source)
    ds.compress(syntax)
    ds.save_as(target)
