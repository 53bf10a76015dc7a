"""How far the surfaces of classes lie apart, in µm: HD95 and surface Dice of one image.

K classes, *S the spatial shape. The surface of a class are its pixels with a neighbour, across a
face, that is not of it or outside the image; distances are those of pixel centres.

HD95: Huttenlocher et al., 1993, with the 95th percentile for the maximum; surface Dice: Nikolov et
al., 2018, each pixel of a surface counted once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import binary_erosion, find_objects
from scipy.spatial import KDTree
from torch import Tensor

from ..geometry import Spacing

Mask = npt.NDArray[np.bool_]
Distances = npt.NDArray[np.float64]
PERCENT = 95
ROUNDING = 1e-6  # five pixels of 0.3 µm are 1.5 µm, wherever they lie


class SurfaceScores(NamedTuple):
    """Numbers of each class; nan for a class in neither truth nor result.

    Attributes:
        hd95: [K] float64, µm: the 95th percentile of distances, from the side where it is larger.
        dice: [K] float64, the share of both surfaces that is as near the other as allowed.
    """

    hd95: Tensor
    dice: Tensor


def surface_scores(
    result: Tensor,
    truth: Tensor,
    count: int,
    spacing: Spacing,
    tolerance: float,
    ignored: int = 255,
) -> SurfaceScores:
    """Compare class maps [*S] by the surfaces of their classes.

    Args:
        result: integers in 0…K-1.
        truth: integers in 0…K-1, or `ignored`, where the result is taken to be right.
        count: K.
        spacing: µm per pixel and axis.
        tolerance: µm that a surface may be off, for the surface Dice.
        ignored: the value of true pixels that are not judged.

    A class that only one of them has gets a surface Dice of 0 and, for HD95, the image's diagonal.
    Raises ValueError for maps of different shapes, a spacing of other axes or a negative tolerance.
    """
    if result.shape != truth.shape or result.ndim != len(spacing) or tolerance < 0:
        raise ValueError(
            f"expected maps of one shape, a spacing per axis and a tolerance of at least 0, got "
            f"{tuple(result.shape)}, {tuple(truth.shape)}, {tuple(spacing)} and {tolerance}"
        )
    found, true = result.cpu().numpy(), truth.cpu().numpy()
    true = np.where(true == ignored, found, true)
    diagonal = float(np.linalg.norm(np.multiply(found.shape, spacing)))
    rows = [
        _scored(found == index, true == index, spacing, tolerance, diagonal)
        for index in range(count)
    ]
    return SurfaceScores(*torch.tensor(rows, dtype=torch.float64).T)


def _scored(
    found: Mask, true: Mask, spacing: Spacing, tolerance: float, diagonal: float
) -> tuple[float, float]:
    if not (found.any() or true.any()):
        return np.nan, np.nan
    if not (found.any() and true.any()):
        return diagonal, 0.0
    box = find_objects((found | true).astype(np.uint8))[0]
    ours, theirs = (_surface(mask[box], spacing) for mask in (found, true))
    apart = [KDTree(theirs).query(ours)[0], KDTree(ours).query(theirs)[0]]
    hd95 = max(float(np.percentile(side, PERCENT)) for side in apart)
    return hd95, float(np.mean(np.concatenate(apart) <= tolerance * (1 + ROUNDING)))


def _surface(mask: Mask, spacing: Sequence[float]) -> Distances:
    """Positions [N, D] in µm of the pixels of the surface."""
    edge: Mask = mask & ~binary_erosion(mask)
    return np.argwhere(edge).astype(np.float64) * np.array(spacing, np.float64)
