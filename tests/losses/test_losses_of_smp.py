"""Losses of class maps against segmentation_models.pytorch, with ignored pixels.

It divides by the number of all classes, so every class occurs here.
"""

import pytest
import torch
from segmentation_models_pytorch import losses as smp

from microtome.losses import binary_cross_entropy, dice, iou, lovasz, tversky

IGNORED = 255
CASES = {
    "dice": (dice, smp.DiceLoss("multiclass", smooth=1e-5, ignore_index=IGNORED)),
    "tversky": (
        tversky,
        smp.TverskyLoss("multiclass", alpha=0.3, beta=0.7, smooth=1e-5, ignore_index=IGNORED),
    ),
    "lovasz": (lovasz, smp.LovaszLoss("multiclass", ignore_index=IGNORED)),
}


def image(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 9, 8, generator=generator)
    truth = torch.randint(4, (2, 9, 8), generator=generator)
    return logits.requires_grad_(), truth


@pytest.mark.parametrize("ours, theirs", CASES.values(), ids=CASES)
@pytest.mark.parametrize("seed", range(3))
def test_values_and_gradients_are_those_of_smp(ours, theirs, seed):
    logits, truth = image(seed)
    truth[:, 2:5] = IGNORED
    values = ours(logits, truth, IGNORED), theirs(logits, truth)
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(v, logits)[0] for v in values))


def test_iou_is_that_of_smp():
    """Which cannot ignore pixels in this one."""
    logits, truth = image(0)
    theirs = smp.JaccardLoss("multiclass", smooth=1e-5)
    torch.testing.assert_close(iou(logits, truth, IGNORED), theirs(logits, truth))


def test_binary_cross_entropy_is_that_of_smp():
    logits, truth = image(0)
    maps = torch.stack([truth == k for k in range(4)], 1).long()
    maps[:, :, 2:5] = IGNORED
    theirs = smp.SoftBCEWithLogitsLoss(ignore_index=IGNORED, reduction="sum")(logits, maps.float())
    value = binary_cross_entropy(logits, maps, IGNORED) * (maps != IGNORED).sum()
    torch.testing.assert_close(value, theirs)
