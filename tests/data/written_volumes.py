"""How tests write volumes as others do, and read them raw."""

from __future__ import annotations

import numpy as np
import zarr
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from microtome.geometry import window

RAW = {"channels": "as_is", "levels": (0, 65535)}
VALUES = np.random.default_rng(0).integers(0, 4000, (3, 5, 2, 20, 30), dtype=np.uint16)  # tzcyx
SERIES = generate_uid(entropy_srcs=["series"])


def write_dicom(folder, values, *, order=None, gap=2.5, **changed):
    """One file per slice of [z, y, x], named in another order than they lie."""
    folder.mkdir(parents=True, exist_ok=True)
    for z, pixels in enumerate(values):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[str(folder), str(z)])
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        one.SeriesInstanceUID = SERIES
        one.Rows, one.Columns = pixels.shape
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated = one.BitsStored = 16
        one.HighBit, one.PixelRepresentation = 15, int(values.dtype.kind == "i")
        one.PixelSpacing = [0.5, 0.25]
        one.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        one.ImagePositionPatient = [0, 0, -10 + gap * z]
        for name, value in changed.items():
            setattr(one, name, value)
        one.PixelData = np.ascontiguousarray(pixels).tobytes()
        number = (order or list(range(len(values)))[::-1])[z]
        one.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


def raw(source, region=None):
    part = source.read(region or window(source.info.shape))
    return np.rint(part.astype(np.float64) * 65535)


def zarr_array(path, values, **options):
    zarr.create_array(path, data=values, **options)
    return path
