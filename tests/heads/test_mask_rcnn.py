"""Mask R-CNN: contract, anchors, coding, matching, masks, many and no objects, in 2D and 3D."""

from dataclasses import replace

import pytest
import torch

from microtome.heads.mask_rcnn import Found, MaskRCNN, RCNNPrediction
from microtome.heads.mask_rcnn.anchors import Anchors
from microtome.heads.mask_rcnn.box_coding import BoxCoding
from microtome.heads.mask_rcnn.detecting import Detections
from microtome.heads.mask_rcnn.matching import BACKGROUND, IGNORED, Matching, Sampling
from microtome.heads.mask_rcnn.pasting import pasted
from microtome.heads.mask_rcnn.pooling import Pooling
from microtome.heads.mask_rcnn.roi_targets import mask_targets
from microtome.heads.mask_rcnn.truth import ObjectTruth
from microtome.structures import (
    Boxes,
    Classes,
    ImageList,
    Instances,
    LabelLayers,
    PyramidSpec,
    Segmentation,
)
from microtome.testing import HeadContract

CLASSES = Classes(("background", "gland", "nucleus"))
SMALL = {"hidden": 32, "mask_channels": 8, "mask_layers": 1, "box_cells": 3, "mask_cells": 4}
PLANE = PyramidSpec((16, 16), ((4.0, 4.0), (8.0, 8.0)), (8, 8))
VOLUME = PyramidSpec((16, 16), ((1.0, 2.0, 2.0), (2.0, 4.0, 4.0)), (2, 4, 4))
PATCH14 = PyramidSpec((16, 16), ((3.5, 3.5), (14.0, 14.0)), (14, 14))


def objects_of(ids, labels=None, boxes=False):
    """The truth of a map of numbers, its classes in turn."""
    layers = LabelLayers.from_ids(ids)
    labels = torch.arange(len(layers)) % 2 + 1 if labels is None else labels
    own = Boxes(layers.boxes().float()) if boxes else None
    return Segmentation(instances=Instances(labels, own, masks=layers)).with_classes()


def blocks(shape, size):
    """Cubes of `size`, three sizes apart along each axis."""
    ids = torch.zeros(*shape, dtype=torch.long)
    starts = [range(size, s - size, 3 * size) for s in shape]
    for number, corner in enumerate(torch.cartesian_prod(*map(torch.tensor, starts)), start=1):
        ids[tuple(slice(int(c), int(c) + size) for c in corner)] = number
    return ids


class MaskRCNNContract(HeadContract):
    spec = PLANE
    steps, learning_rate = 100, 0.01

    def make(self):
        return MaskRCNN(self.spec, self.classes, **SMALL, ratios=(1.0,))

    def truth(self, shape):
        return objects_of(blocks(shape, max(2, min(shape) // 6)))

    def _truths(self, canvas):
        yield self.truth(canvas)
        yield objects_of(torch.zeros(*canvas, dtype=torch.long))
        ignored = torch.full(tuple(canvas), self.classes.ignore_index)
        yield Segmentation(ignored, self.truth(canvas).instances)

    def test_the_decoded_truth_is_the_truth(self):
        head = self.make().eval()
        images, _ = self._batch()
        truth = self.truth(images.canvas)
        results = head.decode(certain([truth] * 2), images)
        for result, shape in zip(results, images.shapes.tolist(), strict=True):
            expected = truth.crop(tuple(slice(0, s) for s in shape)).instances
            found = result.instances
            assert found.masks.maps.equal(expected.masks.maps)
            assert found.labels.equal(expected.labels) and found.scores.eq(1).all()
            assert len(found) >= 4

    def test_it_trains_and_decodes_in_mixed_precision(self):
        head = self.make().train()
        images, pyramid = self._batch()
        targets = [self.truth(images.canvas)] * len(images)
        with torch.autocast("cpu", torch.bfloat16):
            losses = head.losses(head(pyramid, images, targets), targets)
            with torch.no_grad():
                prediction = head.eval()(pyramid, images, targets)
        assert all(v.dtype == torch.float32 and v.isfinite() for v in losses.values())
        head.regions.detecting = head.regions.detecting._replace(min_score=0)
        for result in head.decode(prediction, images):
            assert result.instances.scores.dtype == torch.float32


class TestInAPlane(MaskRCNNContract):
    pass


class TestInAVolumeOfThickSlices(MaskRCNNContract):
    spec = VOLUME


class TestOnPatchesOf14(MaskRCNNContract):
    spec = PATCH14
    test_it_learns_one_image = None


class TestOnOneLevel(MaskRCNNContract):
    spec = PyramidSpec((16,), ((4.0, 4.0),), (8, 8))


def certain(targets):
    """The prediction that is sure of these objects: full masks in their boxes."""
    parts = [t.instances for t in targets]
    where = torch.cat([p.masks.boxes().float() for p in parts])
    index = torch.cat([torch.full_like(p.labels, i) for i, p in enumerate(parts)])
    labels = torch.cat([p.labels for p in parts])
    objects = Detections(where, index, labels, torch.ones(len(labels)))
    dims = where.shape[1] // 2
    return RCNNPrediction(None, None, Found(objects, torch.full((len(labels), *[8] * dims), 20.0)))


def setting(spec, **options):
    """A head, one batch of maps, and its images."""
    torch.manual_seed(0)
    head = MaskRCNN(spec, CLASSES, **SMALL, **options)
    canvas = [8 * m for m in spec.multiple]
    images = ImageList.pad([torch.zeros(1, *canvas)] * 2, spec.multiple)
    maps = [
        torch.randn(2, c, *(int(n / s) for n, s in zip(canvas, strides, strict=True)))
        for c, strides in zip(spec.channels, spec.strides, strict=True)
    ]
    return head, tuple(maps), images


def test_anchors_are_cells_enlarged():
    anchors = Anchors(((1.0, 2.0, 2.0),), ratios=(1.0, 4.0), z_ratios=(1.0, 0.5))
    assert anchors.shapes == [[(8, 16, 16), (4, 16, 16), (8, 32, 8), (4, 32, 8)]]
    (level,) = anchors([(1, 2, 1)], (1, 4, 2), torch.device("cpu"))
    assert level[0].tolist() == [0.5 - 4, 1 - 8, 1 - 8, 0.5 + 4, 1 + 8, 1 + 8]
    assert (level[4:] - level[:4]).tolist() == [[0, 2, 0, 0, 2, 0]] * 4


def test_anchors_of_fractional_strides_cover_the_canvas():
    anchors = Anchors(((3.5, 3.5),), [[7.0]], ratios=(1.0,))
    (level,) = anchors([(4, 4)], (14, 14), torch.device("cpu"))
    assert level[0].tolist() == [-1.75, -1.75, 5.25, 5.25]
    assert level[-1].tolist() == [8.75, 8.75, 15.75, 15.75]


def test_sizes_are_for_every_level():
    with pytest.raises(ValueError, match="each of 3 levels"):
        MaskRCNN(PLANE, CLASSES, anchor_sizes=[[8.0], [16.0]])
    with pytest.raises(ValueError, match="above 0"):
        MaskRCNN(PLANE, CLASSES, ratios=())


@pytest.mark.parametrize("dims", [2, 3])
def test_boxes_come_back_from_their_code(dims):
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(2, 50, dims, generator=generator) * 30
    pair = torch.cat([low, low + 0.5 + torch.rand(2, 50, dims, generator=generator) * 9], 2)
    coding = BoxCoding(10, 5)
    deltas = coding.encode(pair[0], pair[1])
    torch.testing.assert_close(coding.decode(deltas, pair[1]), pair[0], rtol=1e-5, atol=1e-4)
    far = coding.decode(torch.full((1, 2 * dims), 1e4), pair[1][:1])
    assert far.isfinite().all()


def test_a_code_is_what_the_paper_says():
    """Twice as high, half as wide, centre a box lower and half a box to the right."""
    around, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 15, 25, 25]])
    log2 = torch.tensor(2.0).log().item()
    found = BoxCoding().encode(box, around)[0].tolist()
    assert found == pytest.approx([1.0, 0.5, log2, -log2])


def matched(rows, objects, ignored=None, forced=True):
    truth = ObjectTruth(
        torch.tensor(objects, dtype=torch.float).reshape(-1, 4),
        torch.ones(len(objects), dtype=torch.long),
        torch.arange(1, len(objects) + 1),
        torch.zeros(1, 20, 20, dtype=torch.int32),
        ignored,
    )
    return Matching(0.7, 0.3, forced).match(torch.tensor(rows, dtype=torch.float), truth)


def test_boxes_are_matched_by_overlap():
    """IoU 1, 0.5, 0 with the first object; 0.25 with the second, which nobody overlaps more."""
    rows = [[0, 0, 4, 4], [0, 0, 4, 2], [10, 10, 12, 12], [6, 6, 8, 8]]
    objects = [[0, 0, 4, 4], [6, 6, 10, 10]]
    assert matched(rows, objects).tolist() == [0, IGNORED, BACKGROUND, 1]
    assert matched(rows, objects, forced=False).tolist() == [0, IGNORED, BACKGROUND, BACKGROUND]
    assert matched(rows, []).tolist() == [BACKGROUND] * 4


def test_an_object_far_from_every_box_forces_none():
    assert matched([[0, 0, 2, 2]] * 3, [[15, 15, 18, 18]]).tolist() == [BACKGROUND] * 3


def test_pairs_are_compared_a_few_at_a_time(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    low = torch.rand(300, 2, generator=generator) * 16
    rows = torch.cat([low, low + 1 + torch.rand(300, 2, generator=generator) * 6], 1)
    objects = rows[::40] + 0.3
    at_once = matched(rows.tolist(), objects.tolist())
    monkeypatch.setattr("microtome.heads.mask_rcnn.matching.AT_ONCE", 50)
    assert matched(rows.tolist(), objects.tolist()).equal(at_once)
    assert (at_once >= 0).sum() >= len(objects)


def test_ignored_pixels_are_no_background():
    """Of the second box three quarters are ignored, of the third a quarter."""
    ignored = torch.zeros(20, 20, dtype=torch.bool)
    ignored[:, :9] = True
    rows = [[0, 0, 4, 4], [0, 6, 4, 10], [0, 8, 4, 12]]
    assert matched(rows, [[0, 0, 4, 4]], ignored).tolist() == [0, IGNORED, BACKGROUND]


def test_objects_and_background_are_drawn_in_proportion():
    found = torch.tensor([0] * 10 + [BACKGROUND] * 100 + [IGNORED] * 50)
    chosen = Sampling(16, 0.25).draw(found)
    assert (found[chosen] == 0).sum() == 4 and (found[chosen] == BACKGROUND).sum() == 12
    assert len(Sampling(16, 0.25).draw(found[:3])) == 3
    assert len(Sampling(16, 0.5).draw(found[110:])) == 0


def test_a_box_is_looked_up_where_it_is_some_cells_long():
    """Fourteen cells of 4, 8 and 16 pixels: 56, 112, 224; along z a quarter."""
    pooling = Pooling(((1.0, 4.0, 4.0), (2.0, 8.0, 8.0), (4.0, 16.0, 16.0)), "areas")
    sides = torch.tensor([[1.0, 4, 4], [27, 111, 111], [28, 112, 112], [56, 224, 224], [999] * 3])
    assert pooling.levels(torch.cat([sides * 0, sides], 1)).tolist() == [0, 0, 1, 2, 2]
    flat = torch.tensor([[3.0, 5, 5, 3, 9, 9]])
    assert pooling.levels(flat).tolist() == [0]


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


@pytest.mark.parametrize("spec", [PLANE, pytest.param(VOLUME, marks=pytest.mark.slow)])
def test_more_than_a_thousand_objects(spec):
    """Of the truth in a step, and in the answer, each in its own box."""
    head, maps, images = setting(spec, min_score=0.0, proposals=(3000, 3000), overlap=1.0)
    number = torch.arange(1200)
    sides = torch.tensor(images.canvas).double()
    each = torch.full((len(sides),), int(1200 ** (1 / len(sides))) + 1).tolist()
    corners = torch.cartesian_prod(*(torch.arange(n) / n for n in each))[:1200] * sides
    where = torch.cat([corners, corners + 0.8 * sides / torch.tensor(each)], 1).float()
    masks = LabelLayers(torch.zeros(1, *images.canvas, dtype=torch.int32), number + 1)
    truth = Segmentation(instances=Instances(number % 2 + 1, Boxes(where), masks=masks))
    losses = head.train().losses(head(maps, images, [truth] * 2), [truth] * 2)
    assert all(v.isfinite() for v in losses.values())
    found = Detections(where, number * 0, number % 2 + 1, torch.ones(1200))
    prediction = RCNNPrediction(
        None, None, Found(found, torch.full((1200, *[4] * len(sides)), 9.0))
    )
    head.regions.detecting = head.regions.detecting._replace(most=5000)
    large = replace(images, sources=images.shapes * 4)
    first, second = head.decode(prediction, large)
    assert len(first.instances) == 1200 and len(second.instances) == 0
    assert len(first.instances.masks.maps) == 1


def test_a_cap_that_is_reached_is_said(caplog):
    head, maps, images = setting(PLANE, min_score=0.0, max_objects=5)
    with torch.no_grad():
        results = head.eval().decode(head(maps, images), images)
    assert all(len(r.instances) <= 5 for r in results)
    assert "max_objects" in caplog.records[0].message


def test_nothing_found_is_an_answer():
    head, maps, images = setting(PLANE, min_score=0.999)
    with torch.no_grad():
        results = head.eval().decode(head(maps, images), images)
    for result in results:
        assert len(result.instances) == 0 and not result.instances.masks.maps.any()


def test_regions_are_judged_a_few_at_a_time(monkeypatch):
    head, maps, images = setting(PLANE, min_score=0.0)
    with torch.no_grad():
        at_once = head.eval()(maps, images).found
        monkeypatch.setattr("microtome.heads.mask_rcnn.region_stage.AT_ONCE", 1000)
        parts = head(maps, images).found
    torch.testing.assert_close(parts, at_once)


def test_padding_has_no_proposals_and_an_object_outside_is_refused():
    head, maps, images = setting(PLANE, min_score=0.0)
    images = replace(images, shapes=torch.tensor([[64, 64], [20, 30]]))
    with torch.no_grad():
        found = head.eval()(maps, images).found.objects
    ends = found.boxes[found.image_index == 1][:, 2:].amax(0)
    assert ends[0] <= 20 and ends[1] <= 30
    wrong = objects_of(blocks((64, 64), 8), torch.tensor([0] + [1] * 3))
    with pytest.raises(ValueError, match=r"classes \[0\].*background"):
        head.train()(maps, images, [wrong] * 2)


@pytest.mark.parametrize(
    "spec, classes, options, message",
    [
        (PyramidSpec((8, 16), PLANE.strides, (8, 8)), CLASSES, {}, "equal channels"),
        (PLANE, Classes(("nucleus",)), {}, "background"),
        (PLANE, CLASSES, {"mask_layers": 0}, "at least one layer"),
        (PLANE, CLASSES, {"alignment": "pixels"}, "alignment is one of"),
    ],
)
def test_what_cannot_be_is_refused(spec, classes, options, message):
    with pytest.raises(ValueError, match=message):
        MaskRCNN(spec, classes, **options)


def test_it_says_what_it_needs():
    head, maps, images = setting(PLANE)
    with pytest.raises(ValueError, match="give the targets"):
        head.train()(maps, images)
    prediction = head.eval()(maps, images)
    with pytest.raises(ValueError, match="made with targets"):
        head.losses(prediction, [])
    with pytest.raises(ValueError, match="`instances` and their masks"):
        head(maps, images, [Segmentation(torch.zeros(64, 64))] * 2)
