"""Mask R-CNN: contract, many and no objects, what it refuses, in 2D and 3D."""

from dataclasses import replace

import pytest
import torch
from mask_rcnn_scenes import CLASSES, PATCH14, PLANE, SMALL, VOLUME, blocks, objects_of, setting

from microtome.heads.mask_rcnn import Found, MaskRCNN, RCNNPrediction
from microtome.heads.mask_rcnn.detecting import Detections
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


def test_the_first_masks_are_sure_of_nothing():
    """However few classes and many channels there are: a loss of log 2."""
    torch.manual_seed(0)
    head = MaskRCNN(PLANE, CLASSES, **(SMALL | {"mask_channels": 64}))
    truth = [objects_of(blocks((64, 64), 10))] * 2
    images = ImageList.pad([torch.zeros(1, 64, 64)] * 2, PLANE.multiple)
    maps = tuple(torch.randn(2, 16, 64 // s, 64 // s) for s in (4, 8))
    losses = head.train().losses(head(maps, images, truth), truth)
    assert losses["mask"].item() == pytest.approx(0.693, abs=0.02)


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
