"""Losses of class maps against PyTorch, MONAI and by hand; they do not see ignored pixels."""

import inspect
from functools import partial

import pytest
import torch
from monai.losses import BoundaryLoss, DiceLoss, FocalLoss, TverskyLoss
from torch.nn import functional as F

from microtome.losses import (
    DENSE_LOSSES,
    WEIGHING_CLASSES,
    binary_cross_entropy,
    boundary,
    chosen_losses,
    cross_entropy,
    dice,
    focal_cross_entropy,
    iou,
    lovasz,
    ohem,
    tversky,
)
from microtome.losses.dense import OPTIONS
from microtome.losses.distances import signed_distance

IGNORED = 255
LOSSES = {**DENSE_LOSSES, "ohem": partial(ohem, fraction=1.0)}
every_loss = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
MONAIS = {"to_onehot_y": True, "softmax": True}


def batch(dims, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, *(6, 5, 4)[:dims])
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    return logits, torch.randint(classes, shape, generator=generator)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_that_of_pytorch(dims, weights, smoothing):
    logits, truth = batch(dims)
    truth[0, :2] = IGNORED
    ours = cross_entropy(logits, truth, IGNORED, weights, smoothing=smoothing)
    theirs = F.cross_entropy(
        logits,
        truth,
        weight=weights and torch.tensor(weights),
        ignore_index=IGNORED,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (dice, DiceLoss(**MONAIS, batch=True)),
        # MONAI's has twice the numerator and denominator, but not twice the smoothing
        (iou, DiceLoss(**MONAIS, batch=True, jaccard=True, smooth_nr=2e-5, smooth_dr=2e-5)),
        (tversky, TverskyLoss(**MONAIS, batch=True, alpha=0.3, beta=0.7)),
        (boundary, BoundaryLoss(**MONAIS)),
    ],
    ids=["dice", "iou", "tversky", "boundary"],
)
def test_these_are_those_of_monai(ours, theirs, dims):
    logits, truth = batch(dims)
    torch.testing.assert_close(ours(logits, truth, IGNORED), theirs(logits, truth[:, None]))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_cross_entropy_is_that_of_monai(dims, gamma):
    logits, truth = batch(dims)
    theirs = FocalLoss(to_onehot_y=True, use_softmax=True, gamma=gamma, reduction="sum")
    torch.testing.assert_close(
        focal_cross_entropy(logits, truth, IGNORED, gamma=gamma)
        * len(truth),  # MONAI averages pixels
        theirs(logits, truth[:, None]),
    )


def test_focal_cross_entropy_of_gamma_zero_is_cross_entropy():
    logits, truth = batch(2)
    truth[0] = IGNORED
    weights = [0.2, 1.0, 3.0]
    torch.testing.assert_close(
        focal_cross_entropy(logits, truth, IGNORED, weights, gamma=0.0),
        cross_entropy(logits, truth, IGNORED, weights),
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_certain_answers_leave_a_finite_gradient(gamma):
    logits = torch.tensor([[[200.0], [-200.0]]], requires_grad=True)
    focal_cross_entropy(logits, torch.tensor([[0]]), IGNORED, gamma=gamma).backward()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    "options, kept",
    [({"fraction": 0.5}, 2), ({"fraction": 0.1, "least": 3}, 3), ({"fraction": 0.0}, 1), ({}, 4)],
)
def test_ohem_is_the_mean_of_the_hardest(options, kept):
    truth = torch.tensor([[0, 0, IGNORED, 0, 0]])
    logits = torch.tensor([[[0.0, 3.0, -50.0, -1.0, 1.0], [0.0] * 5]])
    losses = F.softplus(torch.tensor([1.0, 0.0, -1.0, -3.0]))  # from the hardest on
    options = {"least": 0, **options} if options else {}  # by default all of so few
    assert ohem(logits, truth, IGNORED, **options).item() == pytest.approx(
        losses[:kept].mean().item()
    )


@pytest.mark.parametrize("dims", [2, 3])
def test_lovasz_of_certain_answers_is_intersection_over_union(dims):
    """On the corners of the cube the extension is the set function itself."""
    logits, truth = batch(dims)
    answer = logits.argmax(1)
    sure = 200.0 * F.one_hot(answer, 3).movedim(-1, 1).float()
    truth[0, :2] = IGNORED
    known = truth != IGNORED
    ratios = [
        ((answer == k) & (truth == k)).sum() / (((answer == k) & known) | (truth == k)).sum()
        for k in range(3)
    ]
    torch.testing.assert_close(lovasz(sure, truth, IGNORED), 1 - torch.stack(ratios).mean())


def test_signed_distance_ends_at_other_classes_but_not_at_ignored_pixels():
    line = torch.tensor([1, 1, 1, 0, 0, IGNORED, 0])
    assert signed_distance(line, 1, IGNORED).tolist() == [-2, -1, 0, 1, 2, 3, 4]
    hidden = torch.tensor([IGNORED, 1, 1, IGNORED, IGNORED, 0, 0])
    assert signed_distance(hidden, 1, IGNORED).tolist()[1:3] == [-3, -2]
    assert signed_distance(hidden, 2, IGNORED).eq(0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_binary_cross_entropy_is_that_of_pytorch(dims):
    logits, truth = batch(dims)
    whole = F.one_hot(truth, 3).movedim(-1, 1)
    theirs = F.binary_cross_entropy_with_logits(logits, whole.float())
    torch.testing.assert_close(binary_cross_entropy(logits, truth, IGNORED), theirs)
    torch.testing.assert_close(binary_cross_entropy(logits, whole, IGNORED), theirs)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "ours, theirs",
    [
        (dice, DiceLoss(sigmoid=True, batch=True)),
        (iou, DiceLoss(sigmoid=True, batch=True, jaccard=True, smooth_nr=2e-5, smooth_dr=2e-5)),
        (tversky, TverskyLoss(sigmoid=True, batch=True, alpha=0.3, beta=0.7)),
    ],
    ids=["dice", "iou", "tversky"],
)
def test_overlap_of_classes_that_overlap_is_that_of_monai(dims, ours, theirs):
    logits, sets = batch(dims)
    truth = torch.stack([sets > 0, sets > 1, sets < 2], 1).long()
    torch.testing.assert_close(ours(logits, truth, IGNORED), theirs(logits, truth))
    part = ours(logits[:, :, :3], truth[:, :, :3], IGNORED)
    truth[:, :, 3:] = IGNORED
    torch.testing.assert_close(ours(logits, truth, IGNORED), part)


def test_of_overlapping_classes_one_may_be_ignored_where_others_are_not():
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    truth = torch.tensor([[[1, 0, IGNORED], [1, IGNORED, IGNORED]]])
    value = binary_cross_entropy(logits, truth, IGNORED)
    value.backward()
    assert value.item() == pytest.approx(0.693147, abs=1e-5)
    torch.testing.assert_close(logits.grad * 6, torch.tensor([[[-1.0, 1, 0], [-1, 0, 0]]]))
    nothing = binary_cross_entropy(logits, torch.full_like(truth, IGNORED), IGNORED)
    assert nothing.item() == 0 and nothing.requires_grad


@every_loss
def test_an_image_with_ignored_pixels_is_the_image_without_them(loss):
    logits, truth = batch(2)
    whole = truth.clone()
    whole[:, 3:] = IGNORED
    torch.testing.assert_close(
        loss(logits, whole, IGNORED), loss(logits[:, :, :3], truth[:, :3], IGNORED)
    )


@pytest.mark.parametrize("loss", [dice, iou, tversky, lovasz])
@pytest.mark.parametrize("right, value", [(True, 0.0), (False, 1.0)])
def test_overlap_of_certain_answers(loss, right, value):
    truth = torch.tensor([[[0, 0, 1, 1]]])
    logits = 100.0 * F.one_hot(truth if right else 1 - truth, 2).movedim(-1, 1).float()
    assert loss(logits, truth, IGNORED).item() == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize(
    "loss, value", [(dice, 0.5), (iou, 2 / 3), (tversky, 1 - 1 / (1 + 0.7 * 2)), (lovasz, 2 / 3)]
)
def test_overlap_asks_only_for_classes_that_occur(loss, value):
    # Every class gets a third of 4 pixels, all of class 0: Dice 1 - 2 * (4/3) / (4/3 + 4) = 0.5.
    truth = torch.zeros(1, 2, 2, dtype=torch.long)
    assert loss(torch.zeros(1, 3, 2, 2), truth, IGNORED).item() == pytest.approx(value, abs=1e-4)


@every_loss
@pytest.mark.parametrize("dims", [2, 3])
def test_ignored_pixels_have_no_say(loss, dims):
    logits, truth = batch(dims)
    truth[:, 1::2] = IGNORED
    logits.requires_grad_()
    value = loss(logits, truth, IGNORED)
    (gradient,) = torch.autograd.grad(value, logits)
    hidden = (truth == IGNORED)[:, None].expand_as(logits)
    assert gradient[hidden].eq(0).all() and gradient[~hidden].ne(0).float().mean() > 0.9
    other = torch.where(hidden, 7 * torch.randn_like(logits), logits)
    torch.testing.assert_close(loss(other, truth, IGNORED), value)


@every_loss
@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_to_judge_is_a_zero_with_a_gradient(loss, dims):
    logits, truth = batch(dims)
    logits.requires_grad_()
    value = loss(logits, torch.full_like(truth, IGNORED), IGNORED)
    value.backward()
    assert value.item() == 0 and logits.grad.eq(0).all()


@pytest.mark.parametrize("loss", [dice, iou, tversky, partial(tversky, alpha=0.0)])
@pytest.mark.parametrize("kinds", [[], [1]])
def test_nothing_is_divided_by_nothing_without_smoothing(loss, kinds):
    """Of classes that do not occur, truth and, where all is ignored, prediction are nothing."""
    logits, truth = batch(2)
    logits.requires_grad_()
    truth = truth.where(torch.isin(truth, torch.tensor(kinds)), IGNORED)
    value = loss(logits, truth, IGNORED, smooth=0.0)
    value.backward()
    assert logits.grad.isfinite().all() and logits.grad.any().item() == bool(kinds)
    smoothed = loss(logits, truth, IGNORED)
    torch.testing.assert_close(value, smoothed, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", WEIGHING_CLASSES)
def test_only_classes_of_weight_zero_is_a_zero_too(name):
    logits, truth = batch(2)
    assert LOSSES[name](logits, truth.clamp(max=1), IGNORED, [0.0, 0.0, 1.0]).item() == 0


@every_loss
def test_any_ignore_index_and_integer_type(loss):
    logits, truth = batch(2)
    truth[0, 0] = IGNORED
    value = loss(logits, truth.to(torch.uint8), IGNORED)
    torch.testing.assert_close(loss(logits, truth.where(truth != IGNORED, -100), -100), value)


@every_loss
def test_float32_under_autocast(loss):
    logits, truth = batch(2)
    logits = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(logits, truth, IGNORED)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, loss(logits.float(), truth, IGNORED))


@pytest.mark.parametrize("name", DENSE_LOSSES)
def test_options_are_the_arguments_of_the_losses(name):
    signature = inspect.signature(DENSE_LOSSES[name]).parameters.values()
    assert list(OPTIONS.get(name, {})) == [p.name for p in signature if p.kind == p.KEYWORD_ONLY]


def test_options_reach_the_losses():
    logits, truth = batch(2)
    chosen = chosen_losses(["dice", "tversky"], {"tversky": {"alpha": 0.5, "beta": 0.5}})
    values = [loss(logits, truth, IGNORED) for loss in chosen.values()]
    torch.testing.assert_close(*values, atol=1e-5, rtol=0)


def test_all_impossible_options_are_listed():
    options = {
        "focal": {"gamma": -1.0, "alpha": 1.0},
        "lovasz": {"smooth": 1.0},
        "ohem": {"fraction": 0.5},
    }
    with pytest.raises(ValueError) as told:
        chosen_losses(["focal", "lovasz"], options)
    for part in [
        "ohem is not among the losses ['focal', 'lovasz']",
        "focal.gamma must lie in 0…inf, got -1.0",
        "focal has ['gamma'], not 'alpha'",
        "lovasz has no options, not 'smooth'",
    ]:
        assert part in str(told.value)
