"""Image files: pixels, range, channels, orientation."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageOps
from written_images import COLOUR, RAMP, STACK, pixels, saved, write_tiff

from microtome.data.stores import ImageReadError, open_source, read_labels
from microtome.geometry import window


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_eight_bit_is_divided_by_255(tmp_path, suffix):
    source = open_source(saved(tmp_path / f"a.{suffix}", COLOUR))
    assert source.info.name == "a" and source.info.dtype == "uint8" and source.info.spacing is None
    assert source.intensity.levels == ((0.0, 255.0),) * 3 and source.intensity.stated
    expected = COLOUR.transpose(2, 0, 1).astype(np.float32) / 255
    np.testing.assert_allclose(source.read(window((20, 30))), expected, atol=1e-7)
    part = source.read((slice(3, 7), slice(10, 12)))
    np.testing.assert_allclose(part, expected[:, 3:7, 10:12], atol=1e-7)
    assert part.dtype == np.float32 and part.flags.c_contiguous


def test_sixteen_bit_is_measured_or_stated(tmp_path):
    path = saved(tmp_path / "a.png", STACK[0])
    low, high = int(STACK[0].min()), int(STACK[0].max())
    measured = open_source(path, channels="as_is")
    assert measured.intensity.levels == ((low, high),) and not measured.intensity.stated
    image = measured.read(window((20, 30)))
    assert image.min() == 0 and image.max() == 1
    stated = open_source(path, channels="as_is", levels=(0, 2000))
    assert stated.intensity.levels == ((0.0, 2000.0),) and stated.intensity.stated
    expected = np.clip(STACK[:1] / 2000, 0, 1)
    np.testing.assert_allclose(stated.read(window((20, 30))), expected, atol=1e-6)


def test_one_bit_and_constant_images(tmp_path):
    bits = open_source(saved(tmp_path / "bits.png", RAMP > 100), channels="as_is")
    assert bits.info.dtype == "bool" and bits.intensity.levels == ((0.0, 1.0),)
    assert (bits.read(window((20, 30)))[0] == (RAMP > 100)).all()
    flat = saved(tmp_path / "flat.png", np.full((4, 4), 3000, np.uint16))
    assert (pixels(flat) == 0).all()


def test_colour_is_measured_over_all_channels_and_others_each_alone(tmp_path):
    colour = np.stack([STACK[0], STACK[1] // 2, STACK[2] // 4], -1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(colour))
    source = open_source(tmp_path / "a.png")
    assert source.info.dtype == "uint16", "Pillow alone would cut 16-bit colour to 8 bits"
    assert len(set(source.intensity.levels)) == 1
    np.testing.assert_array_equal(source.read(window((20, 30))).argmax(), colour.argmax() // 3)
    write_tiff(tmp_path / "b.tif", colour.transpose(2, 0, 1), metadata={"axes": "CYX"})
    levels = open_source(tmp_path / "b.tif", channels="as_is").intensity.levels
    assert levels == tuple((c.min(), c.max()) for c in colour.transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P"])
def test_channel_policies(tmp_path, mode):
    path = saved(tmp_path / "a.png", COLOUR, mode)
    with Image.open(path) as opened:
        rgb = np.asarray(opened.convert("RGBA").convert("RGB"), np.float32) / 255
        grey = np.asarray(opened.convert("RGBA").convert("RGB").convert("L"), np.float32) / 255
    np.testing.assert_allclose(pixels(path), rgb.transpose(2, 0, 1), atol=1e-6)
    np.testing.assert_allclose(pixels(path, channels="grey")[0], grey, atol=1.01 / 255)
    assert len(pixels(path, channels="as_is")) == {"P": 3}.get(mode, len(mode))


def test_palette_with_transparency_keeps_its_colours_without_a_warning(tmp_path):
    image = Image.fromarray(RAMP % 3)
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.save(tmp_path / "a.png", transparency=b"\x00\x80\xff")
    first = pixels(tmp_path / "a.png")[:, 0, :3].T * 255
    np.testing.assert_allclose(first, [[10, 20, 30], [40, 50, 60], [70, 80, 90]], atol=1e-4)
    assert (read_labels(tmp_path / "a.png") == RAMP % 3).all()


def test_refused_channels_say_the_way_out(tmp_path):
    write_tiff(tmp_path / "a.tif", STACK[:4], metadata={"axes": "CYX"})
    with pytest.raises(ImageReadError, match=r"a\.tif: has 4 channels .*as_is"):
        open_source(tmp_path / "a.tif")
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "c.jpg")
    with pytest.raises(ImageReadError, match="CMYK; convert it to RGB"):
        open_source(tmp_path / "c.jpg")
    with pytest.raises(ValueError, match="expected rgb, grey or as_is"):
        open_source(tmp_path / "a.tif", channels="RGB")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(tmp_path, orientation):
    image = Image.fromarray(COLOUR)
    exif = image.getexif()
    exif[0x0112] = orientation
    for suffix in ("png", "jpg"):
        image.save(tmp_path / f"a.{suffix}", exif=exif)
        with Image.open(tmp_path / f"a.{suffix}") as opened:
            expected = np.asarray(ImageOps.exif_transpose(opened), np.float32).transpose(2, 0, 1)
        np.testing.assert_allclose(pixels(tmp_path / f"a.{suffix}") * 255, expected, atol=1e-3)
    image.getchannel(0).save(tmp_path / "mask.png", exif=exif)
    with Image.open(tmp_path / "mask.png") as opened:
        assert (read_labels(tmp_path / "mask.png") == ImageOps.exif_transpose(opened)).all()
