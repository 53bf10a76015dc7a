"""Turning and bending in micrometres."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_samples import CLASSES, IDS, SPACINGS, chance, make_sample
from scipy import interpolate, ndimage
from skimage.measure import regionprops

from microtome.data.bridge import to_dict
from microtome.data.transforms import MonaiTransforms
from microtome.data.warps import RandBendd, RandTurnd, _splines, interpolated, taken
from microtome.structures import DataSample, Instances, LabelLayers, Segmentation

WARPS = {"turn": lambda: RandTurnd(degrees=30), "bend": lambda: RandBendd(1.0, 3.0, 0.6)}


def assert_told_alike(sample):
    """Objects are where the image shows them, but for their borders; boxes fit; ids are theirs."""
    classes, objects = sample.truth.classes.numpy(), sample.truth.instances
    inner = ndimage.minimum_filter(classes, 5) == ndimage.maximum_filter(classes, 5)
    judged = inner & (classes != 255)
    assert judged.sum() > 100
    np.testing.assert_allclose(sample.image[0].numpy()[judged] * 2, classes[judged], atol=1e-5)
    assert [IDS[label - 1] for label in objects.labels.tolist()] == objects.masks.ids.tolist()
    numbers = objects.masks.maps[0].numpy()
    for number, label in enumerate(objects.labels.tolist(), start=1):
        assert np.isin(classes[numbers == number], (label, 255)).all()
    found = [list(r.bbox) for r in regionprops(numbers)]
    assert objects.boxes.tensor.tolist() == found


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", WARPS)
def test_image_and_truth_move_together(name, dims):
    warp, before = MonaiTransforms([WARPS[name]()]), make_sample(dims)
    images = set()
    for number in range(4):
        out = warp(before, chance(number), CLASSES)
        assert_told_alike(out)
        assert out.spacing == SPACINGS[dims] and out.shape == before.shape
        images.add(out.image.numpy().tobytes())
        again = warp(before, chance(number), CLASSES)
        assert again.image.equal(out.image) and again.truth.classes.equal(out.truth.classes)
    assert len(images) == 4 and before.image.numpy().tobytes() not in images


def test_turned_by_a_right_angle_in_micrometres():
    """6 x 4 µm lie on their side as 4 x 6 µm, with pixels of 0.5 x 0.25 µm."""
    ids = torch.zeros(40, 80, dtype=torch.int64)
    ids[14:26, 32:48] = IDS[0]
    masks = LabelLayers.from_ids(ids)
    truth = Segmentation((ids > 0).long(), Instances(torch.tensor([1]), masks=masks))
    data = to_dict(DataSample((ids > 0).float()[None], truth, (0.5, 0.25)), CLASSES)
    turn = RandTurnd()
    turn.R = SimpleNamespace(rand=lambda: 0, uniform=lambda low, high: 90, randint=lambda n: 0)
    turned = LabelLayers(turn(data)["labels"].as_tensor(), masks.ids)
    assert turned.boxes().tolist() == [[16, 28, 24, 52]]
    assert turn(data)["image"].sum().item() == pytest.approx(8 * 24, rel=1e-4)


def test_coarse_slices_are_turned_in_their_plane():
    turn, shape = RandTurnd(), (5, 6, 7)
    turn.set_random_state(0)
    still = torch.stack(torch.meshgrid(*[torch.arange(float(s)) for s in shape], indexing="ij"))

    def axes(spacing):
        """Which axes stayed as they were, in 30 turns."""
        places = [turn.places(shape, spacing) for _ in range(30)]
        return {a for p in places for a in range(3) if p[a].equal(still[a])}

    assert axes((2.0, 0.5, 0.5)) == {0} and axes((2.0, 0.5, 0.25)) == {0}
    assert axes((0.6, 0.5, 0.5)) == {0, 1, 2}


def test_pixels_are_read_as_scipy_reads_them():
    at = torch.rand(3, 6, 5, 4) * 12 - 2
    maps = torch.rand(2, 8, 7, 9)
    theirs = [ndimage.map_coordinates(m, at.numpy(), order=1, mode="nearest") for m in maps.numpy()]
    np.testing.assert_allclose(interpolated(maps, at), np.stack(theirs), atol=1e-5)
    numbers = torch.randint(2**53, (1, 8, 7, 9))  # no float holds all of them
    found = taken(numbers, at)
    near = at.round().long()
    inside = ((near >= 0) & (near < torch.tensor([8, 7, 9]).view(3, 1, 1, 1))).all(0)
    assert not found[0][~inside].any() and 0 < inside.sum() < inside.numel()
    assert found[0][inside].equal(numbers[0][tuple(near[:, inside])])


def test_splines_are_cubic_b_splines():
    weights = _splines(11, 0.3)
    basis = interpolate.BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    far = np.arange(11)[:, None] * 0.3 + 1 - np.arange(weights.shape[1])
    np.testing.assert_allclose(weights, np.nan_to_num(basis(far)), atol=1e-6)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)  # every pixel has all it needs


@pytest.mark.parametrize("dims", [2, 3])
def test_tissue_is_moved_by_micrometres_and_never_folded(dims):
    shape, spacing = (9, 25, 30)[-dims:], SPACINGS[dims]
    bend = RandBendd(1.0, 4.0, 1.6)
    bend.set_random_state(1)
    still = torch.stack(torch.meshgrid(*[torch.arange(float(s)) for s in shape], indexing="ij"))
    for _ in range(10):
        at = bend.places(shape, spacing)
        moved = (at - still) * torch.tensor(spacing).view(-1, *[1] * dims)
        assert 0.2 < moved.abs().max() < 1.6
        steps = torch.stack([torch.stack(torch.gradient(p)) for p in at])  # [D, D, *S]
        assert (torch.linalg.det(steps.flatten(2).permute(2, 0, 1)) > 0).all()


def test_what_would_fold_tissue_is_refused():
    with pytest.raises(ValueError, match=r"at most 0\.4 of grid_um 10"):
        RandBendd(1.0, 10, 5)


def test_unknown_spacing_is_an_error():
    for warp in WARPS.values():
        with pytest.raises(ValueError, match="needs the spacing of it"):
            MonaiTransforms([warp()])(make_sample(3, spacing=None), chance(), CLASSES)
