"""COCO's JSON and QuPath's polygons, read by pycocotools and shapely."""

import json
import re

import numpy as np
import pytest
import shapely
from drawn_objects import CLASSES, drawn, objects, stored
from pycocotools.coco import COCO
from skimage.measure import regionprops

from microtome.inference.objects import ObjectOutputs
from microtome.structures.rle import decode_rle


def test_coco_reads_its_json(tmp_path, capsys, block):
    outputs = ObjectOutputs(tmp_path, CLASSES, ["coco"])
    instances = objects((70, 90))
    outputs.write("cells", stored(instances))
    read = COCO(tmp_path / "instances" / "cells.coco.json")
    dense = instances.masks.dense().tensor.numpy()
    assert [c["name"] for c in read.loadCats([0, 1, 2])] == list(CLASSES.names)
    assert read.imgs[1] == {"id": 1, "file_name": "cells", "width": 90, "height": 70}
    assert len(read.anns) == len(dense)
    for index, number in enumerate(instances.masks.ids.tolist()):
        one = read.anns[number]
        assert np.array_equal(read.annToMask(one), dense[index])
        y0, x0, y1, x1 = regionprops(dense[index].astype(int))[0].bbox
        assert one["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert one["category_id"] == instances.labels[index]
        assert one["area"] == dense[index].sum()


def test_coco_of_a_volume(tmp_path):
    outputs = ObjectOutputs(tmp_path, CLASSES, ["coco"])
    instances = objects((9, 40, 50))
    outputs.write("cells", stored(instances))
    read = json.loads((tmp_path / "instances" / "cells.coco.json").read_text())
    assert read["images"][0] == {
        "id": 1,
        "file_name": "cells",
        "width": 50,
        "height": 40,
        "depth": 9,
    }
    dense = dict(
        zip(instances.masks.ids.tolist(), instances.masks.dense().tensor.numpy(), strict=True)
    )
    for one in read["annotations"]:
        assert np.array_equal(decode_rle(one["segmentation"]), dense[one["id"]])
        x, y, z, w, h, d = one["bbox"]
        inside = dense[one["id"]][z : z + d, y : y + h, x : x + w]
        assert inside.sum() == one["area"] == dense[one["id"]].sum()


def painted(feature, shape):
    """Which pixel centres lie in a feature's geometry, by shapely."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    return shapely.contains_xy(shapely.geometry.shape(feature["geometry"]), columns, rows)


@pytest.mark.parametrize("seed", range(3))
def test_polygons_are_valid_and_exact(tmp_path, seed):
    """Random pixels: corners that touch, holes in holes; QuPath rounds to two decimals."""
    noise = np.random.default_rng(seed).random((24, 30)) < 0.6
    ids = np.where(noise, 1 + np.arange(30) // 10, 0)
    outputs = ObjectOutputs(tmp_path, CLASSES, ["geojson"])
    outputs.write("noise", stored(objects(ids.shape, ids=ids)))
    read = json.loads((tmp_path / "instances" / "noise.geojson").read_text())
    assert read["type"] == "FeatureCollection" and len(read["features"]) == 3
    for feature in read["features"]:
        geometry = shapely.geometry.shape(feature["geometry"])
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        rounded = shapely.set_precision(geometry, 0.01)
        assert rounded.equals(geometry) and rounded.area == geometry.area
        number = feature["properties"]["measurements"]["Object ID"]
        assert np.array_equal(painted(feature, ids.shape), ids == number)
        for polygon in getattr(geometry, "geoms", [geometry]):
            assert polygon.exterior.is_ring


def test_qupath_is_told_class_colour_and_measurements(tmp_path):
    ids = np.zeros((20, 20), np.int64)
    ids[2:12, 3:13] = 5
    ids[5:8, 6:9] = 0  # a hole
    ids[14, 14] = ids[15, 15] = 9  # two parts that touch at a corner
    outputs = ObjectOutputs(tmp_path, CLASSES, ["geojson"])
    outputs.write("cells", stored(objects(ids.shape, ids=ids)))
    ring, parts = json.loads((tmp_path / "instances" / "cells.geojson").read_text())["features"]
    assert ring["geometry"]["type"] == "Polygon" and parts["geometry"]["type"] == "MultiPolygon"
    outer, hole = ring["geometry"]["coordinates"]
    assert sorted(outer[:-1]) == [[3, 2], [3, 12], [13, 2], [13, 12]] and outer[0] == outer[-1]
    assert sorted(hole[:-1]) == [[6, 5], [6, 8], [9, 5], [9, 8]]
    assert ring["properties"] == {
        "objectType": "detection",
        "classification": {"name": "round", "color": [200, 30, 30]},
        "measurements": {"Object ID": 5, "Pixels": 91, "Area µm^2": 4.55, "Score": 0.5},
    }
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ring["id"])
    assert ring["id"] != parts["id"]
    before = (tmp_path / "instances" / "cells.geojson").read_text()
    outputs.write("cells", stored(objects(ids.shape, ids=ids)))
    assert (tmp_path / "instances" / "cells.geojson").read_text() == before


def test_polygons_of_a_volume_lie_in_its_slices(tmp_path, block):
    shape = (9, 40, 50)
    outputs = ObjectOutputs(tmp_path, CLASSES, ["geojson"])
    outputs.write("cells", stored(objects(shape)))
    seen = np.zeros(shape, np.int64)
    features = json.loads((tmp_path / "instances" / "cells.geojson").read_text())["features"]
    for feature in features:
        plane = feature["geometry"]["plane"]
        assert (plane["c"], plane["t"]) == (-1, 0)
        inside = painted(feature, shape[1:])
        seen[plane["z"]][inside] = feature["properties"]["measurements"]["Object ID"]
    assert np.array_equal(seen, drawn(shape))
    assert len({feature["id"] for feature in features}) == len(features)
