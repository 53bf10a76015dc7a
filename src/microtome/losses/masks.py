"""Losses of mask classification, on masks that are known at points (Cheng et al., CVPR 2022).

R matched masks, P points, Q queries, K classes. All are computed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class PointSampling(NamedTuple):
    """How many points a mask is judged at, and where (Kirillov et al., 2020, PointRend).

    Attributes:
        num_points: P; images with fewer judged pixels have as many points as pixels.
        oversample: candidates per point from which uncertain ones are chosen.
        importance: the part of the points, 0…1, that is chosen as the most uncertain of the
            candidates; the others are uniform.
    """

    num_points: int = 12544
    oversample: float = 3.0
    importance: float = 0.75

    def counts(self, pixels: int) -> tuple[int, int, int]:
        """P, how many of them are chosen, and the number of candidates, for so many pixels."""
        points = min(self.num_points, pixels)
        chosen = int(self.importance * points)
        return points, chosen, int(self.oversample * points) if chosen else 0


def draw_points(valid_mask: Tensor, count: int) -> Tensor:
    """Draw points uniformly from the area of the valid pixels.

    Args:
        valid_mask: [*S] bool; at least one is True unless `count` is 0.
        count: how many.

    Returns:
        [count, D] in 0…1, array order, so that all of them lie on valid pixels.
    """
    device, shape = valid_mask.device, valid_mask.shape
    pixels = valid_mask.flatten().nonzero().flatten()
    drawn = pixels[torch.randint(max(1, len(pixels)), (count,), device=device)]
    corner = torch.stack(torch.unravel_index(drawn, shape), -1)
    inside = torch.rand(count, len(shape), device=device)
    return (corner + inside) / torch.tensor(shape, device=device)


def choose_uncertain(logits: Tensor, chosen: int, candidates: int) -> Tensor:
    """Choose the points at which each mask is judged.

    Args:
        logits: [R, candidates + others] mask logits, float32.
        chosen: how many of the candidates, those with the logit nearest to zero, are taken.
        candidates: how many columns are candidates; the others are all taken.

    Returns:
        [R, chosen + others] int32 indices of columns.
    """
    # the bits of positive floats are in the order of their values, and integers sort faster
    distance = logits[:, :candidates].abs().view(torch.int32)
    uncertain = distance.topk(chosen, dim=1, largest=False, sorted=False).indices.int()
    others = torch.arange(
        candidates, logits.shape[1], dtype=torch.int32, device=logits.device
    ).expand(len(logits), -1)
    return torch.cat([uncertain, others], 1)


def mask_losses(logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross-entropy and Dice loss of each mask.

    Args:
        logits: [R, P].
        truth: [R, P] bool.

    Returns:
        Two [R]: the mean cross-entropy over the points, and 1 - (2|P∩T| + 1) / (|P| + |T| + 1).
    """
    entropy, dice = _MaskLosses.apply(logits.float(), truth)
    return entropy, dice


class _MaskLosses(torch.autograd.Function):
    """Keeps logits and truth only; PyTorch's would keep five tensors of their size."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(logits, truth)
        target = truth.to(logits.dtype)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
        shared, total = _overlap(logits.sigmoid(), target)
        return entropy, 1 - (2 * shared + 1) / (total + 1)

    @staticmethod
    def backward(ctx: Any, by_entropy: Tensor, by_dice: Tensor) -> tuple[Tensor, None]:
        logits, truth = ctx.saved_tensors
        probs, target = logits.sigmoid(), truth.to(logits.dtype)
        shared, total = _overlap(probs, target)
        by_overlap = by_dice / (total + 1)  # of 2 x shared; times the Dice coefficient, of total
        by_total = by_overlap * (2 * shared + 1) / (total + 1)
        by_probs = by_total[:, None] - 2 * by_overlap[:, None] * target
        by_mean = by_entropy[:, None] / max(1, logits.shape[1])
        return by_mean * (probs - target) + by_probs * probs * (1 - probs), None


def _overlap(probs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """[R] |P∩T| and |P| + |T|."""
    return (probs * target).sum(1), probs.sum(1) + target.sum(1)


def class_loss(
    class_logits: Tensor, labels: Tensor, judged: Sequence[bool], no_object: float
) -> Tensor:
    """Weighted mean cross-entropy over the queries of the judged images.

    Args:
        class_logits: [B, Q, K + 1]; the last is "no object".
        labels: [B, Q] class of each query's object, K for none.
        judged: for each of the B images, whether anything is known about it.
        no_object: the weight of queries without an object.
    """
    kinds = class_logits.shape[-1]
    weights = torch.ones(kinds, device=class_logits.device)
    weights[-1] = no_object
    counted = weights[labels] * torch.tensor(judged, device=labels.device)[:, None]
    losses = F.cross_entropy(class_logits.float().flatten(0, 1), labels.flatten(), reduction="none")
    return (losses * counted.flatten()).sum() / counted.sum().clamp(min=torch.finfo().tiny)
