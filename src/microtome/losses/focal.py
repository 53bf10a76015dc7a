"""Focal loss (Lin et al., ICCV 2017): classes judged one by one, sure answers hardly count.

K classes, Q queries, N objects.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ALPHA = 0.25  # the weight of what is there; 1 - ALPHA that of what is not
# the exponent, 2, is spelled as a square


def focal_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Of classes [..., K] and labels [...], K for none of them: [...], summed over the classes."""
    logits = logits.float()
    here = F.one_hot(labels, logits.shape[-1] + 1)[..., :-1].bool()
    return torch.where(here, _there(logits), _not_there(logits)).sum(-1)


def focal_cost(logits: Tensor, labels: Tensor) -> Tensor:
    """What it changes to take a query for each object: [Q, K] and [N] -> [Q, N]."""
    logits = logits.float()
    return (_there(logits) - _not_there(logits))[:, labels]


def _there(logits: Tensor) -> Tensor:
    return ALPHA * (1 - logits.sigmoid()).square() * F.softplus(-logits)


def _not_there(logits: Tensor) -> Tensor:
    return (1 - ALPHA) * logits.sigmoid().square() * F.softplus(logits)
