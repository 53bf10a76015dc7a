"""Objects that were found: measured, masked, copied small; whole, and in blocks."""

import numpy as np
import pytest
import torch
from drawn_objects import objects, stored
from skimage.measure import regionprops

from microtome.inference import preview
from microtome.inference.objects import FoundObjects, found, measure
from microtome.inference.objects.masks import masks
from microtome.structures import Instances, LabelLayers


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


@pytest.mark.parametrize("steps", [1, 3])
def test_a_small_copy_for_pictures(shape, monkeypatch, steps):
    monkeypatch.setattr(preview, "ROOM", 700)  # pixels of a map at a time
    instances, dims = objects(shape), len(shape)
    size = tuple(s // steps for s in shape)
    small = preview.Preview(torch.zeros(1, *size), (steps,) * dims, (1.0,) * dims)
    copy = found.sampled(stored(instances), small)
    whole = instances.masks.maps[:, *(slice(steps // 2, steps * s, steps) for s in size)]
    assert torch.equal(copy.masks.maps, whole)
