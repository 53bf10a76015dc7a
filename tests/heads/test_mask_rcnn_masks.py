"""Masks of regions: read from the truth, and pasted into images."""

import pytest
import torch
from mask_rcnn_scenes import CLASSES, objects_of
from torchvision.models.detection.roi_heads import paste_masks_in_image

from microtome.heads.mask_rcnn.pasting import pasted
from microtome.heads.mask_rcnn.roi_targets import mask_targets
from microtome.heads.mask_rcnn.truth import ObjectTruth
from microtome.structures import Boxes


@pytest.mark.parametrize("dims", [2, 3])
def test_a_mask_is_read_where_its_box_lies(dims):
    """A box of 8 pixels around an object in its first half, read in 4 cells."""
    ids = torch.zeros([12] * dims, dtype=torch.long)
    ids[(slice(2, 6), *[slice(2, 10)] * (dims - 1))] = 7
    truth = ObjectTruth.of(objects_of(ids, torch.tensor([2])), [12] * dims, CLASSES)
    where = torch.tensor([[2.0] * dims + [10.0] * dims])
    covered, known = mask_targets(truth, where, torch.tensor([0]), (4,) * dims, "areas")
    first = covered[0].flatten(1).amin(1)
    assert first.tolist() == [1, 1, 0, 0] and known.eq(1).all()


def test_masks_survive_the_way_to_the_network_and_back():
    """Discs, balls: from pixels to 28 cells and back to the same pixels, but for rims."""
    for shape in ((40, 50), (14, 30, 30)):
        grid = torch.stack(torch.meshgrid(*map(torch.arange, shape), indexing="ij")).float()
        centre = torch.tensor(shape).view(-1, *[1] * len(shape)) / 2
        ids = (((grid - centre) / (centre - 3)).square().sum(0) < 1).long()
        truth = ObjectTruth.of(objects_of(ids), shape, CLASSES)
        covered, _ = mask_targets(
            truth, truth.boxes, torch.tensor([0]), (28,) * len(shape), "areas"
        )
        layers, _ = pasted(covered, truth.boxes, shape, "areas")
        wrong = (layers.maps[0] > 0) ^ (ids > 0)
        assert wrong.sum() < 0.04 * ids.sum()


def test_objects_are_pasted_best_first_into_layers():
    masks = torch.ones(3, 4, 4)
    where = torch.tensor([[0.0, 0, 4, 4], [2, 2, 6, 6], [1, 1, 7, 7]])
    layers, kept = pasted(masks, where, (8, 8), "areas")
    assert len(layers.maps) == 3 and layers.areas().tolist() == [16, 16, 36] and kept == [0, 1, 2]
    layers, kept = pasted(masks, where, (8, 8), "areas", layers=1)
    assert layers.areas().tolist() == [16, 12, 36 - 9 - 12] and kept == [0, 1, 2]
    layers, kept = pasted(masks[:2], where[[2, 2]], (8, 8), "areas", layers=1)
    assert kept == [0] and len(layers) == 1


def test_flat_boxes_have_a_pixel_and_those_outside_none():
    where = torch.tensor([[3.6, 2.0, 3.7, 6.0], [0.0, 9.6, 4.0, 9.9], [8.5, 0.0, 9.5, 4.0]])
    layers, kept = pasted(torch.ones(3, 4, 4), where, (8, 10), "areas")
    assert kept == [0, 1] and layers.areas().tolist() == [4, 4]


@pytest.mark.parametrize("dims", [2, 3])
def test_masks_are_read_and_pasted_a_few_at_a_time(dims, monkeypatch):
    """Boxes of all sizes, also beyond the border; each alone as among the others."""
    generator = torch.Generator().manual_seed(0)
    shape = (30, 24, 18)[:dims]
    low = torch.rand(40, dims, generator=generator) * torch.tensor(shape) - 4
    where = torch.cat([low, low + 0.2 + torch.rand(40, dims, generator=generator) * 12], 1)
    maps = torch.randint(0, 4, (2, *shape), generator=generator)
    ignored = torch.rand(shape, generator=generator) < 0.3
    ids = torch.arange(1, 4)
    truth = ObjectTruth(torch.zeros(3, 2 * dims), torch.ones(3).long(), ids, maps, ignored)
    masks = torch.rand(40, *[5] * dims, generator=generator)
    room = "microtome.heads.mask_rcnn"
    answers = []
    for at_once in (2**22, 1):
        monkeypatch.setattr(f"{room}.roi_targets.AT_ONCE", at_once)
        monkeypatch.setattr(f"{room}.pasting.AT_ONCE", at_once)
        read = mask_targets(truth, where, torch.arange(40) % 3, (4,) * dims, "areas")
        answers.append((*read, *pasted(masks, where, shape, "areas")))
    (covered, known, layers, kept), (one_covered, one_known, one_layers, one_kept) = answers
    torch.testing.assert_close((covered, known), (one_covered, one_known))
    assert layers.maps.equal(one_layers.maps) and kept == one_kept
    assert 0.1 < covered.mean() < 0.5 and 0.3 < known.mean() < 0.8 and len(kept) > 20


def test_masks_are_pasted_as_torchvision_does_at_borders_and_flat():
    generator = torch.Generator().manual_seed(0)
    masks = torch.rand(40, 28, 28, generator=generator)
    corners = torch.rand(40, 2, generator=generator) * torch.tensor([50.0, 70.0])
    where = torch.cat([corners, corners + torch.rand(40, 2, generator=generator) * 30], 1)
    where = torch.minimum(where, torch.tensor([50.0, 70.0, 50.0, 70.0]))
    where[0], where[1, 2] = torch.tensor([0.0, 0.0, 50.0, 70.0]), where[1, 0] + 0.1
    wanted = paste_masks_in_image(masks[:, None], Boxes(where).to_format("xyxy"), (50, 70))[:, 0]
    layers, kept = pasted(masks, where, (50, 70), "torchvision", layers=1000)
    assert layers.dense().tensor.equal(wanted[kept] > 0.5)
    assert len(kept) == int((wanted > 0.5).flatten(1).any(1).sum())
