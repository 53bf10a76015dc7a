"""Stain jitter against scikit-image and MONAI, and by dyes and colours that are known."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from drawn_samples import CLASSES, chance, recipe
from monai.apps.pathology.transforms.stain.array import ExtractHEStains
from skimage.color import hed2rgb, rgb2hed, rgb2lab, rgb_from_hed

from microtome.data.stains import RandHEDd, RandMacenkod, RandReinhardd, tissue_colours
from microtome.data.transforms import MonaiTransforms
from microtome.structures import DataSample, Segmentation


def drawn(jitter, *values):
    """The jitter, drawing these numbers one after the other."""
    rest = iter(values)
    jitter.R = SimpleNamespace(uniform=lambda low, high, size: np.reshape(next(rest), size))
    return jitter


def section(shape=(40, 30)):
    """[3, *shape] of haematoxylin and eosin in known amounts, on white."""
    rng = np.random.default_rng(0)
    amounts = rng.uniform(0.1, 0.7, (*shape, 2))
    density = amounts @ rgb_from_hed[:2]
    return torch.from_numpy(10**-density).float().movedim(-1, 0)


@pytest.mark.parametrize("shape", [(40, 30), (3, 20, 15)])
def test_hed_is_scikit_images(shape):
    """Its units are six times ours: a density of 1 is a natural logarithm over that of 1e-6."""
    image, factors, shifts = section(shape), [1.1, 0.9, 1.0], [0.05, 0.02, 0.0]
    jitter = drawn(RandHEDd(1.0, 0.2), factors, shifts)
    found = jitter.changed({"image": image}, (1.0,) * len(shape))["image"]
    amounts = rgb2hed(image.movedim(0, -1).numpy())
    theirs = hed2rgb(amounts * np.array(factors) + np.array(shifts) / 6)
    assert np.allclose(found.movedim(0, -1).numpy(), theirs, atol=2e-3)
    assert np.abs(theirs - image.movedim(0, -1).numpy()).max() > 0.05


def test_nothing_drawn_is_nothing_changed():
    image = 0.05 + 0.9 * torch.rand(3, 20, 30)
    for jitter, count in ((RandHEDd(1.0), 3), (RandMacenkod(1.0), 2), (RandReinhardd(1.0), 3)):
        still = drawn(jitter, [1.0] * count, [0.0] * count)
        found = still.changed({"image": image}, (1.0, 1.0)).get("image", image)
        assert torch.allclose(found, image, atol=1e-5)


def test_macenko_finds_the_dyes_and_changes_one_alone():
    """Half as much again of one dye: the other stays."""
    image = section((60, 60))
    jitter = RandMacenkod(1.0, 0.5)
    dyes = jitter.dyes(image)
    want = rgb_from_hed[:2] / np.linalg.norm(rgb_from_hed[:2], axis=1, keepdims=True)
    cosines = (dyes / dyes.norm(dim=0)).T.numpy() @ want.T
    assert (cosines.max(0) > 0.98).all() and set(cosines.argmax(0)) == {0, 1}, "in either order"
    bytes_ = (image.movedim(0, -1) * 255).round().byte().numpy()
    assert np.allclose(dyes.numpy(), ExtractHEStains()(bytes_), atol=1e-6)
    more = drawn(jitter, [1.5, 1.0], [0.0, 0.0]).changed({"image": image}, (1.0, 1.0))["image"]
    before, after = (
        torch.linalg.pinv(dyes) @ -torch.log10(x).flatten(1).double() for x in (image, more)
    )
    assert torch.allclose(after[0], 1.5 * before[0], atol=1e-3)
    assert torch.allclose(after[1], before[1], atol=1e-3)


@pytest.mark.parametrize("shape", [(40, 30), (4, 20, 15)])
def test_reinhard_moves_the_moments_of_tissue_and_no_glass(shape):
    """Means and deviations in Lab, as scikit-image tells them, are those that were asked for."""
    image = section(shape)
    image[..., :10] = 0.96
    factors, shifts = [0.9, 1.1, 0.8], [0.04, -0.03, 0.05]
    jitter = drawn(RandReinhardd(1.0), factors, shifts)
    found = jitter.changed({"image": image}, (1.0,) * len(shape))["image"]
    assert torch.equal(found[..., :10], image[..., :10]) and found.shape == image.shape
    before, after = (
        rgb2lab(x[..., 10:].movedim(0, -1).numpy()).reshape(-1, 3) for x in (image, found)
    )
    assert np.allclose(after.mean(0), before.mean(0) + np.array([4, -3, 5]), atol=0.05)
    assert np.allclose(after.std(0), before.std(0) * factors, atol=0.05)


def test_reinhard_takes_the_colours_of_another_laboratory():
    """Both images are half glass, which counts for nothing; lightness keeps its order."""
    image, other = section((40, 30)), section((40, 30)) ** 0.7
    image[:, :20], other[:, 20:] = 0.97, 0.93
    goal = tissue_colours(other)
    theirs = rgb2lab(other[:, :20].movedim(0, -1).numpy()).reshape(-1, 3)
    assert np.allclose(goal, [theirs.mean(0), theirs.std(0)], atol=1e-3)
    jitter = drawn(RandReinhardd(1.0, 0.1, *goal), [1.0] * 3, [0.0] * 3)
    found = jitter.changed({"image": image}, (1.0, 1.0))["image"]
    assert np.allclose(tissue_colours(found), goal, atol=0.1)
    assert np.abs(np.subtract(tissue_colours(image), goal)).max() > 5
    light = [rgb2lab(x[:, 20:].movedim(0, -1).numpy())[..., 0].ravel() for x in (image, found)]
    assert np.corrcoef(*light)[0, 1] > 0.999


def test_hardly_any_contrast_is_not_stretched():
    """Noise of a plain image stays noise, whatever deviation is wanted."""
    plain = torch.tensor([0.7, 0.5, 0.6]).view(3, 1, 1) + 0.002 * torch.rand(3, 30, 30)
    jitter = drawn(RandReinhardd(1.0, std=[15, 9, 9]), [1.0] * 3, [0.0] * 3)
    found = jitter.changed({"image": plain}, (1.0, 1.0))["image"]
    assert found.flatten(1).std(1).max() < 0.03


def test_glass_and_black_are_left_and_stay_in_range():
    glass = torch.full((3, 20, 20), 0.97)
    for jitter in (RandMacenkod(1.0), RandReinhardd(1.0)):
        assert jitter.changed({"image": glass}, (1.0, 1.0)) == {}
    dark = torch.zeros(3, 20, 20)
    garish = RandReinhardd(1.0, 0.3, [40, 0, 95], [20, 10, 20])  # more than screens show
    for jitter in (RandHEDd(1.0, 0.3), RandMacenkod(1.0, 0.3), RandReinhardd(1.0, 0.3), garish):
        jitter.set_random_state(seed=1)
        for image in (dark, glass, torch.rand(3, 20, 20)):
            out = jitter.changed({"image": image}, (1.0, 1.0)).get("image", image)
            assert out.isfinite().all() and out.min() >= 0 and out.max() <= 1


def test_what_they_refuse():
    with pytest.raises(ValueError, match="with 3 channels, and this has 4"):
        MonaiTransforms([RandHEDd(0.0)])(DataSample(torch.rand(4, 8, 8)), chance(), CLASSES)
    with pytest.raises(ValueError, match="strength: expected"):
        RandHEDd(1.0, 0.0)
    with pytest.raises(ValueError, match="mean: expected three numbers"):
        RandReinhardd(mean=[50.0])
    with pytest.raises(ValueError, match="std: expected numbers above 0"):
        RandReinhardd(std=[5.0, 5.0, 0.0])
    with pytest.raises(ValueError, match="at least 100 pixels of tissue"):
        tissue_colours(torch.full((3, 20, 20), 0.97))


def test_histology_recipe_from_yaml():
    """Every draw is another image; truth is turned, mirrored and enlarged with it."""
    steps = recipe("histology")
    image = section((64, 64))
    image[:, :32, :32] = 0.95
    classes = torch.ones(64, 64).long()
    classes[:32, :32] = 0
    images = set()
    for number in range(24):
        out = DataSample(image, Segmentation(classes), (0.5, 0.5))
        for place, step in enumerate(steps):
            out = step(out, chance(10 * number + place), CLASSES)
        images.add(out.image.numpy().tobytes())
        assert out.shape == (64, 64) and set(out.truth.classes.unique().tolist()) <= {0, 1}
        assert 0.35 < out.spacing[0] <= 0.5
        light = out.image.mean(0)
        if (out.truth.classes == 0).any():
            assert light[out.truth.classes == 0].mean() > light[out.truth.classes == 1].mean()
    assert len(images) == 24
