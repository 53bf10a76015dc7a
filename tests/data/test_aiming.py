"""Crops around objects and classes, and what is left of objects that a crop cuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_samples import CLASSES, IDS, assert_consistent, chance, make_sample

from microtome.data.aiming import Aim
from microtome.data.crops import RandomCrop
from microtome.data.datamodule import DataModule
from microtome.data.synthetic import SyntheticTissue
from microtome.structures import DataSample, Instances, LabelLayers, Segmentation


def lonely(dims, size=40):
    """One small object of class 1 near a corner, one larger of class 2, in a large image."""
    ids = torch.zeros((size,) * dims, dtype=torch.int64)
    ids[(slice(1, 3),) * dims] = IDS[0]
    ids[(slice(20, 26),) * dims] = IDS[1]
    masks = LabelLayers.from_ids(ids)
    classes = (ids == IDS[0]) + 2 * (ids == IDS[1])
    truth = Segmentation(classes, Instances(torch.tensor([1, 2]), masks=masks))
    return DataSample(torch.zeros(1, *ids.shape), truth, meta={"name": "it"})


def drawn(aim, sample, count=60, size=8):
    crop = RandomCrop(size, aim=aim)
    return [crop(sample, chance(number), CLASSES) for number in range(count)]


@pytest.mark.parametrize("dims", [2, 3])
def test_crops_around_objects_hold_one_and_each_as_often(dims):
    found = [out.truth.instances.labels.tolist() for out in drawn(Aim(objects=1.0), lonely(dims))]
    assert all(found)
    assert 15 < sum(labels == [1] for labels in found) < 45, "evenly, though one is much larger"
    anywhere = [len(out.truth.instances) for out in drawn(None, lonely(dims))]
    assert np.mean(np.array(anywhere) > 0) < 0.35


def test_an_object_may_lie_anywhere_in_its_crop():
    spots = set()
    for out in drawn(Aim(objects=1.0), lonely(2), 200):
        if out.truth.instances.labels.tolist() == [2]:
            spots.add(tuple(int(o) for o in out.placement.offset))
    rows = {row for row, _ in spots}
    assert min(rows) <= 15 and max(rows) >= 23, "from its last row at the top to its first below"


@pytest.mark.parametrize("dims", [2, 3])
def test_crops_around_classes_show_each_as_often(dims):
    shown = [
        set(out.truth.classes.unique().tolist())
        for out in drawn(Aim(classes=1.0), lonely(dims), 90)
    ]
    for label in (1, 2):
        assert sum(label in classes for classes in shown) >= 20
    half = [1 in out.truth.classes.unique() for out in drawn(Aim(classes=0.5), lonely(dims), 90)]
    assert 5 <= sum(half) <= 40


@pytest.mark.parametrize("dims", [2, 3])
def test_a_class_of_few_images_is_drawn_more_often_in_them(dims):
    """Class 1 in 5 of 100 images, class 2 in 95: nineteen of twenty crops show class 1."""
    aim = Aim(classes=1.0, over="dataset", shown=(10**9, 5, 95))
    found = [1 in out.truth.classes.unique() for out in drawn(aim, lonely(dims), 120)]
    assert 105 <= sum(found) < 120
    again = [1 in out.truth.classes.unique() for out in drawn(aim, lonely(dims), 120)]
    assert again == found
    with pytest.raises(ValueError, match="need `shown`"):
        drawn(Aim(classes=1.0, over="dataset"), lonely(dims), 1)


def test_images_of_each_class_are_counted_before_training():
    data = DataModule(
        SyntheticTissue(4, size=32),
        SyntheticTissue(1, size=32),
        crop=16,
        aim=Aim(classes=0.5, over="dataset"),
        workers=0,
        batch_size=2,
    )
    samples = next(iter(data.train_dataloader()))
    (crop,) = data.splits["train"].transforms
    assert crop.aim.shown == data.inspect().splits["train"].occurs[:-1] != ()
    assert len(samples) == 2


def test_without_a_target_crops_go_anywhere():
    bare = DataSample(torch.zeros(1, 20, 20), Segmentation(torch.full((20, 20), 255)), meta={})
    for aim in (Aim(objects=1.0), Aim(classes=1.0)):
        starts = {out.placement.offset for out in drawn(aim, bare)}
        assert len(starts) > 20
    empty = Segmentation(
        torch.zeros(20, 20),
        Instances(torch.zeros(0), masks=LabelLayers.from_ids(torch.zeros(20, 20).long())),
    )
    assert drawn(Aim(objects=1.0), DataSample(torch.zeros(1, 20, 20), empty), 3)


def test_the_same_draw_gives_the_same_crop_and_without_an_aim_the_old_one():
    for aim in (None, Aim(objects=0.5, classes=0.3)):
        one, two = drawn(aim, lonely(2), 5), drawn(aim, lonely(2), 5)
        assert [o.placement for o in one] == [o.placement for o in two]
    assert [o.placement for o in drawn(None, lonely(2))] == [
        o.placement for o in drawn(Aim(), lonely(2))
    ]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("scales", [None, (0.5, 2.0)])
def test_what_is_cut_stays_consistent(dims, scales):
    crop = RandomCrop(7, scales, Aim(objects=0.5, classes=0.2))
    for number in range(20):
        out = crop(make_sample(dims), chance(number), CLASSES)
        objects = out.truth.instances
        assert objects.boxes.tensor.tolist() == objects.masks.boxes().tolist(), "of what is seen"
        if scales is None:
            assert_consistent(out)


@pytest.mark.parametrize("dims", [2, 3])
def test_slivers_are_not_judged(dims):
    """Of the object of 6 pixels along each axis, so much is seen as the crop says."""
    sample, least = lonely(dims), 0.4
    slivers = 0
    for out in drawn(Aim(objects=1.0, least_visible=least), sample, 80):
        at = tuple(slice(int(o), int(o) + 8) for o in out.placement.offset)
        before = sample.truth.classes[at]
        for label, size in ((1, 2**dims), (2, 6**dims)):
            seen = int((before == label).sum())
            counted = label in out.truth.instances.labels
            assert counted == (seen >= least * size and seen > 0)
            if seen and not counted:
                slivers += 1
                assert (out.truth.classes[before == label] == 255).all()
            elif seen:
                assert (out.truth.classes[before == label] == label).all()
        assert [IDS[i - 1] for i in out.truth.instances.labels.tolist()] == (
            out.truth.instances.masks.ids.tolist()
        )
    assert slivers > 5


def test_by_default_a_pixel_is_enough():
    kept = [len(out.truth.instances.masks.areas()) for out in drawn(None, make_sample(2), 100)]
    areas = [
        int(a)
        for out in drawn(None, make_sample(2), 100)
        for a in out.truth.instances.masks.areas()
    ]
    assert min(areas) <= 4 and max(kept) == 2


@pytest.mark.parametrize("shares", [(-0.1, 0, 0), (0.7, 0.7, 0), (0, 0, 2)])
def test_shares_that_are_none(shares):
    with pytest.raises(ValueError, match="expected shares from 0 to 1"):
        Aim(*shares)


def test_an_aim_is_for_crops():
    with pytest.raises(ValueError, match="aim: it is for crops: give crop too"):
        DataModule(SyntheticTissue(1), SyntheticTissue(1, start=1), aim=Aim(objects=0.5))
