"""Axes exchanged, and what lenses do: geometry that needs no micrometres."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor

from ..geometry import Shape, Spacing
from .bridge import KEYS
from .warps import Warp, grid


class RandTransposed(RandomizableTransform, MapTransform):  # type: ignore[misc]
    """Exchange the last two axes of image, classes and labels; the spacing follows.

    Args:
        prob: how often.
    """

    def __init__(self, prob: float = 0.5) -> None:
        RandomizableTransform.__init__(self, prob)
        MapTransform.__init__(self, KEYS, allow_missing_keys=True)

    def __call__(self, data: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the dictionary with the exchanged arrays."""
        self.randomize(None)
        if not self._do_transform:
            return dict(data)
        return dict(data) | {key: _exchanged(data[key]) for key in self.key_iterator(data)}


class RandLensd(Warp):
    """Bend straight lines as lenses do: radii grow by 1 + k r², r being 1 in the corners.

    The first radial term of Brown's model (1966), around the centre.

    Args:
        prob: how often.
        limit: the largest k to either side, below 1.

    Raises ValueError for limits outside 0…1.
    """

    needs_spacing = False

    def __init__(self, prob: float = 0.5, limit: float = 0.3) -> None:
        super().__init__(prob)
        if not 0 < limit < 1:
            raise ValueError(f"limit: expected a number above 0 and below 1, got {limit}")
        self.limit = limit

    def places(self, shape: Shape, spacing: Spacing) -> Tensor:
        """Take each pixel from nearer to the centre, or from further out."""
        strength = self.R.uniform(-self.limit, self.limit)
        half = torch.tensor([max(n - 1, 1) / 2 for n in shape]).view(-1, *[1] * len(shape))
        at = grid(shape) / half - 1  # -1…1 from the first to the last pixel
        squares = at.square().mean(0)  # of radii, 1 in the corners
        moved: Tensor = (at * (1 + strength * squares) + 1) * half
        return moved


def _exchanged(values: MetaTensor) -> MetaTensor:
    affine = values.affine.clone()
    order = [*range(len(affine) - 3), len(affine) - 2, len(affine) - 3, len(affine) - 1]
    return MetaTensor(values.as_tensor().transpose(-1, -2), affine=affine[order][:, order])
