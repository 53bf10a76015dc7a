"""Noisy queries of Mask DINO: how many, how noisy, and who sees whom."""

import pytest
import torch
from mask_heads import CLASSES, PLANE
from maskdino_scenes import bars, setting

from microtome.heads.mask_targets import MaskTargets
from microtome.heads.maskdino_denoising import Known, noisy, who_sees_whom


@pytest.mark.parametrize(
    "count, groups, places", [(0, 12, 0), (1, 12, 12), (5, 2, 10), (40, 1, 12)]
)
def test_any_number_of_objects_is_denoised(count, groups, places):
    """None; as often as there is room; more than there is room for, of which some are drawn."""
    head, maps, images = setting(PLANE)
    targets = [bars(images.canvas, count), bars(images.canvas, 0)]
    prediction = head.train()(maps, images, targets)
    assert prediction.known.groups == groups
    assert prediction.denoised.boxes.shape == (3, 2, places, 4)
    assert prediction.known.there[0].all() and not prediction.known.there[1].any()
    assert len(prediction.known.ids[0].unique()) == min(count, 12)
    losses = head.losses(prediction, targets)
    assert all(value.isfinite() for value in losses.values())
    assert (losses["denoised_mask"] > 0) == (count > 0)


def test_without_noisy_queries_their_losses_are_zero():
    head, maps, images = setting(PLANE, num_denoising=0)
    targets = [bars(images.canvas, 2)] * 2
    losses = head.train().losses(head(maps, images, targets), targets)
    assert all((v == 0) == name.startswith("denoised_") for name, v in losses.items())


def known_in_a_plane():
    """Two groups of two; the second image has but one object."""
    ids, labels = torch.tensor([[1, 2] * 2, [1, 0] * 2]), torch.tensor([[2, 0] * 2, [1, 0] * 2])
    boxes = torch.tensor([[0.5, 0.5, 0.2, 0.4], [0.9, 0.5, 0.2, 1.0]]).repeat(2, 2, 1)
    return Known(ids, labels, boxes, 2)


def test_groups_do_not_see_each_other_and_nobody_sees_a_gap():
    first, second = who_sees_whom(known_in_a_plane(), 2).int().tolist()
    assert first == [
        [1, 1, 0, 0, 1, 1],
        [1, 1, 0, 0, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 0, 0, 1, 1],
    ]
    assert second[0] == [1, 0, 0, 0, 1, 1] and second[2] == [0, 0, 1, 0, 1, 1]


def test_noise_is_bounded():
    torch.manual_seed(0)
    known = known_in_a_plane()
    drawn = [noisy(known, 3, 0.4) for _ in range(300)]
    labels, boxes = (torch.stack(parts) for parts in zip(*drawn, strict=True))
    off = (boxes - known.boxes)[:, 0, 0].abs().amax(0)
    assert (off <= torch.tensor([0.04, 0.08, 0.08, 0.16]) + 1e-6).all() and (off > 0.03).all()
    assert boxes.min() >= 0 and boxes.max() == 1  # the second one is cut at the image's border
    other = (labels != known.labels).float().mean()
    assert 0.1 < other < 0.17  # a fifth is drawn anew, a third of that as it was
    labels, boxes = noisy(known, 3, 0.0)
    assert labels.equal(known.labels) and boxes.equal(known.boxes)


def test_known_objects_have_the_boxes_of_their_judged_pixels():
    target = bars((8, 8), 2, ignored=True)
    truth = MaskTargets.of(target, "instance", CLASSES)
    known = Known.of([truth], torch.tensor([[8, 16]]), 2)
    assert known.ids.tolist() == [[1, 2]] and known.labels.tolist() == [[0, 1]]
    assert known.boxes[0].tolist() == [[0.25, 0.125, 0.5, 0.25], [0.25, 0.375, 0.5, 0.25]]
