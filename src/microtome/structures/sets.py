"""Sets of classes as numbers, for classes that overlap: bit k says whether class k is there.

Everything between a data set and a head then sees ordinary class maps, whose classes are the sets.

K classes, *S any shape.
"""

from __future__ import annotations

import torch
from torch import Tensor


def members(sets: Tensor, count: int, ignore_index: int) -> Tensor:
    """Numbers of sets [...] to what is in them: [..., K] of 0, 1 or, where ignored, `ignore_index`.

    Args:
        sets: integers, 0…2^K - 1 or `ignore_index`.
        count: K.
        ignore_index: the number of what is not judged.
    """
    bits = torch.arange(count, device=sets.device)
    inside = (sets[..., None].long() >> bits) & 1
    return inside.masked_fill((sets == ignore_index)[..., None], ignore_index)


def set_probs(probs: Tensor) -> Tensor:
    """Of classes that do not depend on each other [B, K, *S] to those of their sets [B, 2^K, *S].

    The most probable set holds the classes above one half.
    """
    sets = torch.ones_like(probs[:, :1])
    for k in range(probs.shape[1]):
        here = probs[:, k : k + 1]
        sets = torch.cat([sets * (1 - here), sets * here], 1)
    return sets
