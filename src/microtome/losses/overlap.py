"""Losses of dense class maps that measure how far prediction and truth overlap.

B batch, K classes, *S spatial shape. Of each class sums run over the whole batch, so that a class
which is rare in one image does not jump between 0 and 1. The mean is over the classes that occur in
the truth: of a class that does not occur the overlap says nothing useful, and its false positives
already cost the others.

All are computed in float32 whatever autocast says, do not see ignored pixels at all, and are zero
with a gradient (of zero) when every pixel is ignored. Their arguments are the same: logits
[B, K, *S]; classes [B, *S] integers, 0…K - 1 or `ignore_index`, and for all but Lovász also
[B, K, *S] integers 0, 1 or `ignore_index` of classes that overlap, by sigmoids; most have `smooth`,
which is added to numerator and denominator.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SMOOTH = 1e-5


class _Masses(NamedTuple):
    """Sums of each class, [K]: of P·T, of P and of T."""

    shared: Tensor
    predicted: Tensor
    true: Tensor


def dice(logits: Tensor, classes: Tensor, ignore_index: int, *, smooth: float = SMOOTH) -> Tensor:
    """Soft multi-class Dice loss, 1 - 2|P∩T| / (|P| + |T|) (Milletari et al., 2016)."""
    shared, predicted, true = masses = _masses(logits, classes, ignore_index)
    return _mean(2 * shared + smooth, predicted + true + smooth, masses)


def iou(logits: Tensor, classes: Tensor, ignore_index: int, *, smooth: float = SMOOTH) -> Tensor:
    """Soft intersection over union, 1 - |P∩T| / |P∪T| (Rahman & Wang, 2016)."""
    shared, predicted, true = masses = _masses(logits, classes, ignore_index)
    return _mean(shared + smooth, predicted + true - shared + smooth, masses)


def tversky(
    logits: Tensor,
    classes: Tensor,
    ignore_index: int,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = SMOOTH,
) -> Tensor:
    """As Dice, but false positives count `alpha` and false negatives `beta` (Salehi et al., 2017).

    Both 0.5 is Dice, both 1 is intersection over union; a larger `beta` finds more of small things.
    """
    shared, predicted, true = masses = _masses(logits, classes, ignore_index)
    wrong = alpha * (predicted - shared) + beta * (true - shared)
    return _mean(shared + smooth, shared + wrong + smooth, masses)


def lovasz(logits: Tensor, classes: Tensor, ignore_index: int) -> Tensor:
    """The Lovász-softmax loss (Berman et al., CVPR 2018): 1 - |P∩T| / |P∪T| made convex.

    It sorts the pixels of the batch once for each class.
    """
    probs = logits.float().softmax(1).movedim(1, 0).flatten(1)  # [K, N]
    classes = classes.flatten()
    valid = classes != ignore_index
    losses = torch.stack([_extension(p, classes == k, valid) for k, p in enumerate(probs)])
    present = torch.stack([(classes == k).any() for k in range(len(probs))])
    return (losses * present).sum() / present.sum().clamp(min=1)


def _masses(logits: Tensor, classes: Tensor, ignore_index: int) -> _Masses:
    if classes.ndim == logits.ndim:  # [B, K, *S]: classes that overlap
        truth, probs = classes == 1, logits.float().sigmoid() * (classes != ignore_index)
    else:
        kinds = torch.arange(logits.shape[1], device=logits.device)
        truth = classes[:, None] == kinds.view(-1, *[1] * (classes.ndim - 1))  # [B, K, *S]
        probs = logits.float().softmax(1) * (classes != ignore_index)[:, None]
    axes = [0, *range(2, logits.ndim)]
    return _Masses((probs * truth).sum(axes), probs.sum(axes), truth.sum(axes).float())


def _mean(shared: Tensor, whole: Tensor, masses: _Masses) -> Tensor:
    """The mean of 1 - shared / whole over classes that occur; the others' may be 0 / 0."""
    present = masses.true > 0
    losses = 1 - shared / whole.clamp(min=torch.finfo().tiny)
    return (losses * present).sum() / present.sum().clamp(min=1)


def _extension(probs: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Of one class: errors from the largest on, times the growth of the loss with each of them."""
    errors = (truth.float() - probs).abs().masked_fill(~valid, -1.0)  # ignored pixels come last
    errors, order = errors.sort(descending=True)
    truth, valid = truth[order], valid[order]
    missed = truth.cumsum(0)
    union = truth.sum() + (valid & ~truth).cumsum(0)
    jaccard = 1 - (missed[-1] - missed) / union.clamp(min=1)
    growth = torch.cat([jaccard[:1], jaccard.diff()])
    return (errors * growth).where(valid, 0.0).sum()
