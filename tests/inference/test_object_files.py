"""Files of objects: maps that Fiji and napari open, tables, and what is read again."""

import csv
import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
import torch
from drawn_objects import CLASSES, drawn, objects, stored
from skimage.measure import regionprops

from microtome.data.stores import create_labels, open_labels, open_source
from microtome.inference.objects import FoundObjects, ObjectOutputs
from microtome.structures import Instances, LabelLayers


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
