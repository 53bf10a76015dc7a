"""The classical baseline on drawn discs and balls that touch."""

import numpy as np
import pytest
import torch

from microtome.evaluation import OtsuWatershed
from microtome.structures import DataSample


def drawn(centres, radius, shape, step=1.0):
    """Bright balls on dark ground; the first axis in steps of its own."""
    axes = np.indices(shape).astype(float)
    axes[0] *= step
    far = [np.sqrt(sum((x - c) ** 2 for x, c in zip(axes, at, strict=True))) for at in centres]
    inside = np.min(far, 0) < radius
    noise = np.random.default_rng(0).normal(0, 0.02, shape)
    image = torch.from_numpy(0.1 + 0.6 * inside + noise).float()
    return image, np.where(inside, 1 + np.argmin(far, 0), 0)


CASES = {
    "plane": ([(15, 12), (15, 28), (34, 30)], 9, (48, 48), 1.0),
    "volume": ([(14, 12, 14), (14, 28, 14), (14, 20, 32)], 9, (10, 44, 46), 3.0),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("foreground", ["bright", "dark"])
def test_touching_objects_are_parted(case, foreground):
    image, ids = drawn(*CASES[case])
    image = image if foreground == "bright" else 1 - image
    spacing = (CASES[case][3], *[1.0] * (image.ndim - 1))
    sample = DataSample(image[None], spacing=spacing)
    found = OtsuWatershed(foreground, radius=5, label=2).predict_samples([sample])[0].instances
    assert found.labels.tolist() == [2, 2, 2]
    maps = found.masks.maps[0].numpy()
    for number in (1, 2, 3):
        values, counts = np.unique(maps[ids == number], return_counts=True)
        most = values[counts.argmax()]
        both = ((maps == most) & (ids == number)).sum()
        assert both / ((maps == most) | (ids == number)).sum() > 0.75


def test_nothing_to_find_and_mistakes():
    blank = DataSample(torch.zeros(3, 12, 12))
    assert len(OtsuWatershed().predict_samples([blank])[0].instances) == 0
    with pytest.raises(ValueError, match="foreground must be"):
        OtsuWatershed("grey")
    with pytest.raises(ValueError, match="radius: expected at least 1"):
        OtsuWatershed(radius=0.5)
