"""Panoptic task: its masks, and its decoding beside transformers' on equal logits."""

from types import SimpleNamespace

import pytest
import torch
from mask_heads import PLANE, VOLUME, batch
from torch.nn import functional as F
from transformers import Mask2FormerImageProcessor

from microtome.heads.mask2former import Mask2Former
from microtome.heads.mask_classification import MaskPrediction
from microtome.heads.mask_targets import MaskTargets
from microtome.structures import Classes, ImageList, Instances, LabelLayers, Segmentation

CLASSES = Classes(("glass", "stroma", "nucleus", "gland"), things=(False, False, True, True))
SMALL = {"num_queries": 8, "hidden": 32, "encoder_layers": 1, "decoder_layers": 3, "num_heads": 4}


def head(spec=PLANE, **options):
    torch.manual_seed(0)
    return Mask2Former(spec, CLASSES, task="panoptic", **SMALL, **options).eval()


def predicted(labels, scores, masks):
    """Queries of one image with masks' logits [Q, *S]; class scores 0…1, labels 4 for nothing."""
    count = len(CLASSES.names) + 1
    rest = (1 - scores[:, None]) / (count - 1)
    probs = torch.where(F.one_hot(labels, count) > 0, scores[:, None], rest)
    return MaskPrediction(probs.log()[None, None], torch.eye(len(labels))[None, None], masks[None])


def decoded(prediction, **options):
    shape = prediction.features.shape[2:]
    images = ImageList(torch.zeros(1, 1, *shape), torch.tensor([shape]))
    return head(**options).decode(prediction, images)[0]


def bars(*pieces):
    """Masks of a row of 8 pixels, as logits of 9 (sure) and -9."""
    masks = torch.zeros(len(pieces), 2, 8)
    for mask, (start, stop) in zip(masks, pieces, strict=True):
        mask[:, start:stop] = 1
    return 18 * masks - 9


def test_regions_of_a_class_are_one_and_things_are_apart():
    masks = bars((0, 2), (2, 4), (4, 6), (6, 7))
    labels = torch.tensor([1, 2, 1, 2])
    found = decoded(predicted(labels, torch.tensor([0.9, 0.8, 0.7, 0.95]), masks))
    assert found.classes[0].tolist() == [1, 1, 2, 2, 1, 1, 2, CLASSES.ignore_index]
    assert found.instances.masks.maps[0, 0].tolist() == [0, 0, 2, 2, 0, 0, 1, 0]
    assert found.instances.labels.tolist() == [2, 2]
    torch.testing.assert_close(found.instances.scores, torch.tensor([0.95, 0.8]))
    assert found.instances.boxes.tensor.tolist() == [[0, 6, 2, 7], [0, 2, 2, 4]]


@pytest.mark.parametrize(
    "options, numbers",
    [
        ({}, [1, 1, 1, 1, 0, 0, 0, 0]),  # a third of the second mask is left: a copy
        ({"min_visible": 0.3}, [1, 1, 1, 1, 2, 2, 0, 0]),
        ({"min_score": 0.85}, [1, 1, 1, 1, 0, 0, 0, 0]),
        ({"min_score": 0.95}, [0] * 8),
    ],
)
def test_overlaps_are_resolved_as_asked(options, numbers):
    masks = bars((0, 4), (0, 6))
    found = decoded(predicted(torch.tensor([2, 3]), torch.tensor([0.9, 0.8]), masks), **options)
    assert found.instances.masks.maps[0, 0].tolist() == numbers


def test_the_threshold_of_masks_is_asked():
    masks = torch.full((1, 2, 8), -9.0)
    masks[:, :, :4], masks[:, :, 2:4] = 5, 1  # probabilities 0.99 and 0.73
    prediction = predicted(torch.tensor([2]), torch.tensor([0.9]), masks)
    for threshold, width in ((0.5, 4), (0.9, 2)):
        found = decoded(prediction, mask_threshold=threshold)
        assert (found.instances.masks.maps[0, 0] > 0).sum() == width
        assert (found.classes[0] == 2).sum() == width


def test_instances_obey_the_same_options():
    masks = bars((0, 4), (0, 6))
    prediction = predicted(torch.tensor([2, 3]), torch.tensor([0.9, 0.8]), masks)
    images = ImageList(torch.zeros(1, 1, 2, 8), torch.tensor([[2, 8]]))
    for least, count in ((0.5, 1), (0.3, 2)):
        one = Mask2Former(PLANE, CLASSES, task="instance", min_visible=least, **SMALL)
        assert len(one.decode(prediction, images)[0].instances) == count


@pytest.mark.parametrize("overlap", [0.8, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_it_answers_as_transformers_does(seed, overlap):
    """On masks of its working size, 384 x 384, where it resizes nothing.

    It takes the class score for a part of a mask's probability, and does not ask whether a pixel
    lies in the mask that won it. So classes are certain here, and every pixel is in some mask.
    After a region that is joined to an earlier one it counts on from that one's number, and gives
    a number twice. So things come first here.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 5, (20,), generator=generator).sort(descending=True).values
    coarse = 3 * torch.randn(1, 20, 6, 6, generator=generator)
    masks = F.interpolate(coarse, (384, 384), mode="bicubic")[0]
    masks = 4 * (masks - masks[labels < 4].amax(0)) + 1  # the best one everywhere, some beside it
    prediction = predicted(labels, torch.full((20,), 1 - 1e-6), masks)
    found = decoded(prediction, min_visible=overlap)
    theirs = Mask2FormerImageProcessor().post_process_panoptic_segmentation(
        SimpleNamespace(
            class_queries_logits=prediction.class_logits[0], masks_queries_logits=masks[None]
        ),
        threshold=0.5,
        overlap_mask_area_threshold=overlap,
        label_ids_to_fuse={0, 1},
    )[0]
    ids, numbers = theirs["segmentation"], found.instances.masks.maps[0]
    segments = {s["id"]: s["label_id"] for s in theirs["segments_info"]}
    assert len(segments) > 3
    expected = torch.full_like(found.classes, CLASSES.ignore_index)
    for segment, label in segments.items():
        expected[ids == segment] = label
        if label > 1:  # one object has these pixels, and no others
            (own,) = numbers[ids == segment].unique().tolist()
            assert own > 0 and (numbers == own).equal(ids == segment)
    assert (found.classes != expected).float().mean() < 1e-4  # rounding, where masks begin
    assert len(found.instances) == sum(label > 1 for label in segments.values())


def truth(shape):
    """Two nuclei on stroma, a last column of glass, a last row where nothing is known."""
    classes = torch.ones(shape, dtype=torch.int64)
    ids = torch.zeros(shape, dtype=torch.int32)
    classes[..., -1] = 0
    classes[..., 1:3] = ids[..., 1:3] = 2
    classes[..., 4:6], ids[..., 4:6] = 2, 1
    classes[-1] = CLASSES.ignore_index
    masks = LabelLayers(ids[None], torch.tensor([7, 9]))
    return Segmentation(classes, Instances(torch.tensor([2, 2]), masks=masks))


@pytest.mark.parametrize("shape", [(8, 8), (4, 8, 8)])
def test_masks_are_objects_and_regions_of_the_other_classes(shape):
    target = truth(shape)
    masks = MaskTargets.of(target, "panoptic", CLASSES)
    assert masks.labels.tolist() == [2, 2, 0, 1] and len(masks.ids.unique()) == 4
    dense = (masks.maps[None] == masks.ids.view(-1, *[1] * masks.maps.ndim)).any(1)
    valid = target.classes != CLASSES.ignore_index
    assert (dense & valid).sum(0).eq(valid).all()  # each pixel that is judged is in one mask
    for mask, label in zip(dense & valid, masks.labels, strict=True):
        assert target.classes[mask].eq(label).all()
    again = MaskTargets.of(Segmentation(None, target.instances), "panoptic", CLASSES)
    assert again.labels.tolist() == [2, 2, 0]  # without a class map: class 0 elsewhere


def test_objects_of_classes_that_are_no_things_are_regions():
    target = truth((8, 8))
    glands = Segmentation(
        target.classes, Instances(torch.tensor([2, 1]), masks=target.instances.masks)
    )
    assert MaskTargets.of(glands, "panoptic", CLASSES).labels.tolist() == [2, 0, 1]


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
def test_it_trains_and_decodes(spec):
    one = head(spec, min_score=0.0).train()
    maps, images = batch(spec)
    prediction = one(maps, images)
    losses = one.losses(prediction, [truth(images.canvas)] * 2)
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in one.parameters())
    for found in one.decode(prediction, images):
        assert found.classes.shape == images.canvas and not one.scored
        counted = found.instances.masks.maps[0] > 0
        assert found.classes[counted].ge(2).all()
