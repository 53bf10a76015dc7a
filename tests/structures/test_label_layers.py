"""Masks as layers of numbers: overlaps, choosing, joining, resizing, ids of any size."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from microtome.structures import Boxes, Instances, LabelLayers

IDS = [70_001, 2**24 + 1, 2**53 + 1]  # neither uint16, nor float32, nor float64 holds them all


def squares(dims):
    """Three cubes of 4: the second overlaps the first, the third overlaps none."""
    masks = torch.zeros(3, *[12] * dims, dtype=torch.bool)
    for mask, start in zip(masks, (0, 2, 8), strict=True):
        mask[(slice(start, start + 4),) * dims] = True
    return masks


@pytest.fixture(params=[2, 3])
def dims(request):
    return request.param


@pytest.fixture
def layers(dims):
    return LabelLayers.from_masks(squares(dims), IDS)


def test_overlapping_masks_take_further_layers(layers, dims):
    assert len(layers.maps) == 2 and layers.maps.dtype == torch.int32
    assert layers.dense().tensor.equal(squares(dims))
    assert layers.ids.tolist() == IDS and layers.ids.dtype == torch.int64
    assert layers.areas().tolist() == [4**dims] * 3


def test_masks_come_from_anywhere(dims):
    masks = squares(dims)
    read = LabelLayers.from_masks(mask.numpy() for mask in masks)
    assert read.ids.tolist() == [1, 2, 3] and read.dense().tensor.equal(masks)
    none = LabelLayers.from_masks(masks[:0])
    assert len(none) == 0 and none.maps.shape == (1, *[12] * dims) and not none.maps.any()


def test_masks_of_boxes_are_those_of_the_image(dims):
    boxes = [(slice(start, start + 5),) * dims for start in (0, 2, 7)]
    parts = ((box, mask[box]) for box, mask in zip(boxes, squares(dims), strict=True))
    read = LabelLayers.from_parts(parts, (12,) * dims, IDS)
    assert read.maps.equal(LabelLayers.from_masks(squares(dims), IDS).maps)
    assert len(LabelLayers.from_parts([], (3,) * dims)) == 0


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"mask 2 is \(3, 2\), expected \(2, 2\)"):
        LabelLayers.from_masks([torch.ones(2, 2), torch.ones(3, 2)])
    with pytest.raises(ValueError, match="1 masks but 2 ids"):
        LabelLayers.from_masks([torch.ones(2, 2)], [1, 2])
    with pytest.raises(ValueError, match="no shape"):
        LabelLayers.from_masks([])


def test_ids_come_back_exactly(layers, dims):
    maps = layers.id_maps()
    assert maps.dtype == torch.int64 and maps.unique().tolist() == [0, *IDS]
    flat = maps[0]
    assert LabelLayers.from_ids(flat).id_maps()[0].equal(flat)


def test_objects_are_chosen_in_order(layers, dims):
    masks = squares(dims)
    for index in ([2, 0], torch.tensor([2, 0]), [-1, 0]):
        assert layers[index].ids.tolist() == [IDS[2], IDS[0]]
        assert layers[index].dense().tensor.equal(masks[[2, 0]])
    assert layers[1:].dense().tensor.equal(masks[1:]) and layers[1].dense().tensor.equal(masks[1:2])
    assert layers[torch.tensor([True, False, True])].dense().tensor.equal(masks[[0, 2]])
    assert len(layers[[]]) == 0 and not layers[[]].maps.any()


def test_objects_that_are_not_there(layers):
    with pytest.raises(IndexError, match="there are 3 objects"):
        layers[[0, 3]]
    with pytest.raises(IndexError, match="mask of 3 objects"):
        layers[torch.tensor([True, False])]
    with pytest.raises(ValueError, match="twice"):
        layers[[0, 0]]


def test_joining_lays_layers_upon_each_other(dims):
    masks = squares(dims)
    parts = [LabelLayers.from_masks(mask[None], [i]) for mask, i in zip(masks, IDS, strict=True)]
    both = LabelLayers.cat(parts)
    assert len(both.maps) == 2 and both.ids.tolist() == IDS and both.dense().tensor.equal(masks)
    with pytest.raises(ValueError, match="one shape"):
        LabelLayers.cat([parts[0], parts[1].crop((slice(0, 3),) * dims)])


def test_other_ids(layers, dims):
    masks = squares(dims)
    other = layers.relabel(torch.tensor([9, 0, 2**24 + 3]))
    assert other.ids.tolist() == [9, 2**24 + 3] and other.dense().tensor.equal(masks[[0, 2]])
    one = layers.relabel(torch.tensor([5, 5, 4]))
    assert one.ids.tolist() == [4, 5]
    assert one.dense().tensor.equal(torch.stack([masks[2], masks[0] | masks[1]]))
    assert one.areas().tolist() == [4**dims, 2 * 4**dims - 2**dims]  # what they share counts once
    for wrong in ([1, 2], [1, 2, -1]):
        with pytest.raises(ValueError, match="3 ids from 0 on"):
            layers.relabel(torch.tensor(wrong))


def test_points_find_their_pixel(layers, dims):
    points = torch.tensor([[0.5 / 12] * dims, [3.5 / 12] * dims, [1.0] * dims, [7.5 / 12] * dims])
    assert layers.sample(points).T.tolist() == [[1, 0], [1, 2], [3, 0], [0, 0]]


@pytest.mark.parametrize("size", [1, 5, 12, 31])
def test_resizing_takes_the_nearest_pixel(layers, dims, size):
    """As torch's `nearest-exact`."""
    shape = (size, 12, 17)[:dims]
    theirs = F.interpolate(layers.maps[None].double(), shape, mode="nearest-exact")[0]
    assert layers.resize(shape).maps.equal(theirs.to(torch.int32))
    assert layers.resize(shape).ids.tolist() == IDS


def test_more_objects_than_a_small_integer_holds():
    ids = torch.arange(2**24, 2**24 + 70_000).reshape(280, 250)
    layers = LabelLayers.from_ids(ids)
    assert layers.crop((slice(279, 280), slice(0, 250))).present()[0].ids.equal(ids[279])
    assert layers.id_maps()[0].equal(ids)
    assert layers.boxes()[-1].tolist() == [279, 249, 280, 250]


class TestInstances:
    def made(self, dims, **parts):
        masks = LabelLayers.from_masks(squares(dims), IDS)
        given = {"boxes": Boxes(masks.boxes()), "scores": torch.tensor([0.1, 0.2, 0.3])} | parts
        return Instances(torch.tensor([4, 5, 6]), masks=masks, **given)

    def test_every_part_is_chosen(self, dims):
        chosen = self.made(dims)[[2, 0]]
        assert chosen.labels.tolist() == [6, 4]
        np.testing.assert_allclose(chosen.scores, [0.3, 0.1])
        assert chosen.boxes.tensor.equal(chosen.masks.boxes())
        assert chosen.masks.ids.tolist() == [IDS[2], IDS[0]]
        assert len(self.made(dims)[1]) == 1 and len(self.made(dims)[:2]) == 2
        bare = Instances(torch.tensor([1, 2]))[torch.tensor([False, True])]
        assert bare.labels.tolist() == [2] and bare.boxes is None and bare.masks is None

    def test_joining_is_the_inverse_of_choosing(self, dims):
        whole = self.made(dims)
        again = Instances.cat([whole[:1], whole[1:]])
        assert again.labels.equal(whole.labels) and again.scores.equal(whole.scores)
        assert again.boxes.tensor.equal(whole.boxes.tensor)
        assert again.masks.dense().tensor.equal(whole.masks.dense().tensor)
        with pytest.raises(ValueError, match="1 of 2 Instances have scores"):
            Instances.cat([whole, self.made(dims, scores=None)])
        with pytest.raises(ValueError, match="no Instances"):
            Instances.cat([])

    def test_objects_follow_their_masks(self, dims):
        whole = self.made(dims)
        cut = whole.follow(whole.masks.crop((slice(5, 12),) * dims))
        assert cut.labels.tolist() == [5, 6] and cut.masks.ids.tolist() == IDS[1:]
        assert cut.boxes.tensor.tolist() == [[0] * dims + [1] * dims, [3] * dims + [7] * dims]

    def test_labels_are_one_per_object(self):
        with pytest.raises(ValueError, match=r"\[2, 1\]"):
            Instances(torch.zeros(2, 1))
