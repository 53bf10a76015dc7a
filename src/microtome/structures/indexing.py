"""One meaning of an index for everything that holds N objects."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Index = int | slice | Sequence[int] | Tensor


def positions(index: Index, count: int, device: torch.device) -> Tensor:
    """[M] int64, which of `count` objects an index means.

    An integer, from the end when negative, means one object, so that what is chosen is always a
    set; a bool tensor [count] means those that are True.

    Raises IndexError for objects that are not there, and for a mask of another length.
    """
    if isinstance(index, slice):
        return torch.arange(count, device=device)[index]
    at = torch.as_tensor(index, device=device)
    if at.dtype == torch.bool:
        if at.shape != (count,):
            raise IndexError(f"expected a mask of {count} objects, got {list(at.shape)}")
        return at.nonzero().flatten()
    at = at.reshape(-1).long()
    if len(at) and not -count <= int(at.min()) <= int(at.max()) < count:
        raise IndexError(f"there are {count} objects, got {at.tolist()}")
    return at % count if count else at
