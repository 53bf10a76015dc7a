"""Every store holds the contract: regions, labels, processes, threads, errors."""

from __future__ import annotations

import h5py
import nibabel
import numcodecs
import numpy as np
import tifffile
import zarr
from written_volumes import write_dicom
from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec

from microtome.data.stores import create_image, create_labels
from microtome.data.stores.ome_zarr_pyramid import PyramidStore
from microtome.data.stores.zarr_chunks import overlapping
from microtome.geometry import window
from microtome.testing import StoreContract


def fill(store: PyramidStore, values):
    for place in overlapping(window(store.shape), store.chunk):
        region = tuple(slice(p * c, (p + 1) * c) for p, c in zip(place, store.chunk, strict=True))
        store.write(region, values[region])
    store.finish()
    return str(store.path)


class TestOmeZarr5(StoreContract):
    version = "0.5"

    def write(self, folder, values, labels):
        options = {"spacing": 1, "dtype": values.dtype, "version": self.version, "chunk": 16}
        if labels:
            return fill(create_labels(folder / "a.zarr", values.shape, **options), values)
        return fill(create_image(folder / "a.zarr", values.shape, **options), values[None])


class TestOmeZarr4(TestOmeZarr5):
    version = "0.4"


class TestOmeZarrOfPlanes(TestOmeZarr5):
    shape = (37, 41)


class TestOmeZarrByUrl(TestOmeZarr5):
    def write(self, folder, values, labels):
        return f"file://{super().write(folder, values, labels)}"


class TestZarr3(StoreContract):
    made = {"chunks": (2, 8, 16), "compressors": [BloscCodec(typesize=2), Crc32cCodec()]}

    def write(self, folder, values, labels):
        path = folder / "a.zarr"
        zarr.create_array(path, data=values, dimension_names=["z", "y", "x"], **self.made)
        return str(path)


class TestZarr3InShards(TestZarr3):
    made = {"chunks": (2, 8, 8), "shards": (4, 16, 16), "compressors": [GzipCodec()]}


class TestZarr3InChunksOfZarrsOwn(TestZarr3):
    """Codecs that only zarr knows: a transposition, here."""

    made = {"chunks": (2, 8, 16), "filters": [zarr.codecs.TransposeCodec(order=(2, 0, 1))]}


class TestZarr2(StoreContract):
    made = {"compressors": numcodecs.Blosc(), "filters": [numcodecs.Delta(dtype=">u2")]}

    def write(self, folder, values, labels):
        stored = values.astype(">u2")
        made = {"chunks": (2, 8, 16), "order": "F", **self.made}
        zarr.create_array(folder / "a.zarr", data=stored, zarr_format=2, **made)
        return str(folder / "a.zarr")


class TestZarr2WithChecksums(TestZarr2):
    """Which make a chunk longer before it is compressed."""

    made = {"compressors": numcodecs.Zstd(), "filters": [numcodecs.CRC32C(location="end")]}


class TestTiffOfTimePoints(StoreContract):
    """Uncompressed, in one run: mapped into memory."""

    options = {"time": 1}
    made: dict = {"metadata": {"axes": "TZYX"}}

    def write(self, folder, values, labels):
        folder.mkdir(exist_ok=True)
        both = np.stack([values[::-1] + 1, values])
        tifffile.imwrite(folder / "a.tif", both, photometric="minisblack", **self.made)
        return str(folder / "a.tif")


class TestTiffInTiles(TestTiffOfTimePoints):
    made = {"metadata": {"axes": "TZYX"}, "compression": "zlib", "tile": (16, 32)}


class TestTiffInStrips(TestTiffOfTimePoints):
    made = {"metadata": {"axes": "TZYX"}, "compression": "lzw", "rowsperstrip": 7, "byteorder": ">"}


class TestOmeTiff(TestTiffOfTimePoints):
    made = {"metadata": {"axes": "TZYX"}, "ome": True, "compression": "zlib"}


class TestSmallTiff(StoreContract):
    """Decoded whole."""

    def write(self, folder, values, labels):
        folder.mkdir(exist_ok=True)
        tifffile.imwrite(folder / "a.tif", values, photometric="minisblack")
        return str(folder / "a.tif")


class TestNifti(StoreContract):
    suffix = ".nii"

    def write(self, folder, values, labels):
        folder.mkdir(exist_ok=True)
        image = nibabel.Nifti1Image(values.T, np.eye(4))
        nibabel.save(image, folder / f"a{self.suffix}")
        return str(folder / f"a{self.suffix}")


class TestNiftiPacked(TestNifti):
    suffix = ".nii.gz"


class TestHdf5(StoreContract):
    made: dict = {"chunks": (2, 8, 16), "compression": "gzip"}

    def write(self, folder, values, labels):
        folder.mkdir(exist_ok=True)
        with h5py.File(folder / "a.h5", "w") as file:
            file.create_dataset("raw", data=values, **self.made)
        return str(folder / "a.h5:/raw")


class TestHdf5InOneRun(TestHdf5):
    made: dict = {}


class TestDicom(StoreContract):
    labels = False

    def write(self, folder, values, labels):
        return str(write_dicom(folder / "series", values))
