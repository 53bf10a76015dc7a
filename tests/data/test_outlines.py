"""Objects as outlines: of COCO, with its own tools as judge, and of QuPath."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from written_objects import dataset, dense, saved, truths

from microtome.data.manifest import parse_manifest
from microtome.data.objects.outlines import read_coco
from microtome.data.records import ManifestError
from microtome.data.stores import ImageReadError
from real_layouts import discs, write_coco, write_qupath


def test_coco_with_gaps_in_ids_a_crowd_and_overlaps(tmp_path):
    write_coco(tmp_path, count=4)
    folders = {"images": "images", "annotations": "instances.json"}
    description = {"folders": folders, "split": {"val": {"fraction": 0.25}}}
    found = parse_manifest(description, tmp_path)
    assert found.classes.names == ("background", "nucleus", "mitosis"), "in the order of their ids"
    assert found.classes.things == (False, True, True)
    for record, sample in zip(found.splits["train"], dataset(found, "train"), strict=False):
        seed = int(record.name)
        masks, truth = discs(seed)[1], sample.truth
        np.testing.assert_array_equal(dense(truth), masks[:3])
        assert truth.instances.labels.tolist() == [1, 2, 1]
        assert truth.instances.masks.ids.tolist() == [70_000 + 10 * seed + n for n in range(3)]
        alone = masks[3] & ~np.any(masks[:3], 0)
        assert (truth.classes.numpy()[alone] == 255).all(), "the crowd is not judged"
        assert ((truth.classes.numpy() == 255) == alone).all()
        assert len(truth.instances.masks.maps) == 2, "the third overlaps the first"


def test_masks_are_those_of_cocos_own_tool(tmp_path, capsys):
    """Run lengths exactly; of outlines, COCO's own tool also takes pixels that they only touch."""
    from pycocotools import mask as tool
    from pycocotools.coco import COCO

    write_coco(tmp_path, count=2)
    file = tmp_path / "instances.json"
    content = json.loads(file.read_text())
    whole = np.zeros((48, 64), bool)
    whole[5:30, 7] = whole[9, 7:50] = True
    packed = tool.encode(np.asfortranarray(whole.astype(np.uint8)))
    content["annotations"][0]["segmentation"] = packed | {"counts": packed["counts"].decode()}
    file.write_text(json.dumps(content))
    judge = COCO(str(file))
    for image in judge.imgs.values():
        for part in read_coco(file).parts(tmp_path / image["file_name"], (48, 64)):
            theirs = judge.annToMask(judge.anns[part.number]).astype(bool)
            ours = np.zeros((48, 64), bool)
            ours[part.region] = part.mask
            shared = (ours & theirs).sum() / (ours | theirs).sum()
            exact = isinstance(judge.anns[part.number]["segmentation"], dict)
            assert shared == 1 if exact else shared > 0.85
            assert part.crowd == (part.number % 10 == 3)


@pytest.mark.parametrize("packed", [False, True])
def test_outlines_of_qupath_with_holes_and_words(tmp_path, packed):
    write_qupath(tmp_path, count=2)
    for file in (tmp_path / "annotations").iterdir():
        if packed:
            file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
            file.unlink()
    description = {
        "class_names": ["rest", "Tumor"],
        "object_classes": {"Stroma": 0},
        "folders": {"images": "images", "labels": "annotations"},
    }
    for seed, truth in enumerate(truths(description, tmp_path).values()):
        masks = discs(seed)[1]
        middle = tuple(int(c.mean()) for c in masks[0].nonzero())
        masks[0][middle] = False
        np.testing.assert_array_equal(dense(truth), [masks[0], *masks[2:]], "stroma is left out")
        assert truth.instances.masks.ids.tolist() == [1, 3, 4]
    ignoring = description | {"object_classes": {"*": 255}}
    for seed, truth in enumerate(truths(ignoring, tmp_path).values()):
        masks = discs(seed)[1]
        bare = masks[1] & ~np.any(dense(truth), 0)
        assert (truth.classes.numpy()[bare] == 255).all() and len(truth.instances) == 3


GEOMETRIES = {
    "MultiPolygon": [
        [[[0, 0], [4, 0], [4, 2], [0, 2], [0, 0]]],
        [[[6, 0], [8, 0], [8, 2], [6, 0]]],
    ],
    "Polygon": [[[-5, -5], [3, -5], [3, 99], [-5, 99], [-5, -5]]],  # beyond the image
}


@pytest.mark.parametrize(
    "classification, label",
    [({"name": "b"}, 2), ({"names": ["b", "c"]}, 1), ("b", 2), (None, 1), ({"name": "Ignore*"}, 0)],
)
@pytest.mark.parametrize("kind", GEOMETRIES)
def test_what_geojson_may_look_like(tmp_path, kind, classification, label):
    saved(tmp_path / "i" / "a.png", np.zeros((9, 9), np.uint8))
    geometry = {"type": kind, "coordinates": GEOMETRIES[kind], "isEllipse": False}
    feature = {"type": "Feature", "geometry": geometry, "properties": {}}
    feature["properties"]["classification"] = classification
    (tmp_path / "a.json").write_text(json.dumps([feature]))
    description = {
        "class_names": ["rest", "a", "b"],
        "object_classes": {"": 1, "b: c": 1},
        "data": {"test": [{"image_path": "i/a.png", "labels_path": "a.json"}]},
    }
    (truth,) = truths(description, tmp_path).values()
    expected = np.zeros((9, 9), bool)
    if kind == "Polygon":
        expected[:, :3] = True
    else:
        expected[:2, :4] = expected[:2, 7] = expected[0, 6] = True
        expected[1, 6] = False
    if label:
        assert truth.instances.labels.tolist() == [label]
        np.testing.assert_array_equal(dense(truth)[0], expected)
    else:
        np.testing.assert_array_equal(truth.classes == 255, expected)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"annotations": [{"id": 1, "image_id": 9, "category_id": 3}]}, "there is no image 9"),
        ({"annotations": [{"id": 1, "image_id": 100, "category_id": 1}]}, "no category 1"),
        ({"images": [{"id": 1}]}, "images: expected id, file_name, height and width"),
        ({"categories": None}, "categories: expected a list of id and name"),
        ({"annotations": None, "images": []}, "lists no image"),
    ],
)
def test_what_is_wrong_with_a_file_of_coco(tmp_path, change, message):
    write_coco(tmp_path, count=1)
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    folders = {"images": "images", "annotations": "instances.json"}
    with pytest.raises(ManifestError, match=message):
        parse_manifest({"num_classes": 3, "folders": folders}, tmp_path)


@pytest.mark.parametrize(
    "segmentation, message",
    [
        ([[0, 0, 5, 5, 5]], r"annotation 70000 of 000000000000.png: expected polygons"),
        ([], "has no segmentation, and a box alone is no mask"),
        ({"size": [5, 5], "counts": [25]}, "is 5 x 5 pixels, but its image 48 x 64"),
        ({"size": [48, 64], "counts": "?"}, "run lengths"),
    ],
)
def test_outlines_that_are_none(tmp_path, segmentation, message):
    write_coco(tmp_path, count=1)
    file = tmp_path / "instances.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["segmentation"] = segmentation
    file.write_text(json.dumps(content))
    with pytest.raises(ImageReadError, match=message):
        truths({"folders": {"images": "images", "annotations": "instances.json"}}, tmp_path)
