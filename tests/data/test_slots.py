"""Slots, the recipe `pfm`, and what is in it beside MONAI's and torchvision's transforms."""

import random
import sys
from types import SimpleNamespace

import monai.transforms as mt
import numpy as np
import pytest
import torch
from drawn_samples import CLASSES, KEYS, assert_consistent, chance, make_sample, recipe

from microtome.data.colours import RandHueSaturationValued, RandMultiplicativeNoised
from microtome.data.outdoors import RandFogd, RandKorniad
from microtome.data.resized_crop import RandomResizedCrop
from microtome.data.slots import Slot
from microtome.data.transforms import MonaiTransforms
from microtome.data.turned import RandLensd, RandTransposed
from microtome.structures import DataSample, Segmentation

PROBS = [0.5, 0.1, 0.3, 0.3, 0.3, 0.5, 0.3, 0.2, 0.0, 0.4, 0.3, 0.3]


@pytest.fixture(scope="module")
def pfm():
    return recipe("pfm")


@pytest.fixture
def picture():
    """Image and classes of 96 by 80 pixels, both smooth enough to be compared."""
    y, x = torch.meshgrid(torch.linspace(0, 1, 96), torch.linspace(0, 1, 80), indexing="ij")
    image = torch.stack([0.2 + 0.6 * y, 0.3 + 0.5 * x, 0.5 * (y + x)])
    classes = (image[0] > 0.5).long() + (image[1] > 0.6).long()
    return DataSample(image, Segmentation(classes), (0.5, 0.25), meta={"name": "it"})


def test_thirteen_slots_hold_22_operations(pfm):
    crop, *slots, last = pfm
    assert isinstance(crop, RandomResizedCrop) and crop.share == (0.5, 1.0)
    assert [slot.prob for slot in slots] == PROBS
    assert 1 + sum(len(slot.choices) for slot in slots) == 22
    assert last.steady, "what eight bits hold has no chance in it"


def every_operation(pfm):
    yield pfm[0]
    for slot in pfm[1:-1]:
        yield from slot.choices


def test_every_operation_changes_samples_and_has_no_chance_but_ours(pfm, picture):
    """Whatever torch's, numpy's and Python's own generators say; they and the sample stay."""
    image, classes = picture.image.clone(), picture.truth.classes.clone()
    for number, operation in enumerate(every_operation(pfm)):
        found = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
            found.append(operation(picture, chance(3), CLASSES))
            assert torch.equal(torch.get_rng_state(), before[0]), number
            assert (np.random.get_state()[1] == before[1]).all() and random.getstate() == before[2]
        assert torch.equal(found[0].image, found[1].image), number
        assert torch.equal(found[0].truth.classes, found[1].truth.classes), number
        leaf = type(getattr(operation, "leaves", [operation])[0]).__name__
        if leaf not in ("RandFlipd", "RandTransposed", "MedianSmoothd"):  # there is one way only
            others = [operation(picture, chance(n), CLASSES).image for n in (4, 5, 6)]
            assert any(not torch.equal(found[0].image, other) for other in others), number
        assert found[0].image.shape[1:] == found[0].truth.classes.shape
        assert set(found[0].truth.classes.unique().tolist()) <= {0, 1, 2, 255}, number
        assert found[0].image.isfinite().all()
        assert torch.equal(picture.image, image) and torch.equal(picture.truth.classes, classes)


def test_only_the_first_six_slots_move_the_truth(pfm, picture):
    colours = [choice for slot in pfm[6:-1] for choice in slot.choices]
    for operation in colours:
        out = operation(picture, chance(3), CLASSES)
        assert torch.equal(out.truth.classes, picture.truth.classes)
        assert not torch.equal(out.image, picture.image)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("make", [RandTransposed, RandLensd])
def test_geometry_moves_image_and_truth_together(make, dims):
    """The image shows the classes: taken at the nearest pixel too, it must still."""
    sample = make_sample(dims)
    for number in range(3):
        transform = make(1.0)
        if isinstance(transform, RandLensd):
            transform.changed = nearest_everywhere(transform)
        assert_consistent(MonaiTransforms([transform])(sample, chance(number), CLASSES))


def nearest_everywhere(warp):
    from microtome.data.warps import taken

    def changed(data, spacing):
        at = warp.places(tuple(data["image"].shape[1:]), spacing)
        return {key: taken(value, at) for key, value in data.items()}

    return changed


@pytest.mark.parametrize("dims", [2, 3])
def test_transposed_exchanges_the_last_two_axes_and_their_spacing(dims):
    before = make_sample(dims)
    out = MonaiTransforms([RandTransposed(1.0)])(before, chance(), CLASSES)
    assert torch.equal(out.image, before.image.transpose(-1, -2))
    assert torch.equal(out.truth.classes, before.truth.classes.transpose(-1, -2))
    assert out.spacing == (*before.spacing[:-2], before.spacing[-1], before.spacing[-2])


@pytest.mark.parametrize("strength", [-0.3, 0.3])
def test_a_lens_leaves_the_centre_and_moves_corners_by_k(strength):
    lens = RandLensd(1.0, limit=0.3)
    lens.R = SimpleNamespace(uniform=lambda low, high: strength)
    at = lens.places((9, 21), (1.0, 1.0))
    assert at[:, 4, 10].tolist() == [4, 10]
    assert at[:, 8, 20].tolist() == pytest.approx(
        [4 + 4 * (1 + strength), 10 + 10 * (1 + strength)]
    )
    edge = 1 + strength / 2  # r² is half of that in the corners
    assert at[:, 4, 20].tolist() == pytest.approx([4, 10 + 10 * edge])


@pytest.mark.parametrize("dims", [2, 3])
def test_resized_crop(dims):
    sample = make_sample(dims)
    crop = RandomResizedCrop((0.3, 0.6), (0.8, 1.25))
    shares, ratios = [], []
    for number in range(100):
        region = crop.place((200,) * dims, np.random.default_rng(number))
        sides = [part.stop - part.start for part in region]
        assert all(part.start >= 0 and part.stop <= 200 for part in region)
        shares.append(np.prod(sides) / 200**dims)
        ratios.append(sides[-1] / sides[-2])
    assert 0.29 < min(shares) < 0.35 and 0.55 < max(shares) < 0.62
    assert 0.78 < min(ratios) < 0.85 and 1.18 < max(ratios) < 1.28
    out = crop(sample, chance(1), CLASSES)
    assert out.shape == sample.shape and out.truth.classes.shape == out.shape
    size = tuple(a * s for a, s in zip(out.placement.scale, out.shape, strict=True))
    assert out.spacing == pytest.approx(
        [a * b for a, b in zip(sample.spacing, out.placement.scale, strict=True)]
    )
    start = [round(o) for o in out.placement.offset]
    window = tuple(slice(a, a + round(n)) for a, n in zip(start, size, strict=True))
    assert set(out.truth.classes.unique().tolist()) == set(
        sample.truth.classes[window].unique().tolist()
    )
    assert RandomResizedCrop(size=7)(sample, chance(), CLASSES).shape == (7,) * dims
    with pytest.raises(ValueError, match="at most 1"):
        RandomResizedCrop((0.5, 1.5))


def test_a_slot_is_done_as_often_as_it_says_and_chooses_evenly():
    slot = Slot(
        0.6, [mt.ShiftIntensityd(["image"], 1.0), mt.RandShiftIntensityd(["image"], (2, 2))]
    )
    sample = DataSample(torch.zeros(1, 4, 4))
    found = [float(slot(sample, chance(n), CLASSES).image.mean()) for n in range(600)]
    counts = [found.count(value) for value in (0.0, 1.0, 2.0)]
    assert sum(counts) == 600
    assert counts == pytest.approx([240, 180, 180], abs=40)
    assert Slot(0.0, [mt.RandFlipd(KEYS)])(sample, chance(), CLASSES) is sample
    for prob, listed in ((1.5, [mt.RandFlipd(KEYS)]), (0.5, [])):
        with pytest.raises(ValueError, match="a slot has"):
            Slot(prob, listed)


def test_what_does_not_fit_fails_at_the_first_sample(pfm):
    """Five channels have no hue; a volume has no plane to bend: said whether drawn or not."""
    with pytest.raises(ValueError, match=r"(?s)fit it:.*Jitter.* 1 or 3.*RandHue.*has 5"):
        for transform in pfm:
            transform(DataSample(torch.rand(5, 64, 64), meta={"name": "it"}), chance(), CLASSES)
    with pytest.raises(ValueError, match="Rand2DElasticd is for 2 axes, and this has 3"):
        for transform in pfm:
            transform(DataSample(torch.rand(3, 8, 64, 64)), chance(), CLASSES)


MOTION = {"kernel_size": 5, "angle": [90.0, 90.0], "direction": [0.0, 0.0]}


@pytest.mark.parametrize("shape", [(2, 24, 20), (2, 4, 24, 20)])
def test_kornias_motion_takes_any_channels_and_volumes(shape):
    blur = RandKorniad("RandomMotionBlur", 1.0, MOTION)
    image = torch.zeros(shape)
    image[0, ..., 12, 10] = 1
    out = MonaiTransforms([blur])(DataSample(image), chance(), CLASSES).image
    assert out.shape == image.shape
    assert out[1].abs().max() == 0
    column = out[0, ..., 10]
    assert torch.allclose(column.sum(-1), torch.ones(shape[1:-2])), "blurred along y alone"
    assert (column > 0.1).sum(-1).eq(5).all()


def test_kornia_that_is_missing_and_wrong_options(monkeypatch):
    with pytest.raises(ValueError, match=r"RandomMotionBlur:.*unheard"):
        RandKorniad("RandomMotionBlur", 1.0, {"unheard": 1})
    with pytest.raises(ValueError, match="'RandomRain', 'RandomSnow'"):
        RandKorniad("RandomErasing")
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(ValueError, match=r"pip install 'microtome\[augment\]'"):
        RandKorniad("RandomRain")


@pytest.mark.parametrize("dims", [2, 3])
def test_fog_and_noise_in_numbers(dims):
    image = torch.full((2, *(16,) * dims), 0.25)
    fog = MonaiTransforms([RandFogd(1.0, (0.5, 0.5))])(DataSample(image), chance(), CLASSES).image
    assert torch.equal(fog[0], fog[1]), "the same over all channels"
    assert fog.min() >= 0.25 and 0.3 < fog.max() <= 0.25 + 0.5 * 0.75
    noise = MonaiTransforms([RandMultiplicativeNoised(1.0, (0.8, 1.2))])
    out = noise(DataSample(image), chance(), CLASSES).image / image
    assert 0.8 <= out.min() < 0.82 and 1.18 < out.max() <= 1.2


def test_hue_saturation_and_value_shift_alone():
    def shifted(hue, saturation, value):
        transform = RandHueSaturationValued(1.0)
        moves = iter((hue / 360, saturation, value))
        transform.R = SimpleNamespace(uniform=lambda low, high: next(moves))
        red = torch.tensor([0.8, 0.2, 0.2]).view(3, 1, 1)  # hue 0, saturation 0.75, value 0.8
        return transform.changed({"image": red}, (1.0, 1.0))["image"].flatten().tolist()

    assert shifted(120, 0, 0) == pytest.approx([0.2, 0.8, 0.2], abs=1e-5)
    assert shifted(0, 0.25, 0) == pytest.approx([0.8, 0, 0], abs=1e-5)
    assert shifted(0, 0, 0.2) == pytest.approx([1, 0.25, 0.25], abs=1e-5)
