"""Images straight out of a zip file: as read as from a folder, or refused."""

from __future__ import annotations

import io
import multiprocessing
import os
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from written_images import COLOUR, RAMP, STACK, pixels, saved, write_tiff

from microtome.data.folders import Folders
from microtome.data.image_dataset import ImageDataset
from microtome.data.records import Record
from microtome.data.stores import ImageReadError, archives, read_labels
from microtome.data.stores.archives import (
    MAX_MEMBER,
    check_archive,
    files_below,
    is_folder,
    opened,
    size_of,
    text_of,
)
from microtome.structures import Classes


def packed(path, folder, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture
def both(tmp_path):
    """A folder of images with masks, and the same as a zip file."""
    folder = tmp_path / "plain"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for i in range(6):
        saved(folder / "images" / f"{i}.png", np.roll(COLOUR, i, 0))
        saved(folder / "masks" / f"{i}.png", RAMP // 60 % (i + 1))
    return folder, packed(tmp_path / "data.zip", folder)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
def test_a_member_is_read_as_the_file_is(tmp_path, suffix, method):
    (tmp_path / "in").mkdir()
    file = saved(tmp_path / "in" / f"a.{suffix}", COLOUR)
    archive = packed(tmp_path / "x.zip", tmp_path / "in", method)
    assert (pixels(archive / file.name) == pixels(file)).all()
    assert size_of(archive / file.name) == file.stat().st_size


def test_sixteen_bits_and_stacks_and_labels_too(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    saved(folder / "deep.png", STACK[0])
    write_tiff(folder / "stack.tif", STACK, metadata={"axes": "ZYX"}, compression="zlib")
    archive = packed(tmp_path / "x.zip", folder)
    assert (read_labels(archive / "deep.png") == STACK[0]).all()
    assert (read_labels(archive / "stack.tif") == STACK).all()


def test_folders_are_found_inside(both):
    folder, archive = both
    plain = Folders(folder / "images", folder / "masks").records()
    inside = Folders(archive / "images", archive / "masks").records()
    assert [r.name for r in inside] == [r.name for r in plain] == list("012345")
    assert inside[2].mask == archive / "masks" / "2.png"
    assert is_folder(archive) and is_folder(archive / "images")
    assert not is_folder(archive / "image") and not is_folder(archive / "images" / "0.png")
    assert len(list(files_below(archive))) == check_archive(archive) == 12
    assert size_of(archive / "images" / "9.png") is None
    with pytest.raises(ImageReadError, match="no such file"):
        pixels(archive / "images" / "9.png")
    with pytest.raises(ImageReadError, match="is a folder"):
        pixels(archive / "images")


def dataset(root):
    rows = [Record(root / "images" / f"{i}.png", root / "masks" / f"{i}.png") for i in range(6)]
    return ImageDataset(rows, Classes(tuple("abcdef")))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_loader_processes_read_the_same_whatever_way_they_start(both, method):
    """The parent reads first, so that a forked child inherits an open handle."""
    folder, archive = both
    data, plain = dataset(archive), dataset(folder)
    expected = [plain[i].image for i in range(len(plain))]
    assert torch.equal(data[0].image, expected[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking with threads: the case to be tested
        loader = DataLoader(
            data, None, num_workers=1, multiprocessing_context=multiprocessing.get_context(method)
        )
        for _ in range(2 if method == "fork" else 1):
            found = [sample.image for sample in loader]
            assert all(map(torch.equal, found, expected))


def _move(archive):
    os.lseek(archives._archive(archive).handle.fp.fileno(), 7, os.SEEK_SET)


def test_a_forked_process_does_not_share_its_place_in_the_file(both):
    _, archive = both
    mine = archives._archive(archive).handle.fp.fileno()
    os.lseek(mine, 3, os.SEEK_SET)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # forking with threads
        child = multiprocessing.get_context("fork").Process(target=_move, args=(archive,))
        child.start()
    child.join()
    assert child.exitcode == 0 and os.lseek(mine, 0, os.SEEK_CUR) == 3


def test_a_replaced_archive_is_opened_anew(tmp_path):
    for text in (b"one", b"other"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a.txt", text)
        with opened(tmp_path / "x.zip" / "a.txt") as file:
            assert file.read() == text


def written(path, name="a.png", content=b"1234", **changes):
    """An archive with one file whose entry is changed before writing."""
    info = zipfile.ZipInfo(name)
    for key, value in changes.items():
        setattr(info, key, value)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, content)
    return path


@pytest.mark.parametrize("name", ["/etc/a.png", "../a.png", "a/../../b.png", "C:a.png", "a\\b.png"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    with pytest.raises(ImageReadError, match=r"x\.zip: is refused.*leads out of the archive"):
        check_archive(written(tmp_path / "x.zip", name))


def test_links_are_refused(tmp_path):
    archive = written(tmp_path / "x.zip", "a.png", b"/etc/passwd", external_attr=0o120777 << 16)
    with pytest.raises(ImageReadError, match="is a link"):
        pixels(archive / "a.png")


def test_equal_names_and_other_methods_are_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            archive.writestr("a", "1")
            archive.writestr("a", "2")
    with pytest.raises(ImageReadError, match="two files of one name"):
        check_archive(tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "y.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a", "1" * 99)
    with pytest.raises(ImageReadError, match="another method"):
        check_archive(tmp_path / "y.zip")


def test_names_are_read_as_they_are_listed(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("./a/b.txt", "a//c.txt", "a/10:30.txt"):
            archive.writestr(name, name)
    found = list(files_below(tmp_path / "x.zip" / "a"))
    assert [file.name for file in found] == ["10:30.txt", "b.txt", "c.txt"]
    assert all(text_of(file).endswith(file.name) for file in found)
    assert check_archive(tmp_path / "x.zip") == 3


def test_what_is_not_read_spoils_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.txt", "1")
        archive.writestr("b.txt", "1" * 99, zipfile.ZIP_BZIP2)
    assert text_of(tmp_path / "x.zip" / "a.txt") == "1"
    with pytest.raises(ImageReadError, match=r"b\.txt.*another method"):
        text_of(tmp_path / "x.zip" / "b.txt")
    with pytest.raises(ImageReadError, match=r"is refused.*b\.txt.*another method"):
        check_archive(tmp_path / "x.zip")


def _patched(path, field, value):
    """Change a number in the central directory: 20 packed size, 24 size, 42 offset, 8 flags."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2") + field
    form = "<H" if field == 8 else "<I"
    struct.pack_into(form, content, at, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (24, MAX_MEMBER + 1, "claims 1,073,741,825 bytes"),
        (24, 4 * 1101, "claims 4,404 bytes, packed in 4"),
        (8, 1, "encrypted"),
        (20, 10**6, "overlap"),
    ],
)
def test_bombs_and_locks_are_refused_before_anything_is_unpacked(tmp_path, field, value, message):
    archive = _patched(written(tmp_path / "x.zip"), field, value)
    with pytest.raises(ImageReadError, match=message):
        check_archive(archive)


def test_a_real_bomb_is_refused(tmp_path):
    """Zeros pack a thousandfold; a picture of zeros does not come near that."""
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 40_000_000)
    assert (tmp_path / "x.zip").stat().st_size < 50_000
    content = io.BytesIO((tmp_path / "x.zip").read_bytes()).getvalue()
    nested = written(tmp_path / "y.zip", "a.png", content, compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(ImageReadError):
        pixels(nested / "a.png")  # a zip inside is no picture; nothing is opened twice
    with pytest.raises(ImageReadError):
        pixels(tmp_path / "x.zip" / "a.png")


def test_damage_is_told_with_the_member(both):
    _, archive = both
    with zipfile.ZipFile(archive) as table:
        info = table.getinfo("images/3.png")
    content = bytearray(archive.read_bytes())
    content[info.header_offset + 60] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(ImageReadError, match=r"images/3\.png"):
        pixels(archive / "images" / "3.png")
    for size in (0, 30, len(content) // 2):
        archive.write_bytes(content[:size])
        with pytest.raises(ImageReadError, match="no zip file, or damaged"):
            pixels(archive / "images" / "0.png")
