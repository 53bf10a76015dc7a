"""Image files and label maps: pixels, range, channels, spacing, refusals."""

from __future__ import annotations

import copy
import io
import warnings

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageOps

from microtome.data.stores import ArraySource, ImageReadError, measure, open_source, read_labels
from microtome.data.stores.arrays import thinned
from microtome.geometry import window
from microtome.structures import DataSample, Intensity

RAMP = np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)
COLOUR = np.stack([RAMP, 255 - RAMP, RAMP // 2], -1)
STACK = np.random.default_rng(0).integers(0, 4000, (5, 20, 30), dtype=np.uint16)


def pixels(path, **options):
    source = open_source(path, **options)
    return source.read(window(source.info.shape))


def write_tiff(path, values, **options):
    tifffile.imwrite(path, values, **{"photometric": "minisblack"} | options)


def saved(path, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


# ── range ────────────────────────────────────────────────────────────────────────────────────────
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


def test_zero_is_white_is_inverted_in_images_but_not_in_labels(tmp_path):
    write_tiff(tmp_path / "a.tif", RAMP, photometric="miniswhite")
    np.testing.assert_allclose(pixels(tmp_path / "a.tif")[0], (255 - RAMP) / 255.0, atol=1e-6)
    assert (read_labels(tmp_path / "a.tif") == RAMP).all()
    fax = tmp_path / "fax.tif"  # one bit: 1 is what is shown white, for images and masks alike
    write_tiff(fax, RAMP < 9, photometric="miniswhite")
    assert (pixels(fax, channels="as_is")[0] == (RAMP >= 9)).all()
    assert (read_labels(fax) == (RAMP >= 9)).all()


# ── channels ─────────────────────────────────────────────────────────────────────────────────────
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


# ── TIFF axes and spacing ────────────────────────────────────────────────────────────────────────
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
    [((3, 20, 30), "TYX", "axes T 3, Y 20, X 30.*time points"), ((2, 3, 9, 9), "CSYX", "axes")],
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


# ── EXIF ─────────────────────────────────────────────────────────────────────────────────────────
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


# ── labels ───────────────────────────────────────────────────────────────────────────────────────
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


# ── damage ───────────────────────────────────────────────────────────────────────────────────────
WRITERS = {
    "png": lambda p: Image.fromarray(COLOUR).save(p),
    "jpg": lambda p: Image.fromarray(COLOUR).save(p),
    "bmp": lambda p: Image.fromarray(COLOUR).save(p),
    "tif": lambda p: write_tiff(p, STACK, metadata=None),
    "tiff": lambda p: write_tiff(p, STACK, metadata={"axes": "ZYX"}, compression="zlib"),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_truncated_file_is_refused_or_whole(tmp_path, suffix):
    path, cut = tmp_path / f"a.{suffix}", tmp_path / f"cut.{suffix}"
    WRITERS[suffix](path)
    whole, content = pixels(path, channels="as_is"), path.read_bytes()
    refused = 0
    for size in range(0, len(content), max(1, len(content) // 60)):
        cut.write_bytes(content[:size])
        try:
            part = pixels(cut, channels="as_is")
        except ImageReadError:
            refused += 1
        else:
            assert part.shape == whole.shape and (part == whole).all(), f"{size} bytes"
    assert refused >= 59


def _rewritten(path, tag, value):
    """Set the first number of a tag in the first directory of a little-endian TIFF."""
    with tifffile.TiffFile(path) as file:
        at = file.pages[0].tags[tag].valueoffset
    content = bytearray(path.read_bytes())
    content[at : at + 4] = value.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(("tag", "value"), [(273, 10**6), (279, 0)])
def test_a_tiff_with_missing_strips_is_refused(tmp_path, tag, value):
    """Offsets behind the file's end, and counts of 0, which tifffile reads as black."""
    path = tmp_path / "a.tif"
    write_tiff(path, np.full((20, 30), 9, np.uint8), metadata=None, compression="zlib")
    assert (pixels(path) == np.float32(9 / 255)).all()
    _rewritten(path, tag, value)
    with pytest.raises(ImageReadError, match="pixels of page 0 are missing"):
        open_source(path)


def test_a_cut_stack_is_not_read_as_its_first_page(tmp_path):
    """Cut within a directory, tifffile reads one page without an error."""
    path, cut = tmp_path / "a.tif", tmp_path / "cut.tif"
    write_tiff(path, (STACK // 16).astype(np.uint8), compression="zlib")
    content = path.read_bytes()
    with tifffile.TiffFile(path) as file:
        directories = [page.offset for page in file.pages][1:]
    for start in directories:
        for size in range(start, start + 200):
            cut.write_bytes(content[:size])
            with pytest.raises(ImageReadError):
                open_source(cut, channels="as_is")


@pytest.mark.parametrize("suffix", WRITERS)
def test_flipped_bytes_raise_nothing_but_image_read_errors(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    WRITERS[suffix](path)
    content, rng = path.read_bytes(), np.random.default_rng(3)
    for _ in range(60):
        wrong = bytearray(content)
        for at in rng.integers(0, min(len(wrong), 300), 3):
            wrong[at] = rng.integers(0, 256)
        path.write_bytes(wrong)
        for read in (open_source, read_labels):
            try:
                read(path)
            except ImageReadError as error:
                assert str(path) in str(error) and error.reason


def test_missing_foreign_and_folder(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    for name, message in (("a.png", "not a PNG"), ("b.png", "no such file"), ("", "folder")):
        with pytest.raises(ImageReadError, match=message):
            open_source(tmp_path / name)


def test_nan_and_wrong_levels_are_refused(tmp_path):
    values = RAMP.astype(np.float32)
    values[0, 0] = np.inf
    write_tiff(tmp_path / "a.tif", values)
    with pytest.raises(ImageReadError, match="1 values are NaN or infinite"):
        open_source(tmp_path / "a.tif")
    for levels in ((5, 5), (1, 2, 3), [(0, 1)] * 4):
        with pytest.raises(ImageReadError, match="levels must be"):
            open_source(saved(tmp_path / "b.png", RAMP), levels=levels)


def test_too_large_claims_are_refused_before_memory_is_taken(tmp_path, monkeypatch):
    path = saved(tmp_path / "a.png", RAMP)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 599)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ImageReadError, match="claims 600 pixels"):
            open_source(path)
    with pytest.raises(ImageReadError, match="600 pixels"):
        open_source(path)
    (tmp_path / "bomb.tif").write_bytes(_bomb())
    with pytest.raises(ImageReadError, match="claims 10,000,000,000 bytes"):
        open_source(tmp_path / "bomb.tif")


def _bomb() -> bytes:
    """A TIFF of 600 pixels whose header claims 100,000 x 100,000."""
    buffer = io.BytesIO()
    write_tiff(buffer, RAMP, metadata=None, compression="zlib", rowsperstrip=20)
    content = bytearray(buffer.getvalue())
    count = int.from_bytes(content[8:10], "little")
    for at in range(10, 10 + 12 * count, 12):
        if int.from_bytes(content[at : at + 2], "little") in (256, 257, 278):
            content[at + 2 : at + 4] = (4).to_bytes(2, "little")
            content[at + 8 : at + 12] = (100_000).to_bytes(4, "little")
    return bytes(content)


def test_the_error_survives_the_way_between_processes():
    error = copy.copy(ImageReadError("a.png", "is damaged"))  # as pickle does it
    assert str(error) == "a.png: is damaged" and error.file == "a.png"
    assert str(ImageReadError("all in one text")) == "all in one text"


# ── arrays and statistics ────────────────────────────────────────────────────────────────────────
def test_measure_is_what_numpy_says_of_a_small_image():
    image = np.random.default_rng(4).random((2, 30, 40), dtype=np.float32)
    found = measure(image, ((0.0, 255.0),) * 2, True)
    flat = image.reshape(2, -1)
    np.testing.assert_allclose(found.mean, flat.mean(1), rtol=1e-6)
    np.testing.assert_allclose(found.std, flat.std(1), rtol=1e-5)
    np.testing.assert_allclose(found.low, np.percentile(flat, 1, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.high, np.percentile(flat, 99.8, axis=1), rtol=1e-5)
    assert found.levels == ((0.0, 255.0),) * 2 and found.stated


@pytest.mark.parametrize("shape", [(1000, 1300), (1, 500_000), (40, 200, 200)])
def test_measure_looks_at_a_grid_of_at_most_65536_pixels(shape):
    seen = np.empty(shape)[thinned(shape)].size
    assert 30_000 < seen <= 65_536
    ramp = np.broadcast_to(np.linspace(0, 1, shape[-1], dtype=np.float32), (1, *shape))
    assert measure(ramp, ((0.0, 1.0),), True).mean[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30)])
def test_array_source(shape):
    image = torch.rand(2, *shape)
    given = Intensity(((0.0, 9.0),) * 2, False, (0.5,) * 2, (0.1,) * 2, (0.0,) * 2, (1.0,) * 2)
    sample = DataSample(image, spacing=(0.5,) * len(shape), intensity=given, meta={"name": "n"})
    source = ArraySource.from_sample(sample)
    assert source.info.name == "n" and source.info.shape == shape and source.intensity == given
    assert source.info.spacing == (0.5,) * len(shape)
    region = tuple(slice(1, 4) for _ in shape)
    assert (source.read(region) == image[(slice(None), *region)].numpy()).all()
    assert ArraySource(image.numpy(), name="m").intensity.mean == pytest.approx(
        image.flatten(1).mean(1).tolist(), abs=1e-5
    )
    with pytest.raises(ValueError, match="divide 8-bit values by 255"):
        ArraySource(np.zeros((1, 4, 4), np.uint8), name="raw")
