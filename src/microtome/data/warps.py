"""Turning and bending in micrometres: right where slices are further apart than pixels.

They always take image, classes and labels together. The image is interpolated linearly and what is
uncovered continues its border; the truth is that of the nearest pixel, and what is uncovered is
ignored. The spacing stays. D axes, *S the spatial shape.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from itertools import combinations
from math import ceil, cos, radians, sin, sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from ..geometry import Shape, Spacing
from .bridge import KEYS
from .spaced import SpacedTransform

_UNFOLDED = 0.4  # of the distance between control points


class Warp(SpacedTransform):
    """Take every pixel from another place."""

    def __init__(self, prob: float) -> None:
        super().__init__(KEYS, prob)

    def changed(self, data: Mapping[str, Tensor], spacing: Spacing) -> dict[str, Tensor]:
        """Take all arrays from the same places."""
        at = self.places(tuple(data["image"].shape[1:]), spacing)
        return {k: interpolated(v, at) if k == "image" else taken(v, at) for k, v in data.items()}

    @abstractmethod
    def places(self, shape: Shape, spacing: Spacing) -> Tensor:
        """[D, *S] where each pixel is taken from, in pixels, centres being whole numbers."""


class RandTurnd(Warp):
    """Turn by any angle, in the last two axes or, where voxels are cubes, any two.

    Two axes are never turned into each other when one is coarser than the other by more than a
    square root of two, except the last two. So a stack of distant slices is turned in their plane.

    Args:
        prob: how often.
        degrees: the largest angle to either side.
    """

    def __init__(self, prob: float = 1.0, degrees: float = 180.0) -> None:
        super().__init__(prob)
        self.degrees = degrees

    def places(self, shape: Shape, spacing: Spacing) -> Tensor:
        """Turn around the centre, in micrometres."""
        planes = [pair for pair in combinations(range(len(shape)), 2) if _alike(spacing, pair)]
        last = (len(shape) - 2, len(shape) - 1)
        planes = sorted({*planes, last})
        first, second = planes[self.R.randint(len(planes))]
        angle = radians(self.R.uniform(-self.degrees, self.degrees))
        at = grid(shape)
        centre = [(size - 1) / 2 for size in shape]
        u = (at[first] - centre[first]) * spacing[first]
        v = (at[second] - centre[second]) * spacing[second]
        at[first] = centre[first] + (cos(angle) * u - sin(angle) * v) / spacing[first]
        at[second] = centre[second] + (sin(angle) * u + cos(angle) * v) / spacing[second]
        return at


class RandBendd(Warp):
    """Bend smoothly: cubic B-splines between control points that are moved by chance.

    Tissue is never folded, since no point is moved by more than 0.4 of the distance between two
    (Choi and Lee, 2000, Injectivity conditions of 2D and 3D uniform cubic B-spline functions).

    Args:
        prob: how often.
        grid_um: micrometres between control points, along every axis.
        move_um: how far each is moved at most, along every axis.

    Raises ValueError for distances that are not positive, or a move that could fold tissue.
    """

    def __init__(self, prob: float, grid_um: float, move_um: float) -> None:
        super().__init__(prob)
        if not 0 < move_um <= _UNFOLDED * grid_um:
            raise ValueError(
                f"move_um: expected above 0 and at most {_UNFOLDED} of grid_um {grid_um}, "
                f"or tissue is folded; got {move_um}"
            )
        self.grid_um, self.move_um = grid_um, move_um

    def places(self, shape: Shape, spacing: Spacing) -> Tensor:
        """Move the control points in micrometres."""
        weights = [_splines(n, step / self.grid_um) for n, step in zip(shape, spacing, strict=True)]
        counts = [weight.shape[1] for weight in weights]
        drawn = self.R.uniform(-self.move_um, self.move_um, (len(shape), *counts))
        field = torch.from_numpy(drawn).float()
        for weight in weights:  # the axis in front is made long and goes to the end
            field = torch.tensordot(field, weight, dims=([1], [1]))
        return grid(shape) + field / torch.tensor(spacing).view(-1, *[1] * len(shape))


def taken(maps: Tensor, at: Tensor) -> Tensor:
    """Values of maps [C, *S] of any dtype at the nearest pixels, 0 outside."""
    flat = torch.zeros(at.shape[1:], dtype=torch.long)
    inside = torch.ones(at.shape[1:], dtype=torch.bool)
    for place, size in zip(at.round().long(), maps.shape[1:], strict=True):
        inside &= (place >= 0) & (place < size)
        flat = flat * size + place.clamp(0, size - 1)
    return torch.where(inside, maps.flatten(1)[:, flat], 0)


def interpolated(maps: Tensor, at: Tensor) -> Tensor:
    """Values of maps [C, *S] between pixels; outside those of the border."""
    # grid_sample wants x first, and -1…1 from border to border
    ends = [(2 * place + 1) / size - 1 for place, size in zip(at, maps.shape[1:], strict=True)]
    grid = torch.stack(ends[::-1], -1)[None]
    return F.grid_sample(maps[None], grid, padding_mode="border", align_corners=False)[0]


def _alike(spacing: Spacing, pair: tuple[int, int]) -> bool:
    steps = [spacing[axis] for axis in pair]
    return max(steps) <= sqrt(2) * min(steps)


def grid(shape: Shape) -> Tensor:
    """[D, *S] where each pixel lies, in pixels."""
    axes = [torch.arange(size, dtype=torch.float32) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _splines(size: int, step: float) -> Tensor:
    """[size, points] the weight of every control point at pixels that are `step` intervals apart.

    There is one point before the first pixel, and two after the last.
    """
    at = torch.arange(size) * step + 1
    points = torch.arange(ceil((size - 1) * step) + 4)
    far = (at[:, None] - points).abs()
    near = 2 / 3 - far**2 + far**3 / 2
    return torch.where(far < 1, near, (2 - far).clamp(min=0) ** 3 / 6)
