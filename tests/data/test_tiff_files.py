"""TIFF: axes, spacing, types that only TIFF has."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from written_images import RAMP, STACK, pixels, write_tiff

from microtome.data.stores import ImageReadError, open_source, read_labels


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint32", "float32", "float64"])
def test_every_type_reaches_unit_range(tmp_path, dtype):
    values = np.linspace(-100, 100, 600).reshape(20, 30) + (100 if dtype[0] == "u" else 0)
    write_tiff(tmp_path / "a.tif", values.astype(dtype))
    image = pixels(tmp_path / "a.tif", channels="as_is")
    assert image.dtype == np.float32 and image.min() == 0 and image.max() == 1
    np.testing.assert_allclose(image[0], (values - values.min()) / 200, atol=0.01)


def test_large_integers_keep_their_differences(tmp_path):
    values = np.array([[2**31, 2**31 + 1], [2**31 + 2, 2**31 + 4]], np.uint32)
    write_tiff(tmp_path / "a.tif", values)
    assert pixels(tmp_path / "a.tif", channels="as_is").tolist() == [[[0, 0.25], [0.5, 1]]]


def test_zero_is_white_is_inverted_in_images_but_not_in_labels(tmp_path):
    write_tiff(tmp_path / "a.tif", RAMP, photometric="miniswhite")
    np.testing.assert_allclose(pixels(tmp_path / "a.tif")[0], (255 - RAMP) / 255.0, atol=1e-6)
    assert (read_labels(tmp_path / "a.tif") == RAMP).all()
    fax = tmp_path / "fax.tif"  # one bit: 1 is what is shown white, for images and masks alike
    write_tiff(fax, RAMP < 9, photometric="miniswhite")
    assert (pixels(fax, channels="as_is")[0] == (RAMP >= 9)).all()
    assert (read_labels(fax) == (RAMP >= 9)).all()


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((5, 20, 30), {}, (1, 5, 20, 30)),
        ((5, 20, 30), {"metadata": None}, (1, 5, 20, 30)),
        ((5, 20, 30), {"metadata": {"axes": "ZYX"}, "compression": "zlib"}, (1, 5, 20, 30)),
        ((5, 2, 20, 30), {"imagej": True, "metadata": {"axes": "ZCYX"}}, (2, 5, 20, 30)),
        ((2, 5, 20, 30), {"metadata": {"axes": "CZYX"}}, (2, 5, 20, 30)),
        ((20, 30, 3), {"photometric": "rgb"}, (3, 20, 30)),
        ((3, 20, 30), {"photometric": "rgb", "planarconfig": "separate"}, (3, 20, 30)),
        ((3, 20, 30), {"photometric": "minisblack", "planarconfig": "separate"}, (3, 20, 30)),
        ((5, 20, 30, 3), {"photometric": "rgb"}, (3, 5, 20, 30)),
        ((1, 20, 30), {"metadata": {"axes": "ZYX"}}, (1, 20, 30)),
        ((1, 1, 30), {"photometric": "minisblack"}, (1, 1, 30)),
    ],
)
def test_tiff_axes_become_channels_first(tmp_path, shape, options, expected):
    values = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    write_tiff(tmp_path / "a.tif", values, **options)
    image = pixels(tmp_path / "a.tif", channels="as_is")
    assert image.shape == expected
    if len(set(shape)) == len(shape):  # sizes tell the axes apart
        moved = values.transpose([shape.index(n) for n in expected if n in shape])
        np.testing.assert_allclose(image.squeeze(), moved.squeeze() / 255.0, atol=1e-6)


@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30)])
def test_grey_stacks_repeat_under_rgb(tmp_path, shape):
    write_tiff(tmp_path / "a.tif", np.resize(RAMP, shape), photometric="minisblack")
    image = pixels(tmp_path / "a.tif")
    assert image.shape == (3, *shape) and (image[0] == image[2]).all()


def test_spacing_from_imagej_and_ome_only_with_a_unit(tmp_path):
    small = STACK[:3]
    per_pixel = {"imagej": True, "resolution": (2, 4)}
    made = {
        "um": {**per_pixel, "metadata": {"axes": "ZYX", "spacing": 1.5, "unit": "um"}},
        "nm": {**per_pixel, "metadata": {"axes": "ZYX", "spacing": 1500, "unit": "nm"}},
        "none": {**per_pixel, "metadata": {"axes": "ZYX", "spacing": 1.5}},
        "plain": {"resolution": (72, 72), "resolutionunit": "inch"},
    }
    for name, options in made.items():
        write_tiff(tmp_path / f"{name}.tif", small, **options)
    found = {n: open_source(tmp_path / f"{n}.tif", channels="as_is").info.spacing for n in made}
    assert found["um"] == (1.5, 0.25, 0.5), "z step; pixels per unit are inverted; y before x"
    assert found["nm"] == pytest.approx((1.5, 0.25e-3, 0.5e-3))
    assert found["none"] is None and found["plain"] is None

    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 250, "PhysicalSizeYUnit": "nm"}
    metadata = {"axes": "ZYX", "PhysicalSizeZ": 0.002, "PhysicalSizeZUnit": "mm", **sizes}
    write_tiff(tmp_path / "a.ome.tif", small, metadata=metadata)
    info = open_source(tmp_path / "a.ome.tif", channels="as_is").info
    assert info.spacing == pytest.approx((2.0, 0.25, 0.5)) and info.name == "a"


def test_given_spacing_wins_and_is_checked(tmp_path):
    write_tiff(tmp_path / "a.tif", STACK, metadata={"axes": "ZYX"})
    options = {"channels": "as_is"}
    assert open_source(tmp_path / "a.tif", spacing=0.5, **options).info.spacing == (0.5,) * 3
    info = open_source(tmp_path / "a.tif", spacing=[2, 1, 1], **options).info
    assert info.spacing == (2.0, 1.0, 1.0)
    with pytest.raises(ImageReadError, match="expected 1 or 3 values"):
        open_source(tmp_path / "a.tif", spacing=(1, 1), **options)
    with pytest.raises(ImageReadError, match="positive"):
        open_source(tmp_path / "a.tif", spacing=0, **options)


@pytest.mark.parametrize(
    ("shape", "axes", "message"),
    [((3, 20, 30), "TYX", "holds 3 time points; choose one"), ((2, 3, 9, 9), "CSYX", "axes")],
)
def test_axes_that_do_not_fit_are_refused(tmp_path, shape, axes, message):
    values = np.zeros(shape, np.uint8)
    write_tiff(tmp_path / "a.tif", values, photometric="minisblack", metadata={"axes": axes})
    with pytest.raises(ImageReadError, match=message):
        open_source(tmp_path / "a.tif", channels="as_is")


def test_several_images_in_one_tiff_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(RAMP)
        writer.write(RAMP[:5, :5])
    with pytest.raises(ImageReadError, match="several images of unlike shape"):
        open_source(tmp_path / "a.tif")
