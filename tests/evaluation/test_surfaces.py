"""HD95 and surface Dice, by hand and against MONAI."""

from __future__ import annotations

import math

import pytest
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from torch.nn.functional import one_hot

from microtome.evaluation import surface_scores


@pytest.mark.parametrize(("axis", "apart"), [(0, 6.0), (1, 1.0)])
def test_a_plate_moved_by_two_pixels(axis, apart):
    truth = torch.zeros(12, 12, dtype=torch.int64)
    truth.select(axis, 4).fill_(1)
    found = surface_scores(truth.roll(2, axis), truth, 2, (3.0, 0.5), tolerance=1)
    assert found.hd95[1] == pytest.approx(apart)
    assert found.dice[1] == (apart <= 1)


@pytest.mark.filterwarnings("ignore::FutureWarning:monai")
@pytest.mark.parametrize(
    ("shape", "spacing"), [((30, 40), (0.5, 0.5)), ((30, 40), (2.0, 0.3)), ((8, 20, 24), (5, 1, 2))]
)
def test_equals_monai_with_unequal_spacing(shape, spacing):
    torch.manual_seed(0)
    coarse = torch.rand(1, 1, *shape)
    pool = torch.nn.functional.avg_pool2d if len(shape) == 2 else torch.nn.functional.avg_pool3d
    smooth = pool(coarse, 5, 1, 2)[0, 0]
    truth = (smooth > smooth.quantile(0.4)).long() + (smooth > smooth.quantile(0.8))
    result = truth.roll((1, 2), (0, 1))
    found = surface_scores(result, truth, 3, spacing, tolerance=1.5)
    maps = [one_hot(m, 3).movedim(-1, 0)[None] for m in (result, truth)]
    hd95 = compute_hausdorff_distance(
        *maps, include_background=True, percentile=95, spacing=list(spacing)
    )
    dice = compute_surface_dice(*maps, [1.5] * 3, include_background=True, spacing=list(spacing))
    assert found.hd95.tolist() == pytest.approx(hd95[0].tolist(), rel=1e-5)
    assert found.dice.tolist() == pytest.approx(dice[0].tolist(), rel=1e-5)


def test_a_class_that_one_or_none_has():
    truth = torch.zeros(6, 8, dtype=torch.int64)
    result = truth.clone()
    result[2, 3] = 1
    for pair in ((result, truth), (truth, result)):
        found = surface_scores(*pair, 3, (0.5, 0.5), tolerance=1)
        assert (found.hd95[1], found.dice[1]) == (5, 0), "the diagonal of 3 by 4 µm"
        assert math.isnan(found.hd95[2]) and math.isnan(found.dice[2])


def test_where_the_truth_is_ignored_the_result_is_right():
    truth = torch.zeros(9, 9, dtype=torch.int64)
    truth[3:6, 3:6] = 1
    result = truth.clone()
    result[0, 0] = 1
    assert surface_scores(result, truth, 2, (1, 1), 0).dice[1] < 1
    truth[0, 0] = 255
    found = surface_scores(result, truth, 2, (1, 1), 0)
    assert found.hd95[1] == 0 and found.dice[1] == 1


def test_mistakes():
    flat = torch.zeros(4, 4, dtype=torch.int64)
    for wrong in (
        (flat, flat[:3], 2, (1, 1), 1),
        (flat, flat, 2, (1, 1, 1), 1),
        (flat, flat, 2, (1, 1), -1),
    ):
        with pytest.raises(ValueError, match="expected maps of one shape"):
            surface_scores(*wrong)
