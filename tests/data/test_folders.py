"""Folders of images, masks and label maps: pairing, groups, and what is left over."""

from __future__ import annotations

from pathlib import Path

import pytest

from microtome.data.folders import Folders
from microtome.data.manifest import parse_manifest, read_manifest, write_manifest
from microtome.data.records import ManifestError
from microtome.data.tables import Column


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def pairs(folders):
    named = ([p and p.name for p in r[:3]] for r in folders.records())
    return [tuple(n) for n in named]


def test_masks_by_suffix_and_labels_by_stem(tmp_path):
    touch(tmp_path, "i/b.JPG", "i/a.png", "i/._a.png", "i/notes.txt", "m/a_seg.png", "m/b_seg.tif")
    touch(tmp_path, "m/a_other.png", "l/a.tif", "l/b.ome.tif")
    found = Folders(tmp_path / "i", tmp_path / "m", tmp_path / "l", mask_suffix="_seg")
    assert pairs(found) == [("a.png", "a_seg.png", "a.tif"), ("b.JPG", "b_seg.tif", "b.ome.tif")]
    assert pairs(Folders(tmp_path / "i")) == [("a.png", None, None), ("b.JPG", None, None)]


def test_subfolders(tmp_path):
    touch(tmp_path, "i/p1/a.png", "i/p2/a.png", "m/p1/a.png", "m/p2/a.png")
    found = Folders(tmp_path / "i", tmp_path / "m").records()
    assert [r.mask.parent.name for r in found] == [r.image.parent.name for r in found]
    touch(tmp_path, "flat/x.png", "deep/p1/x.png")
    mixed = Folders(tmp_path / "deep", tmp_path / "flat")
    assert pairs(mixed) == [("x.png", "x.png", None)], "stems suffice while they are different"


def test_masks_among_the_images(tmp_path):
    touch(tmp_path, "a.png", "a_mask.png", "b.png", "b_mask.png", "labels/a.png", "labels/b.png")
    found = Folders(tmp_path, tmp_path, tmp_path / "labels", mask_suffix="_mask")
    assert pairs(found) == [("a.png", "a_mask.png", "a.png"), ("b.png", "b_mask.png", "b.png")]
    with pytest.raises(ManifestError, match="own folder need a suffix"):
        Folders(tmp_path, tmp_path).records()


def test_what_has_no_partner_is_told_or_left_out(tmp_path):
    touch(tmp_path, "i/a.png", "i/b.png", "m/b.png", "m/c.png")
    with pytest.raises(ManifestError) as caught:
        Folders(tmp_path / "i", tmp_path / "m").records()
    assert caught.value.problems == (
        f"image without mask: {tmp_path / 'i/a.png'}",
        f"mask without image: {tmp_path / 'm/c.png'}",
    )
    kept = Folders(tmp_path / "i", tmp_path / "m", skip_unpaired=True)
    assert pairs(kept) == [("b.png", "b.png", None)]
    touch(tmp_path, "m/b.tif")
    with pytest.raises(ManifestError, match=r"the same name twice: .*b\.png, .*b\.tif"):
        Folders(tmp_path / "i", tmp_path / "m", skip_unpaired=True).records()


def test_missing_and_empty_folders(tmp_path):
    touch(tmp_path, "i/a.png", "empty/x.txt")
    for folders, message in (
        (Folders(tmp_path / "none"), "no such folder"),
        (Folders(tmp_path / "empty"), r"no image \(.png"),
        (Folders(tmp_path / "i", tmp_path / "none"), "no such folder: .*none"),
    ):
        with pytest.raises(ManifestError, match=message):
            folders.records()


def test_groups_from_a_table_or_a_pattern(tmp_path):
    touch(tmp_path, "i/p01_x.png", "i/p02_y.png")
    (tmp_path / "g.csv").write_text("image,patient\np01_x,7\np02_y,8\n")
    table = Folders(tmp_path / "i", group_table=Column(tmp_path / "g.csv", "image", "patient"))
    assert [r.group for r in table.records()] == ["7", "8"]
    for pattern, expected in ((r"^p(\d+)", ["01", "02"]), (r"^p\d+", ["p01", "p02"])):
        found = Folders(tmp_path / "i", group_pattern=pattern).records()
        assert [r.group for r in found] == expected
    touch(tmp_path, "i/q.png")
    for folders in (table, Folders(tmp_path / "i", group_pattern=r"^p(\d+)")):
        with pytest.raises(ManifestError, match=r"no group for .*q\.png"):
            folders.records()


def test_a_manifest_of_folders_split_and_written(tmp_path):
    names = [f"p{p}_{i}" for p in (1, 2, 3) for i in "ab"]
    touch(tmp_path, *(f"i/{n}.png" for n in names), *(f"m/{n}_seg.png" for n in names))
    description = {
        "num_classes": 2,
        "mask_values": {"0": 0, "255": 1},
        "folders": {"images": "i", "masks": "m", "mask_suffix": "_seg", "group_pattern": "p."},
        "split": {"val": {"groups": ["p2"]}},
    }
    found = parse_manifest(description, tmp_path)
    assert [r.name for r in found.splits["val"]] == ["p2_a", "p2_b"]
    assert len(found.splits["train"]) == 4 and not found.splits["test"]
    write_manifest(found, tmp_path / "split.json")
    assert read_manifest(tmp_path / "split.json") == found
    without = parse_manifest({k: v for k, v in description.items() if k != "split"}, tmp_path)
    assert {k: len(v) for k, v in without.splits.items()} == {"train": 0, "val": 0, "test": 6}


def test_a_manifest_with_folders_of_each_split(tmp_path):
    touch(tmp_path, "train/i/a.png", "train/m/a.png", "val/i/b.png", "val/m/b.png")
    each = {s: {"images": f"{s}/i", "masks": f"{s}/m"} for s in ("train", "val")}
    found = parse_manifest({"num_classes": 2, "folders": each}, tmp_path)
    names = {split: [r.name for r in records] for split, records in found.splits.items()}
    assert names == {"train": ["a"], "val": ["b"], "test": []}


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({"masks": "m"}, 'folders: expected {"images"'),
        ({"images": "i", "mask_sufix": "x"}, "did you mean 'mask_suffix'?"),
        ({"images": "i", "skip_unpaired": "yes"}, "skip_unpaired: expected bool"),
        ({"images": "i", "group_pattern": "("}, "group_pattern"),
        ({"images": "i", "group_table": {"csv": "g.csv"}}, "group_table: expected"),
        ({"images": "none"}, "no such folder"),
    ],
)
def test_mistakes_in_folders(tmp_path, folders, message):
    touch(tmp_path, "i/a.png")
    with pytest.raises(ManifestError) as caught:
        parse_manifest({"num_classes": 2, "folders": folders}, tmp_path)
    assert message in str(caught.value)


def test_paths_stay_as_given():
    with pytest.raises(ManifestError, match="no such folder"):
        Folders(Path("nowhere")).records()
