"""Losses on dense class maps.

B batch, K classes, *S spatial shape. Both are computed in float32 whatever autocast says, do not
see ignored pixels at all, and are finite with a gradient (of zero) when every pixel is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(
    logits: Tensor,
    classes: Tensor,
    ignore_index: int,
    class_weights: Sequence[float] | Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy over the pixels that are not ignored.

    Args:
        logits: [B, K, *S].
        classes: [B, *S] integers, 0…K - 1 or `ignore_index`.
        ignore_index: the class of pixels that are not judged.
        class_weights: K factors; the mean is then weighted, as in PyTorch.
    """
    logits, classes = logits.float(), classes.long()
    weights = None if class_weights is None else torch.as_tensor(class_weights).to(logits)
    total = F.cross_entropy(
        logits, classes, weight=weights, ignore_index=ignore_index, reduction="sum"
    )
    valid = classes != ignore_index
    if weights is None:
        return total / valid.sum().clamp(min=1)
    mass = weights[classes.where(valid, 0)].mul(valid).sum()
    return total / mass.where(mass > 0, 1.0)


def dice(logits: Tensor, classes: Tensor, ignore_index: int, smooth: float = 1e-5) -> Tensor:
    """Soft multi-class Dice loss, 1 - 2|P∩T| / (|P| + |T|) (Milletari et al., 2016).

    Sums run over the whole batch, so that a class which is rare in one image does not jump between
    0 and 1. The mean is over the classes that occur in the truth: of a class that does not occur
    Dice says nothing useful, and its false positives already cost the others.

    Args:
        logits: [B, K, *S].
        classes: [B, *S] integers, 0…K - 1 or `ignore_index`.
        ignore_index: the class of pixels that are not judged.
        smooth: added to numerator and denominator.
    """
    kinds = torch.arange(logits.shape[1], device=logits.device)
    truth = classes[:, None] == kinds.view(-1, *[1] * (classes.ndim - 1))  # [B, K, *S]
    valid = (classes != ignore_index)[:, None]
    probs = logits.float().softmax(1) * valid
    axes = [0, *range(2, logits.ndim)]
    counts = truth.sum(axes).float()
    shared = (probs * truth).sum(axes)
    loss = 1 - (2 * shared + smooth) / (probs.sum(axes) + counts + smooth)
    present = counts > 0
    return (loss * present).sum() / present.sum().clamp(min=1)
