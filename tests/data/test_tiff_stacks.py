"""TIFF stacks with time and channels, read by tiles and strips."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from written_volumes import RAW, VALUES, raw

from microtome.data.stores import ImageReadError, open_source
from microtome.geometry import window


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_tiff_with_time_and_channels(tmp_path, compression):
    metadata = {"axes": "TZCYX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2,
                "Channel": {"Name": ["nuclei", "membrane"]}}  # fmt: skip
    place = tmp_path / "a.ome.tif"
    tifffile.imwrite(place, VALUES, metadata=metadata, compression=compression)
    source = open_source(place, time=1, **RAW)
    assert source.info.spacing == (2.0, 0.5, 0.25) and source.info.name == "a"
    assert source.info.channels == ("nuclei", "membrane")
    assert (raw(source) == VALUES[1].transpose(1, 0, 2, 3)).all()
    part = (slice(1, 4), slice(3, 19), slice(7, 8))
    assert (raw(source, part) == VALUES[1].transpose(1, 0, 2, 3)[(slice(None), *part)]).all()


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_large_colour_tiff_is_read_by_tiles(tmp_path, planar, monkeypatch):
    monkeypatch.setattr("microtome.data.stores.tiff_stacks.WHOLE", 0)
    colour = np.random.default_rng(1).integers(0, 255, (40, 50, 3), dtype=np.uint8)
    stored = colour if planar == "contig" else np.moveaxis(colour, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar,
                     tile=(16, 32), compression="zlib")  # fmt: skip
    source = open_source(tmp_path / "a.tif")
    assert type(source).__name__ == "Volume" and source.info.channels == ("red", "green", "blue")
    part = (slice(10, 40), slice(31, 33))
    expected = np.moveaxis(colour, -1, 0)[(slice(None), *part)] / 255
    np.testing.assert_allclose(source.read(part), expected, atol=1e-6)
    luminance = open_source(tmp_path / "a.tif", channels="grey").read(part)
    np.testing.assert_allclose(luminance[0], np.tensordot([0.299, 0.587, 0.114], expected, 1),
                               atol=1e-5)  # fmt: skip


def test_truncated_stacks_are_refused(tmp_path):
    place = tmp_path / "a.tif"
    tifffile.imwrite(place, VALUES[:, :, 0], metadata={"axes": "TZYX"}, compression="zlib")
    place.write_bytes(place.read_bytes()[:-2000])
    with pytest.raises(ImageReadError, match=r"a\.tif"):
        open_source(place, time=0).read(window((5, 20, 30)))
