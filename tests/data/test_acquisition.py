"""What microscopes do to images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from drawn_samples import CLASSES, IDS, chance, make_sample
from scipy import ndimage

from microtome.data.acquisition import (
    RandAttenuationd,
    RandAxialBlurd,
    RandMissingSlicesd,
    RandPoissonGaussiand,
)
from microtome.data.transforms import MonaiTransforms
from microtome.structures import DataSample

EFFECTS = {
    "blur": lambda: RandAxialBlurd(1.0, (1.0, 3.0)),
    "slices": lambda: RandMissingSlicesd(1.0, 3),
    "attenuation": lambda: RandAttenuationd(1.0, (5.0, 50.0)),
    "noise": lambda: RandPoissonGaussiand(1.0, (20, 200)),
}
SPACING = (2.0, 0.5, 0.5)


def volume():
    torch.manual_seed(0)
    return torch.rand(2, 12, 6, 5)


def done(transform, image, number=0):
    sample = DataSample(image, spacing=SPACING[-image.ndim + 1 :])
    return MonaiTransforms([transform])(sample, chance(number), CLASSES).image


@pytest.mark.parametrize("name", EFFECTS)
def test_only_the_image_changes_and_by_its_own_chance(name):
    effect = MonaiTransforms([EFFECTS[name]()])
    before = replace(make_sample(3), image=torch.rand(3, 12, 24, 20))
    kept = before.image.clone()
    outs = [effect(before, chance(n), CLASSES) for n in (0, 1, 0)]
    assert before.image.equal(kept) and outs[0].image.equal(outs[2].image)
    assert not outs[0].image.equal(outs[1].image) and not outs[0].image.equal(kept)
    assert outs[0].truth.classes.equal(before.truth.classes)
    assert outs[0].truth.instances.masks.ids.tolist() == list(IDS)
    assert outs[0].spacing == before.spacing


@pytest.mark.parametrize("name", ["blur", "slices", "attenuation"])
def test_pictures_have_no_slices(name):
    image = torch.rand(3, 8, 9)
    assert done(EFFECTS[name](), image).equal(image)


def test_blur_is_a_gaussian_along_z_in_micrometres():
    """3 µm are 1.5 slices of 2 µm."""
    found = done(RandAxialBlurd(1.0, (3.0, 3.0)), volume())
    theirs = ndimage.gaussian_filter1d(volume().numpy(), 1.5, axis=1, mode="nearest", radius=5)
    np.testing.assert_allclose(found, theirs, atol=1e-5)


def test_lost_slices_are_black_or_the_one_before():
    kinds = set()
    for number in range(30):
        before = volume()
        after = done(RandMissingSlicesd(1.0, 3), before, number)
        lost = [z for z in range(12) if not after[:, z].equal(before[:, z])]
        assert 1 <= len(lost) <= 3 and lost[0] > 0
        for z in lost:
            black = not after[:, z].any()
            assert black or after[:, z].equal(after[:, z - 1])
            kinds.add((len(lost), black))
    assert kinds == {(n, black) for n in (1, 2, 3) for black in (True, False)}


def test_one_slice_cannot_be_lost():
    image = torch.rand(1, 1, 4, 4)
    assert done(RandMissingSlicesd(1.0, 3), image).equal(image)


def test_light_fades_by_a_third_per_length():
    """10 µm are 5 slices; the light comes from either side."""
    sides = set()
    for number in range(10):
        left = done(RandAttenuationd(1.0, (10.0, 10.0)), torch.ones(1, 11, 2, 2), number)[
            0, :, 0, 0
        ]
        low, high = sorted((left[0].item(), left[10].item()))
        assert (
            high == 1 and low == pytest.approx(np.exp(-2)) and left[5] == pytest.approx(np.exp(-1))
        )
        sides.add(left[0].item() == 1)
    assert sides == {True, False}


@pytest.mark.parametrize("shape", [(1, 200, 200), (1, 20, 50, 40)])
def test_noise_is_that_of_photons_and_readout(shape):
    """Of a grey of 0.5 and 100 photons for white: variance 0.5 / 100 + 0.05^2."""
    found = done(RandPoissonGaussiand(1.0, (100, 100), 0.05), torch.full(shape, 0.5))
    assert found.dtype == torch.float32
    assert found.mean() == pytest.approx(0.5, abs=0.003)
    assert found.var() == pytest.approx(0.0075, rel=0.03)


@pytest.mark.parametrize("limits", [(0, 1), (2, 1), (1,)])
def test_limits_are_two_and_in_order(limits):
    for make in (RandAxialBlurd, RandAttenuationd, RandPoissonGaussiand):
        with pytest.raises(ValueError, match=r"\[lowest, highest\] above 0"):
            make(1.0, limits)
