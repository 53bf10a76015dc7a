"""Random crops at random scales, and whole images resized."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_samples import CLASSES, SPACINGS, assert_consistent, chance, make_sample

from microtome.data.crops import RandomCrop, Resize
from microtome.data.resizing import truth_at
from microtome.geometry import Placement
from microtome.structures import Boxes, DataSample, Instances, Segmentation


@pytest.mark.parametrize("dims", [2, 3])
def test_random_crop(dims):
    crop, starts = RandomCrop(8), set()
    for number in range(60):
        out = crop(make_sample(dims), chance(number), CLASSES)
        assert out.shape == (8,) * dims
        assert_consistent(out)
        at = tuple(int(o) for o in out.placement.offset)
        region = tuple(slice(a, a + 8) for a in at)
        assert torch.equal(out.truth.classes, make_sample(dims).truth.classes[region])
        assert out.placement == Placement(at, (1.0,) * dims, make_sample(dims).shape)
        starts.add(at[0])
    assert {0, make_sample(dims).shape[0] - 8} <= starts  # both ends are reached


def test_random_crop_pads_what_is_too_small():
    out = RandomCrop((30, 8))(make_sample(2), chance(), CLASSES)
    assert out.shape == (30, 8)
    assert (out.truth.classes[24:] == 255).all()
    assert (out.image[:, 24:] == 0).all()
    assert (out.truth.instances.masks.maps[:, 24:] == 0).all()
    assert_consistent(out)


def test_random_crop_of_a_crop_knows_its_source():
    twice = RandomCrop(5)(RandomCrop(9)(make_sample(2), chance(1), CLASSES), chance(2), CLASSES)
    at = [int(o) for o in twice.placement.offset]
    whole = make_sample(2).truth.classes
    assert torch.equal(twice.truth.classes, whole[at[0] : at[0] + 5, at[1] : at[1] + 5])


@pytest.mark.parametrize("size", [0, [16, -1], []])
def test_sizes_without_a_pixel_are_refused_at_once(size):
    with pytest.raises(ValueError, match="crop: expected pixels >= 1"):
        RandomCrop(size)
    with pytest.raises(ValueError, match="resize: expected pixels >= 1"):
        Resize(size)


def test_random_crop_needs_one_size_per_axis():
    with pytest.raises(ValueError, match="expected 1 or 2 values"):
        RandomCrop((8, 8, 8))(make_sample(2), chance(), CLASSES)


def slope(dims, size=64):
    """Each pixel shows its coordinate along every axis, and its class is the last of them."""
    axes = torch.meshgrid(*[torch.arange(size)] * dims, indexing="ij")
    image = torch.stack(axes).float() / size
    return DataSample(image, Segmentation(axes[-1].clone()), SPACINGS[dims], meta={"name": "slope"})


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.7, 2.0])
def test_scaled_crops_keep_image_and_truth_together(dims, factor):
    """At any scale the class of a pixel is the coordinate that its image shows."""
    crop, sample = RandomCrop(16, (factor, factor)), slope(dims)
    for number in range(4):
        out = crop(sample, chance(number), CLASSES)
        assert out.shape == out.truth.classes.shape == (16,) * dims
        inner = (slice(2, -2),) * dims  # the outer pixels have no neighbours to mix with
        shown = out.image[(-1, *inner)] * 64
        assert (shown - out.truth.classes[inner]).abs().max() <= 0.51 + 0.5 / factor
        steps = out.image.diff(dim=dims)[(-1, *inner)] * 64
        assert steps.mean().item() == pytest.approx(1 / factor, rel=0.07)
        assert np.allclose(out.placement.scale, 1 / factor, rtol=0.07)
        assert np.allclose(np.divide(out.spacing, SPACINGS[dims]), out.placement.scale)
        again = truth_at(sample.truth, out.placement, out.shape)
        assert torch.equal(again.classes, out.truth.classes), "the placement leads back"


def test_scales_are_drawn_evenly_and_starts_reach_both_ends():
    crop, seen, starts = RandomCrop(16, (0.5, 2.0)), [], set()
    for number in range(300):
        out = crop(slope(2), chance(number), CLASSES)
        seen.append(1 / out.placement.scale[0])
        starts.add(out.placement.offset[0])
    assert min(seen) < 0.56 and max(seen) > 1.9
    assert np.mean(seen) == pytest.approx(1.25, abs=0.08)
    assert 0 in starts and max(starts) >= 64 - 16


def test_a_shrunk_image_smaller_than_the_crop_is_padded_and_not_judged():
    out = RandomCrop(48, (0.5, 0.5))(slope(2), chance(), CLASSES)
    assert out.shape == (48, 48)
    assert (out.truth.classes[:, 32:] == 255).all() and (out.truth.classes[32:] == 255).all()
    assert (out.truth.classes[:32, :32] != 255).all()
    assert (out.image[:, 32:] == 0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_objects_follow_the_scale(dims):
    before = make_sample(dims)
    for number in range(8):
        out = RandomCrop(40, (2.0, 2.0))(before, chance(number), CLASSES)
        objects = out.truth.instances
        assert objects.boxes.tensor.tolist() == objects.masks.boxes().tolist()
        for i, label in enumerate(objects.labels.tolist()):
            inside = objects.masks.maps[0] == i + 1
            known = inside & (out.truth.classes != 255)
            assert (out.truth.classes[known] == label).all()


@pytest.mark.parametrize("scales", [(0.0, 1.0), (2.0, 1.0), (1.0,)])
def test_impossible_scales_are_refused(scales):
    with pytest.raises(ValueError, match=r"expected \[lowest, highest\] above 0"):
        RandomCrop(8, scales)


def test_boxes_without_masks_follow_the_scale():
    boxes = Boxes(torch.tensor([[2, 4, 6, 12]]))
    sample = DataSample(torch.rand(1, 16, 32), Segmentation(None, Instances(torch.ones(1), boxes)))
    out = Resize((32, 16))(sample, chance(), CLASSES).truth.instances
    assert out.boxes.tensor.tolist() == [[4, 2, 12, 6]]
