"""Cross-entropy and Dice against PyTorch and MONAI, and their blindness to ignored pixels."""

import pytest
import torch
from monai.losses import DiceLoss
from torch.nn import functional as F

from microtome.losses import cross_entropy, dice

IGNORED = 255
LOSSES = [cross_entropy, dice]


def batch(dims, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (2, *(6, 5, 4)[:dims])
    logits = torch.randn(shape[0], classes, *shape[1:], generator=generator)
    return logits, torch.randint(classes, shape, generator=generator)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0]])
def test_cross_entropy_is_that_of_pytorch(dims, weights):
    logits, truth = batch(dims)
    truth[0, :2] = IGNORED
    ours = cross_entropy(logits, truth, IGNORED, weights)
    theirs = F.cross_entropy(
        logits, truth, weight=weights and torch.tensor(weights), ignore_index=IGNORED
    )
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("dims", [2, 3])
def test_dice_is_that_of_monai_over_the_batch(dims):
    logits, truth = batch(dims)
    theirs = DiceLoss(to_onehot_y=True, softmax=True, batch=True)
    torch.testing.assert_close(dice(logits, truth, IGNORED), theirs(logits, truth[:, None]))


def test_dice_of_ignored_pixels_is_that_of_the_image_without_them():
    logits, truth = batch(2)
    whole = truth.clone()
    whole[:, 3:] = IGNORED
    torch.testing.assert_close(
        dice(logits, whole, IGNORED), dice(logits[:, :, :3], truth[:, :3], IGNORED)
    )


@pytest.mark.parametrize("right, loss", [(True, 0.0), (False, 1.0)])
def test_dice_of_certain_answers(right, loss):
    truth = torch.tensor([[[0, 0, 1, 1]]])
    logits = 100.0 * F.one_hot(truth if right else 1 - truth, 2).movedim(-1, 1).float()
    assert dice(logits, truth, IGNORED).item() == pytest.approx(loss, abs=1e-4)


def test_dice_asks_only_for_classes_that_occur():
    # Every class gets a third of 4 pixels, all of class 0: 1 - 2 * (4/3) / (4/3 + 4) = 0.5.
    truth = torch.zeros(1, 2, 2, dtype=torch.long)
    assert dice(torch.zeros(1, 3, 2, 2), truth, IGNORED).item() == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dims", [2, 3])
def test_ignored_pixels_have_no_say(loss, dims):
    logits, truth = batch(dims)
    truth[:, 1::2] = IGNORED
    logits.requires_grad_()
    value = loss(logits, truth, IGNORED)
    (gradient,) = torch.autograd.grad(value, logits)
    hidden = (truth == IGNORED)[:, None].expand_as(logits)
    assert gradient[hidden].eq(0).all() and gradient[~hidden].ne(0).all()
    other = torch.where(hidden, 7 * torch.randn_like(logits), logits)
    torch.testing.assert_close(loss(other, truth, IGNORED), value)


@pytest.mark.parametrize("loss", LOSSES)
def test_nothing_to_judge_is_a_zero_with_a_gradient(loss):
    logits, truth = batch(2)
    logits.requires_grad_()
    value = loss(logits, torch.full_like(truth, IGNORED), IGNORED)
    value.backward()
    assert value.item() == 0 and logits.grad.eq(0).all()


def test_only_classes_of_weight_zero_is_a_zero_too():
    logits, truth = batch(2)
    assert cross_entropy(logits, truth.clamp(max=1), IGNORED, [0.0, 0.0, 1.0]).item() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_any_ignore_index_and_integer_type(loss):
    logits, truth = batch(2)
    truth[0, 0] = IGNORED
    value = loss(logits, truth.to(torch.uint8), IGNORED)
    torch.testing.assert_close(loss(logits, truth.where(truth != IGNORED, -100), -100), value)


@pytest.mark.parametrize("loss", LOSSES)
def test_float32_under_autocast(loss):
    logits, truth = batch(2)
    logits = logits.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        inside = loss(logits, truth, IGNORED)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, loss(logits.float(), truth, IGNORED))
