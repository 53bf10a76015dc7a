"""What lies where in a section: slide glass, fibrous stroma, glands with a lumen, nuclei.

Lengths are in pixels of 0.8 µm, about those of a 10x objective. Colour alone does not tell the
classes apart: glass and lumen are equally empty, stroma and the glands' cytoplasm take up the same
dyes; where a pixel lies and what is around it does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ...structures import Classes
from .fields import Floats, neighbourhood, smooth_noise

ClassMap = npt.NDArray[np.uint8]
IdMap = npt.NDArray[np.int32]
GLASS, STROMA, GLAND, LUMEN, NUCLEUS = range(5)
CLASSES = Classes(
    ("background", "stroma", "gland", "lumen", "nuclei"),
    (False, False, False, False, True),
    ((40, 40, 40), (235, 130, 175), (245, 175, 40), (70, 190, 245), (75, 55, 190)),
)

SPACING = (0.8, 0.8)


class Anatomy(NamedTuple):
    """What lies where, before staining.

    Attributes:
        classes: [*S] uint8.
        ids: [*S] int32, the nuclei.
        depth: [*S] how far inside its gland a pixel lies: 0 at the outer wall, 1 at the lumen.
        fibres: [*S] a potential; collagen runs along its level lines.
    """

    classes: ClassMap
    ids: IdMap
    depth: Floats
    fibres: Floats


class _Gland(NamedTuple):
    centre: tuple[float, float]
    radius: float
    stretch: float
    turn: float
    wobble: Floats  # [5, 2] amplitude and phase of the wall's waves 2…6
    wall: float  # thickness of the epithelium

    def edge(self, angle: Floats | float) -> Floats:
        """Distance from the centre to the outer wall in a direction."""
        along = angle - self.turn
        ellipse = self.radius / np.hypot(np.cos(along) / self.stretch, np.sin(along) * self.stretch)
        waves = sum(a * np.cos(k * along + p) for k, (a, p) in enumerate(self.wobble, start=2))
        return np.asarray(ellipse * (1 + waves), np.float32)


def draw_anatomy(rng: np.random.Generator, size: int) -> Anatomy:
    """Place glass, then glands, then the fibres around them, then the nuclei."""
    classes = np.where(_glass(rng, size), GLASS, STROMA).astype(np.uint8)
    depth = np.zeros((size, size), np.float32)
    glands = _place_glands(rng, classes, depth)
    fibres = _fibre_potential(rng, classes)
    ids = np.zeros((size, size), np.int32)
    for gland in glands:
        _line_with_nuclei(rng, gland, classes, ids)
    _scatter_nuclei(rng, fibres, classes, ids)
    classes[ids > 0] = NUCLEUS
    return Anatomy(classes, ids, depth, fibres)


def _glass(rng: np.random.Generator, size: int) -> npt.NDArray[np.bool_]:
    """True outside the section and in its tears."""
    shape = (size, size)
    angle, outside = rng.uniform(0, 2 * np.pi), rng.uniform(-0.1, 0.3)
    y, x = np.meshgrid(*[np.linspace(-1, 1, size)] * 2, indexing="ij")
    edge = np.cos(angle) * y + np.sin(angle) * x + 0.25 * smooth_noise(rng, shape, (60, 60))
    edge = edge + 0.03 * smooth_noise(rng, shape, (8, 8))
    outside_section = edge > 1 - 2 * outside
    ridge = np.abs(smooth_noise(rng, shape, (70, 70)) + 0.1 * smooth_noise(rng, shape, (14, 14)))
    torn = ridge < 0.22 * (smooth_noise(rng, shape, (50, 50)) - rng.uniform(-0.6, 0.8))
    return np.asarray(outside_section | torn)


def _place_glands(rng: np.random.Generator, classes: ClassMap, depth: Floats) -> list[_Gland]:
    """Throw glands and keep those that lie in tissue and touch no other."""
    size = len(classes)
    glands: list[_Gland] = []
    for _ in range(round(60 * (size / 256) ** 2)):
        centre = rng.uniform(-20, size + 20, 2)
        wobble = np.stack([rng.normal(0, 0.03, 5), rng.uniform(0, 2 * np.pi, 5)], 1)
        radius = rng.uniform(24, 52)
        gland = _Gland(
            (centre[0], centre[1]), radius, rng.uniform(1, 1.3), rng.uniform(0, np.pi),
            wobble.astype(np.float32), min(rng.uniform(14, 25), 0.8 * radius),
        )  # fmt: skip
        if _paint_gland(gland, classes, depth):
            glands.append(gland)
    return glands


def _paint_gland(gland: _Gland, classes: ClassMap, depth: Floats) -> bool:
    """Paint a gland unless it is mostly on glass or meets another one; say whether it was."""
    region, (dy, dx) = neighbourhood(gland.centre, (1.6 * gland.radius,) * 2, classes.shape)
    distance, edge = np.hypot(dy, dx), gland.edge(np.arctan2(dy, dx))
    inside, here = distance < edge, classes[region]
    if not inside.any() or (here[distance < edge + 4] >= GLAND).any():
        return False
    if (here[inside] == GLASS).mean() > 0.3:
        return False
    inward = (edge - distance) / gland.wall
    here[inside] = np.where(inward[inside] > 1, LUMEN, GLAND)
    depth[region][inside] = inward[inside].clip(0, 1)
    return True


def _fibre_potential(rng: np.random.Generator, classes: ClassMap) -> Floats:
    """A tilted, rippled plane that bends around glands and tears."""
    shape = classes.shape
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.ogrid[: shape[0], : shape[1]]
    plane = np.cos(angle) * y + np.sin(angle) * x
    away = ndimage.distance_transform_edt(classes == STROMA)
    ripple = 16 * smooth_noise(rng, shape, (60, 60)) + 1.5 * smooth_noise(rng, shape, (12, 12))
    return np.asarray(plane + ripple - 40 * np.exp(-away / 14), np.float32)


def _line_with_nuclei(
    rng: np.random.Generator,
    gland: _Gland,
    classes: ClassMap,
    ids: IdMap,
) -> None:
    """Stand nuclei side by side along the outer wall, their long axis pointing inward."""
    angle, end = 0.0, 2 * np.pi - 5 / gland.radius
    while angle < end:
        edge = float(gland.edge(angle))
        radius = edge - rng.uniform(5.5, 8) - rng.exponential(1.5)
        at = (gland.centre[0] + radius * np.sin(angle), gland.centre[1] + radius * np.cos(angle))
        axes = (rng.uniform(4.2, 5.8), rng.uniform(2.8, 3.7))
        _paint_nucleus(at, axes, angle + rng.normal(0, 0.2), classes, ids, GLAND)
        angle += rng.uniform(7, 9.5) / radius


def _scatter_nuclei(
    rng: np.random.Generator,
    fibres: Floats,
    classes: ClassMap,
    ids: IdMap,
) -> None:
    """Strew round (lymphocytes) and long nuclei (fibroblasts, along the fibres) over the stroma."""
    crowd = smooth_noise(rng, classes.shape, (50, 50)) + rng.uniform(-0.8, 0.8)
    slope = np.gradient(fibres)
    for at in rng.uniform(0, len(classes), (round(len(classes) ** 2 / 120), 2)):
        y, x = int(at[0]), int(at[1])
        if classes[y, x] != STROMA or rng.random() > 0.35 + 0.35 * crowd[y, x]:
            continue
        along = float(np.arctan2(-slope[1][y, x], slope[0][y, x]))
        long = rng.random() < 0.45
        axes = (
            (rng.uniform(5, 8), rng.uniform(1.8, 2.6))
            if long
            else rng.uniform(2.9, 4.2, 2).tolist()
        )
        _paint_nucleus((at[0], at[1]), axes, along, classes, ids, STROMA)


def _paint_nucleus(
    at: tuple[float, float],
    axes: Sequence[float],
    angle: float,
    classes: ClassMap,
    ids: IdMap,
    where: int,
) -> None:
    """Paint an ellipse into `ids` where the tissue is `where`, unless it covers another nucleus."""
    region, (dy, dx) = neighbourhood(at, (max(axes) + 1,) * 2, ids.shape)
    sin, cos = np.sin(angle), np.cos(angle)
    along, across = (dx * cos + dy * sin) / axes[0], (dy * cos - dx * sin) / axes[1]
    inside = along**2 + across**2 < 1
    free = inside & (ids[region] == 0) & (classes[region] == where)
    if free.sum() > max(12, 0.7 * inside.sum()):
        ids[region][free] = ids.max() + 1
