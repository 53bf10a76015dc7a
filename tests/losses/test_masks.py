"""Losses of masks at points, and where the points are."""

import pytest
import torch
from monai.losses import DiceLoss

from microtome.losses.masks import (
    PointSampling,
    _MaskLosses,
    choose_uncertain,
    class_loss,
    draw_points,
    mask_losses,
)


def test_dice_and_entropy_are_those_of_others():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 40, generator=generator)
    truth = torch.rand(6, 40, generator=generator) > 0.5
    entropy, dice = mask_losses(logits, truth)
    expected = DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1, reduction="none")
    torch.testing.assert_close(dice, expected(logits[:, None], truth[:, None].float())[:, 0, 0])
    bce = torch.nn.BCEWithLogitsLoss(reduction="none")(logits, truth.float())
    torch.testing.assert_close(entropy, bce.mean(1))


def test_gradients_are_right_and_have_gradients():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 7, dtype=torch.float64, generator=generator).requires_grad_()
    truth = torch.rand(3, 7, generator=generator) > 0.5
    assert torch.autograd.gradcheck(lambda x: _MaskLosses.apply(x, truth), logits)
    assert torch.autograd.gradgradcheck(lambda x: _MaskLosses.apply(x, truth), logits)


@pytest.mark.parametrize("shape", [(12, 10), (4, 6, 5)])
def test_points_cover_the_valid_pixels_and_nothing_else(shape):
    torch.manual_seed(0)
    valid = torch.zeros(shape, dtype=torch.bool)
    valid[2:, 1:4] = True
    points = draw_points(valid, 5000)
    pixels = (points * torch.tensor(shape)).long()
    assert valid[tuple(pixels.T)].all()
    hits = torch.zeros(shape).index_put(tuple(pixels.T), torch.tensor(1.0), accumulate=True)
    assert hits[valid].min() > 0.4 * 5000 / valid.sum()
    inside = points * torch.tensor(shape) % 1
    torch.testing.assert_close(inside.mean(0), torch.full((len(shape),), 0.5), atol=0.03, rtol=0)


def test_no_points_where_nothing_is_valid():
    assert draw_points(torch.zeros(4, 5, dtype=torch.bool), 0).shape == (0, 2)


@pytest.mark.parametrize(
    "pixels, counts", [(10**6, (12544, 9408, 37632)), (100, (100, 75, 300)), (0, (0, 0, 0))]
)
def test_numbers_of_points(pixels, counts):
    assert PointSampling().counts(pixels) == counts


def test_the_most_uncertain_candidates_are_chosen_and_all_others():
    logits = torch.tensor([[5.0, -0.1, 0.2, -7.0, 9.0], [0.0, 3.0, 4.0, -1.0, 9.0]])
    columns = choose_uncertain(logits, 2, 4)
    assert columns.sort(1).values.tolist() == [[1, 2, 4], [0, 3, 4]]


def test_the_class_loss_weighs_no_object_and_skips_images():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, generator=generator)
    labels = torch.tensor([[0, 2, 2, 1], [2, 2, 1, 0]])
    weights = torch.tensor([1.0, 1.0, 0.1])
    expected = torch.nn.CrossEntropyLoss(weights)
    everything = class_loss(logits, labels, [True, True], 0.1)
    torch.testing.assert_close(everything, expected(logits.flatten(0, 1), labels.flatten()))
    first = class_loss(logits, labels, [True, False], 0.1)
    torch.testing.assert_close(first, expected(logits[0], labels[0]))
    assert class_loss(logits, labels, [False, False], 0.1) == 0
