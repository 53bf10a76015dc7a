"""Procedural volumes of stained nuclei, as a fluorescence microscope would show them.

Nuclei are ellipsoids in micrometres, so that they are flat in the voxels of a coarse axis. They
touch, differ in brightness, and lie in haze; light spreads further along the first axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...structures import Classes
from .fields import Drawing, Floats, neighbourhood, smooth_noise

CLASSES = Classes(("background", "nucleus"), (False, True), ((40, 40, 40), (70, 200, 120)))
BLACK = 110  # what the camera reads in the dark
LATERAL_BLUR, AXIAL_BLUR = 0.35, 1.1  # standard deviation of the point spread, µm


class _Nucleus(NamedTuple):
    centre: Floats  # [D] µm
    radii: Floats  # [D] µm
    turn: npt.NDArray[np.float64]  # [D, D] rotation


def draw_nuclei(
    rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float]
) -> Drawing:
    """Draw one volume [1, *shape] uint16 of the given spacing in µm."""
    ids = np.zeros(shape, np.int32)
    nearest = np.ones(shape, np.float32)  # squared distance from the nucleus that owns the voxel
    for nucleus in _place(rng, shape, spacing):
        _paint(nucleus, spacing, nearest, ids)
    strength = rng.uniform(0.35, 1, int(ids.max()) + 1)
    strength[0] = 0
    clumps = smooth_noise(rng, shape, [max(1.2 / s, 1) for s in spacing])
    stain = (strength[ids] * (1 + 0.2 * clumps)).clip(0)
    image = _observe(rng, np.asarray(stain, np.float32), spacing)
    return Drawing(image[None], (ids > 0).astype(np.uint8), ids)


def _place(
    rng: np.random.Generator, shape: Sequence[int], spacing: Sequence[float]
) -> list[_Nucleus]:
    """Throw nuclei; keep those whose centres are far enough from the others', which may touch."""
    extent = np.multiply(shape, spacing)
    dims, throws = len(extent), int(np.prod(extent / 6.5))
    centres = rng.uniform(-2, extent + 2, (throws, dims))
    radii = rng.uniform(2.8, 5.2, (throws, dims))
    reach = radii.mean(1)
    kept: list[int] = []
    for i in range(throws):
        gaps = np.linalg.norm(centres[kept] - centres[i], axis=1) - 0.85 * (reach[kept] + reach[i])
        if (gaps >= 0).all():
            kept.append(i)
    turns = np.linalg.qr(rng.standard_normal((throws, dims, dims)))[0]
    return [_Nucleus(centres[i], radii[i], turns[i]) for i in kept]


def _paint(
    nucleus: _Nucleus, spacing: Sequence[float], nearest: Floats, ids: npt.NDArray[np.int32]
) -> None:
    """Give a nucleus the voxels inside it that are not nearer to another one."""
    middle = nucleus.centre / spacing
    region, offsets = neighbourhood(middle, nucleus.radii.max() / np.asarray(spacing), ids.shape)
    away = np.stack(np.broadcast_arrays(*[o * s for o, s in zip(offsets, spacing, strict=True)]))
    across = np.tensordot(nucleus.turn / nucleus.radii[:, None], away, 1)
    distance = (across**2).sum(0)
    mine = distance < nearest[region]
    if mine.any():
        nearest[region][mine] = distance[mine]
        ids[region][mine] = ids.max() + 1


def _observe(
    rng: np.random.Generator, stain: Floats, spacing: Sequence[float]
) -> npt.NDArray[np.uint16]:
    """Blur, haze, fading with depth, photon noise and the camera's own."""
    blur_um = [AXIAL_BLUR] + [LATERAL_BLUR] * (stain.ndim - 1)
    sharp = ndimage.gaussian_filter(stain, np.divide(blur_um, spacing))
    out_of_focus = ndimage.gaussian_filter(stain, np.divide(6.0, spacing))
    uneven = smooth_noise(rng, stain.shape, np.divide(25.0, spacing))
    haze = rng.uniform(0.1, 0.35) * (1 + 0.6 * uneven).clip(0.1) + 0.9 * out_of_focus
    depth = np.arange(stain.shape[0]) * spacing[0]
    fading = np.exp(-depth / rng.uniform(30, 90)).reshape(-1, *[1] * (stain.ndim - 1))
    photons = rng.poisson(rng.uniform(25, 60) * (sharp + haze) * fading)
    counts = BLACK + 18 * photons + rng.normal(0, 12, stain.shape)
    return np.asarray(counts.round().clip(0, 65535), np.uint16)
