"""Losses of dense class maps that judge pixel by pixel.

B batch, K classes, *S spatial shape. All are computed in float32 whatever autocast says, do not
see ignored pixels at all, and are zero with a gradient (of zero) when every pixel is ignored.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

NEARLY_SURE = 1e-6  # below it 1 - p has no gradient: a root of it would have an endless one


def cross_entropy(
    logits: Tensor,
    classes: Tensor,
    ignore_index: int,
    class_weights: Sequence[float] | Tensor | None = None,
    *,
    smoothing: float = 0.0,
) -> Tensor:
    """Mean cross-entropy over the pixels that are not ignored.

    Args:
        logits: [B, K, *S].
        classes: [B, *S] integers, 0…K - 1 or `ignore_index`.
        ignore_index: the class of pixels that are not judged.
        class_weights: K factors; the mean is then weighted, as in PyTorch.
        smoothing: 0…1, the part of the truth that is spread over all classes (Szegedy et al.,
            2016).
    """
    logits, classes = logits.float(), classes.long()
    weights = None if class_weights is None else torch.as_tensor(class_weights).to(logits)
    total = F.cross_entropy(
        logits,
        classes,
        weight=weights,
        ignore_index=ignore_index,
        reduction="sum",
        label_smoothing=smoothing,
    )
    return total / _mass(classes, classes != ignore_index, weights)


def focal_cross_entropy(
    logits: Tensor,
    classes: Tensor,
    ignore_index: int,
    class_weights: Sequence[float] | Tensor | None = None,
    *,
    gamma: float = 2.0,
) -> Tensor:
    """Cross-entropy of a softmax, each pixel times (1 - p)^gamma (Lin et al., ICCV 2017).

    p is the probability of the true class: what is already sure hardly counts.

    Args:
        logits: [B, K, *S].
        classes: [B, *S] integers, 0…K - 1 or `ignore_index`.
        ignore_index: the class of pixels that are not judged.
        class_weights: K factors; the mean is then weighted, as in `cross_entropy`.
        gamma: 0 or more; 0 is the cross-entropy itself.
    """
    classes, valid = classes.long(), classes != ignore_index
    entropy = _entropies(logits, classes, ignore_index)
    losses = (-torch.expm1(-entropy)).clamp(min=NEARLY_SURE).pow(gamma) * entropy
    weights = None if class_weights is None else torch.as_tensor(class_weights).to(losses)
    if weights is not None:
        losses = losses * weights[classes.where(valid, 0)]
    return losses.sum() / _mass(classes, valid, weights)


def ohem(
    logits: Tensor,
    classes: Tensor,
    ignore_index: int,
    *,
    fraction: float = 0.7,
    least: float = 100_000,
) -> Tensor:
    """Mean cross-entropy of the batch's hardest pixels (Shrivastava et al., CVPR 2016).

    Args:
        logits: [B, K, *S].
        classes: [B, *S] integers, 0…K - 1 or `ignore_index`.
        ignore_index: the class of pixels that are not judged.
        fraction: 0…1, how many of the pixels that are not ignored are kept.
        least: so many are kept at least, where there are as many; one in any case.
    """
    classes, valid = classes.long(), classes != ignore_index
    losses = _entropies(logits, classes, ignore_index).masked_fill(~valid, -1.0)
    hardest = losses.flatten().sort(descending=True).values  # ignored pixels come last
    count = valid.sum()
    kept = (count * fraction).long().clamp(min=max(1, int(least))).minimum(count)
    ranks = torch.arange(len(hardest), device=hardest.device)
    return hardest.where(ranks < kept, 0.0).sum() / kept.clamp(min=1)


def binary_cross_entropy(logits: Tensor, truth: Tensor, ignore_index: int) -> Tensor:
    """Mean binary cross-entropy of sigmoids, one for each class.

    Args:
        logits: [B, K, *S].
        truth: [B, *S] integers, 0…K - 1 or `ignore_index`, each class against all others; or, of
            classes that may overlap, [B, K, *S] integers 0, 1 or `ignore_index`.
        ignore_index: the value of what is not judged, a pixel or a class at a pixel.
    """
    valid = truth != ignore_index
    if truth.ndim < logits.ndim:
        kinds = torch.arange(logits.shape[1], device=logits.device)
        truth = truth[:, None] == kinds.view(-1, *[1] * (logits.ndim - 2))
        valid = valid[:, None].expand_as(truth)
    target = truth.where(valid, 0).float()
    losses = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    return losses.where(valid, 0.0).sum() / valid.sum().clamp(min=1)


def _entropies(logits: Tensor, classes: Tensor, ignore_index: int) -> Tensor:
    """The cross-entropy of each pixel [B, *S], zero where it is ignored."""
    return F.cross_entropy(logits.float(), classes, ignore_index=ignore_index, reduction="none")


def _mass(classes: Tensor, valid: Tensor, weights: Tensor | None) -> Tensor:
    """What a mean over pixels divides by; never zero."""
    if weights is None:
        return valid.sum().clamp(min=1)
    mass = weights[classes.where(valid, 0)].mul(valid).sum()
    return mass.where(mass > 0, 1.0)
