"""Whatever is wrong with a file, one kind of error names it and the reason."""

from __future__ import annotations

import copy
import io
import warnings

import numpy as np
import pytest
import tifffile
from PIL import Image
from written_images import COLOUR, RAMP, STACK, pixels, saved, write_tiff

from microtome.data.stores import ImageReadError, open_source, read_labels

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
