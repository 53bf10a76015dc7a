"""Masks and label maps arrive as they were saved, or are refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from written_images import COLOUR, RAMP, STACK, pixels, saved, write_tiff

from microtome.data.stores import ImageReadError, read_labels


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(20, 30), (4, 20, 30)])
def test_labels_arrive_as_saved(tmp_path, dtype, shape):
    top = 250 if dtype == "uint8" else 60_000 if dtype == "uint16" else 20_000_001
    top = 16_777_216 if dtype == "float32" else top
    ids = np.random.default_rng(2).integers(0, top, shape)
    ids.flat[0] = top
    write_tiff(tmp_path / "a.tif", ids.astype(dtype), compression="zlib")
    read = read_labels(tmp_path / "a.tif")
    assert read.dtype.kind in "ui" and (read == ids).all()


def test_label_pngs(tmp_path):
    sixteen = STACK[0]
    assert (read_labels(saved(tmp_path / "16.png", sixteen)) == sixteen).all()
    bits = read_labels(saved(tmp_path / "1.png", RAMP > 9))
    assert bits.dtype == np.uint8 and (bits == (RAMP > 9)).all()
    equal = saved(tmp_path / "rgb.png", np.stack([RAMP] * 3, -1), "RGBA")
    assert (read_labels(equal) == RAMP).all()
    indices = Image.fromarray(RAMP % 4)
    indices.putpalette([200, 0, 0, 0, 200, 0, 0, 0, 200, 99, 99, 99])
    indices.save(tmp_path / "p.png")
    indices.save(tmp_path / "p.tif")
    for name in ("p.png", "p.tif"):
        assert (read_labels(tmp_path / name) == RAMP % 4).all(), "indices, never grey"
        assert pixels(tmp_path / name)[0, 0, 0] * 255 == pytest.approx(200)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("colour.png", COLOUR, "3 channels that differ.*class indices"),
        ("half.tif", np.full((4, 4), 0.5, np.float32), "fractions"),
        ("nan.tif", np.full((4, 4), np.nan, np.float32), "NaN"),
        ("below.tif", np.full((4, 4), -1, np.int16), "negative value -1"),
        ("lossy.jpg", RAMP, "JPEG changes values"),
    ],
)
def test_refused_labels(tmp_path, name, values, message):
    if name.endswith("tif"):
        write_tiff(tmp_path / name, values)
    else:
        saved(tmp_path / name, values)
    with pytest.raises(ImageReadError, match=message):
        read_labels(tmp_path / name)
