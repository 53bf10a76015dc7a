"""Files of objects, read by the tools they are for or by the libraries behind them."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
import tifffile
import torch
from pycocotools.coco import COCO
from skimage.measure import regionprops

from microtome.data.stores import create_labels, open_labels, open_source
from microtome.inference import preview
from microtome.inference.objects import FoundObjects, ObjectOutputs, found, measure
from microtome.inference.objects.masks import masks
from microtome.structures import Classes, Instances, LabelLayers
from microtome.structures.rle import decode_rle

CLASSES = Classes(("background", "round", "flat"), colours=((0, 0, 0), (200, 30, 30), (0, 0, 255)))
SHAPES = [(70, 90), (9, 40, 50)]


def drawn(shape):
    """Blobs with holes and single pixels, [*S] ids that are not 1…N."""
    random = np.random.default_rng(0)
    ids = np.zeros(shape, np.int64)
    for number in range(25):
        middle, radius = random.integers(0, shape), random.integers(0, 7)
        ids[tuple(slice(max(m - radius, 0), m + radius + 1) for m in middle)] = 7 * number + 3
        if number % 2:
            ids[tuple(slice(max(m - radius + 3, 0), max(m + radius - 2, 0)) for m in middle)] = 0
    return ids


def objects(shape, spacing=None, scores=True, ids=None):
    layers = LabelLayers.from_ids(torch.from_numpy(drawn(shape) if ids is None else ids))
    labels = 1 + torch.arange(len(layers)) % 2
    sure = torch.linspace(0.5, 1, len(layers)) if scores else None
    return Instances(labels, scores=sure, masks=layers)


@pytest.fixture(params=SHAPES, ids=["2", "3"])
def shape(request):
    return request.param


@pytest.fixture(params=[1 << 24, 4096], ids=["whole", "blocks"])
def block(request, monkeypatch):
    """Maps are read as a whole, or in blocks that cut objects."""
    monkeypatch.setattr(found, "BLOCK", request.param)
    monkeypatch.setattr(found, "HELD", 16)


def stored(instances, spacing=(0.5, 0.25, 0.2)):
    return FoundObjects.of(instances, spacing[-instances.masks.maps[0].ndim :])


def test_blocks_cover_a_map_once(shape, block):
    counted = np.zeros(shape, int)
    here = stored(objects(shape)).maps[0]
    sizes = []
    for region in found.blocks(here):
        counted[region] += 1
        sizes.append(counted[region].size)
    assert (counted == 1).all()
    assert max(sizes) <= max(found.BLOCK, 16 ** len(shape))


def test_measures_are_those_of_scikit_image(shape, block):
    instances = objects(shape)
    measured = measure(stored(instances))
    theirs = regionprops(instances.masks.maps[0].numpy())
    assert len(theirs) == len(instances) > 10
    assert measured.pixels.tolist() == [one.area for one in theirs]
    assert np.allclose(measured.centroids, [one.centroid for one in theirs])
    assert measured.boxes.tolist() == [list(one.bbox) for one in theirs]


def test_every_mask_once(shape, block):
    instances = objects(shape)
    here = stored(instances)
    seen = np.zeros((len(here), *shape), bool)
    for one in masks(here, measure(here)):
        assert not seen[one.item].any()
        seen[(one.item, *one.region)] = one.inside
    assert np.array_equal(seen, instances.masks.dense().tensor.numpy())


def test_objects_that_overlap_and_those_without_a_pixel():
    layers = torch.zeros(2, 6, 8, dtype=torch.int32)
    layers[0, :4], layers[1, 2:] = 1, 3
    three = Instances(torch.tensor([1, 2, 1]), masks=LabelLayers(layers, torch.tensor([4, 5, 9])))
    here = FoundObjects.of(three)
    measured = measure(here)
    assert measured.pixels.tolist() == [32, 0, 32]
    assert measured.boxes.tolist() == [[0, 0, 4, 8], [0, 0, 0, 0], [2, 0, 6, 8]]
    assert measured.layers.tolist() == [0, -1, 1]
    assert sorted(one.item for one in masks(here, measured)) == [0, 2]
    layers[0, 0, 0] = 4
    with pytest.raises(ValueError, match="holds the number 4, and there are 3 objects"):
        measure(here)


def test_fiji_opens_the_tiff_at_its_scale(shape, tmp_path):
    outputs = ObjectOutputs(tmp_path, CLASSES)
    instances = objects(shape)
    outputs.write("deep/cells", stored(instances))
    with tifffile.TiffFile(tmp_path / "instances" / "deep" / "cells.tif") as file:
        assert np.array_equal(file.asarray(), drawn(shape))
        assert file.asarray().dtype == np.uint16
        assert file.is_imagej and file.imagej_metadata["unit"] == "um"
        assert file.imagej_metadata.get("spacing") == (0.5 if len(shape) == 3 else None)
        x, y = (file.pages[0].tags[tag].value for tag in ("XResolution", "YResolution"))
    assert x[0] / x[1] == pytest.approx(5) and y[0] / y[1] == pytest.approx(4)
    source = open_source(tmp_path / "instances" / "deep" / "cells.tif", channels="grey")
    assert source.info.spacing == pytest.approx((0.5, 0.25, 0.2)[-len(shape) :])


def test_ids_of_more_than_16_bits_become_an_ome_tiff(shape, tmp_path, monkeypatch):
    monkeypatch.setattr("microtome.inference.objects.maps.TILE", 32)
    ids = drawn(shape)
    ids[ids > 0] += 3_000_000_000
    outputs = ObjectOutputs(tmp_path, CLASSES)
    outputs.write("cells", stored(objects(shape, ids=ids)))
    with tifffile.TiffFile(tmp_path / "instances" / "cells.tif") as file:
        assert file.is_ome and file.is_bigtiff
        assert file.asarray().dtype == np.uint32
        assert np.array_equal(file.asarray(), ids)
        sizes = dict(re.findall(r'PhysicalSize([XYZ])="([\d.]+)"', file.ome_metadata))
    assert float(sizes["X"]) == 0.2 and float(sizes["Y"]) == 0.25
    assert torch.equal(outputs.read("cells").masks.ids, torch.from_numpy(np.unique(ids)[1:]))
    ids[0] = 2**33
    with pytest.raises(ValueError, match="8589934592 takes more than 32 bits"):
        outputs.write("more", stored(objects(shape, ids=ids)))
    assert not outputs.has("more")


@pytest.mark.parametrize("format", ["tif", "zarr"])
@pytest.mark.parametrize("largest", [9, 70_000])
def test_layers_become_channels_or_stores(tmp_path, largest, shape, format):
    maps = torch.zeros(2, *shape, dtype=torch.int32)
    maps[0, :6], maps[1, 4:8] = 1, 2
    masks_of_two = LabelLayers(maps, torch.tensor([4, largest]))
    outputs = ObjectOutputs(tmp_path, CLASSES, [format])
    outputs.write("two", stored(Instances(torch.tensor([1, 2]), masks=masks_of_two)))
    again = outputs.read("two")
    assert torch.equal(again.masks.maps, maps)
    assert again.masks.ids.tolist() == [4, largest]
    assert again.scores is None
    outputs.clear(["two"])
    assert list((tmp_path / "instances").iterdir()) == []


def test_ome_zarr_has_the_ids_and_the_scale(shape, tmp_path, block):
    outputs = ObjectOutputs(tmp_path, CLASSES, ["zarr"])
    assert outputs.formats == ("zarr", "csv")
    instances = objects(shape)
    outputs.write("cells", stored(instances))
    labels = open_labels(tmp_path / "instances" / "cells.ome.zarr")
    assert labels.spacing == pytest.approx((0.5, 0.25, 0.2)[-len(shape) :])
    assert np.array_equal(labels.read(tuple(slice(0, s) for s in shape)), drawn(shape))
    again = outputs.read("cells")
    assert torch.equal(again.masks.maps, instances.masks.maps)
    assert again.labels.tolist() == instances.labels.tolist()


def test_a_store_is_kept_when_it_is_complete(tmp_path):
    outputs, shape = ObjectOutputs(tmp_path, CLASSES, ["zarr"]), (30, 40)
    instances = objects(shape)
    store = create_labels(outputs.path("cells", "zarr"), shape, spacing=0.5)
    outputs.write("cells", stored(instances))  # what a killed run left is replaced
    assert torch.equal(outputs.read("cells").masks.maps, instances.masks.maps)
    outputs.clear(["cells"])
    store = create_labels(outputs.path("cells", "zarr"), shape, spacing=0.5)
    store.write((slice(0, 30), slice(0, 40)), instances.masks.maps[0].numpy())
    store.finish()
    found_there = FoundObjects.stored(store, instances.labels, instances.scores, (0.5, 0.5))
    outputs.write("cells", found_there)  # as after `predict_to`, which wrote 1…N
    again = outputs.read("cells")
    assert again.masks.ids.tolist() == list(range(1, len(instances) + 1))
    assert torch.equal(again.masks.maps, instances.masks.maps)
    assert torch.equal(again.labels, instances.labels)


def test_the_table(shape, tmp_path):
    outputs = ObjectOutputs(tmp_path, CLASSES, ["parquet", "tif"])
    instances = objects(shape)
    outputs.write("cells", stored(instances))
    with (tmp_path / "instances" / "cells.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    one = regionprops(instances.masks.maps[0].numpy())[4]
    row, steps = rows[4], (0.5, 0.25, 0.2)[-len(shape) :]
    axes = "zyx"[-len(shape) :]
    assert (row["image"], row["class"]) == ("cells", "round")
    assert int(row["id"]) == instances.masks.ids[4]
    assert int(row["pixels"]) == one.area
    size = float(row["area_um2" if len(shape) == 2 else "volume_um3"])
    assert size == pytest.approx(one.area * np.prod(steps), abs=1e-4)
    middle = [float(row[f"centroid_{axis}_um"]) for axis in axes]
    assert middle == pytest.approx(
        [c * s for c, s in zip(one.centroid, steps, strict=True)], abs=1e-4
    )
    box = [int(row[f"box_{axis}{side}"]) for side in (0, 1) for axis in axes]
    assert box == list(one.bbox)
    typed = pq.read_table(tmp_path / "instances" / "cells.parquet").to_pylist()
    assert [{k: str(v) for k, v in row.items()} for row in typed] == rows


def test_without_scale_and_scores_the_cells_are_empty(tmp_path):
    outputs = ObjectOutputs(tmp_path, CLASSES, ["parquet"])
    outputs.write("cells", FoundObjects.of(objects((30, 40), scores=False)))
    row = pq.read_table(tmp_path / "instances" / "cells.parquet").to_pylist()[0]
    assert row["score"] is row["area_um2"] is row["centroid_x_um"] is None
    assert row["centroid_x_px"] >= 0
    assert outputs.read("cells").scores is None


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


def test_images_without_objects(shape, tmp_path):
    outputs = ObjectOutputs(tmp_path, CLASSES, ["tif", "zarr", "coco", "geojson", "parquet"])
    nothing = objects(shape, ids=np.zeros(shape, np.int64))
    outputs.write("empty", stored(nothing))
    assert outputs.has("empty")
    assert len(outputs.read("empty")) == 0
    assert tuple(outputs.read("empty").masks.maps.shape) == (1, *shape)
    assert json.loads((tmp_path / "instances" / "empty.geojson").read_text())["features"] == []
    assert pq.read_table(tmp_path / "instances" / "empty.parquet").num_rows == 0


def test_what_is_there_is_read_again_joined_and_cleared(shape, tmp_path):
    outputs = ObjectOutputs(tmp_path, CLASSES, ["tif"])
    instances = objects(shape)
    for name in ("a", "b/c"):
        assert not outputs.has(name)
        outputs.write(name, stored(instances))
        assert outputs.has(name)
    again = outputs.read("b/c")
    assert torch.equal(again.masks.maps, instances.masks.maps)
    assert torch.equal(again.masks.ids, instances.masks.ids)
    assert torch.equal(again.labels, instances.labels)
    assert torch.allclose(again.scores, instances.scores, atol=1e-4)
    outputs.finish(["a", "b/c", "failed"])
    rows = list(csv.DictReader((tmp_path / "objects.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == ["a"] * len(instances) + ["b/c"] * len(instances)
    outputs.clear(["a"])
    assert not outputs.has("a") and outputs.has("b/c")
    with pytest.raises(ValueError, match="no format png, xml; choose of tif, zarr"):
        ObjectOutputs(tmp_path, CLASSES, ["png", "csv", "xml"])


@pytest.mark.parametrize("steps", [1, 3])
def test_a_small_copy_for_pictures(shape, monkeypatch, steps):
    monkeypatch.setattr(preview, "ROOM", 700)  # pixels of a map at a time
    instances, dims = objects(shape), len(shape)
    size = tuple(s // steps for s in shape)
    small = preview.Preview(torch.zeros(1, *size), (steps,) * dims, (1.0,) * dims)
    copy = found.sampled(stored(instances), small)
    whole = instances.masks.maps[:, *(slice(steps // 2, steps * s, steps) for s in size)]
    assert torch.equal(copy.masks.maps, whole)
