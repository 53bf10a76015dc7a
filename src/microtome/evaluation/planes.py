"""What can be shown of an image with any number of axes: planes through its middle, in colour.

C channels, *S the spatial shape, `h, w` the size of a plane on the screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ..geometry import Shape, Spacing
from ..structures import Classes

Pixels = npt.NDArray[np.uint8]  # [h, w, 3]

FILL = 0.4  # opacity of a class over the image
HATCH = 4  # pixels, of the stripes over ignored pixels
GREYS = (110, 190)
AXES = ("t", "z", "y", "x")


class Plane(NamedTuple):
    """A cut through the middle of an image.

    Attributes:
        pick: takes it out of [*S]; a slice for the two axes shown, a number for the others.
        size: height and width in the unit of the spacing (pixels where it is unknown).
        name: the axes it is cut at and where, such as `z = 8`; empty for a whole 2D image.
    """

    pick: tuple[slice | int, ...]
    size: tuple[float, float]
    name: str


def planes(shape: Shape, spacing: Spacing | None = None) -> list[Plane]:
    """Every pair of axes as a plane: one for 2D; cuts at z, y and x for 3D.

    Raises ValueError for fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"a picture needs at least two axes, got the shape {shape}")
    step = spacing or (1.0,) * len(shape)
    names = AXES[-len(shape) :]
    found = []
    for shown in reversed(list(combinations(range(len(shape)), 2))):
        pick = tuple(slice(None) if a in shown else s // 2 for a, s in enumerate(shape))
        size = tuple(shape[a] * step[a] for a in shown)
        cut = [f"{names[a]} = {i}" for a, i in enumerate(pick) if not isinstance(i, slice)]
        found.append(Plane(pick, (size[0], size[1]), ", ".join(cut)))
    return found


def coloured(images: Sequence[Tensor], sizes: Sequence[tuple[int, int]]) -> list[Pixels]:
    """Make planes [C, h, w] in unit range red, green and blue, at the sizes they are shown.

    One channel is grey, two are magenta and green, of more the first three are shown. Dark images
    (fluorescence, 12 bits in 16) are brightened until their 99.8th percentile is white.
    """
    small = [resampled(image, size) for image, size in zip(images, sizes, strict=True)]
    values = torch.cat([s.flatten() for s in small]).numpy()
    bright = float(np.quantile(values, 0.998)) if len(values) else 1.0
    gain = 1 / bright if 0 < bright < 0.5 else 1.0
    rgb = {1: (0, 0, 0), 2: (0, 1, 0)}.get(len(images[0]), (0, 1, 2))
    shown = [(s[list(rgb)] * gain).clamp(0, 1).mul(255).round() for s in small]
    return [s.to(torch.uint8).permute(1, 2, 0).contiguous().numpy() for s in shown]


def painted(image: Pixels, class_map: Tensor, classes: Classes) -> Pixels:
    """Lay a class map [H, W] over an image: translucent fill, opaque contours, ignored striped.

    Classes whose colour is black stay clear, so that a background does not darken the image.
    """
    labels = nearest(class_map, image.shape[:2])
    palette = np.array(classes.palette, np.float32)
    tint = palette.sum(1) > 0
    known = (labels >= 0) & (labels < classes.num_classes)
    inside = np.where(known, labels, 0)
    tinted = known & tint[inside]
    out = image.astype(np.float32)
    colour = palette[inside]
    out[tinted] = (1 - FILL) * out[tinted] + FILL * colour[tinted]
    edge = edges(labels, 2 if min(labels.shape) >= 256 else 1) & tinted
    out[edge] = colour[edge]
    ignored = labels == classes.ignore_index
    out[ignored] = 0.4 * out[ignored] + 0.6 * striped(labels.shape)[ignored]
    return np.asarray(out.round().astype(np.uint8))


def striped(size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """[h, w, 1] diagonal grey stripes."""
    rows, columns = np.ogrid[: size[0], : size[1]]
    odd = ((rows + columns) // HATCH % 2).astype(np.float32)
    return (GREYS[0] + (GREYS[1] - GREYS[0]) * odd)[..., None]


def resampled(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Shrink smoothly; enlarge to visible pixels."""
    down = tuple(min(a, b) for a, b in zip(image.shape[1:], size, strict=True))
    small = F.interpolate(image[None].float(), down, mode="area")
    return F.interpolate(small, size, mode="nearest-exact")[0]


def nearest(class_map: Tensor, size: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Bring a map [H, W] of integers to the size it is shown at."""
    rows, columns = (
        ((torch.arange(new) + 0.5) * old / new).long()
        for new, old in zip(size, class_map.shape, strict=True)
    )
    return np.asarray(class_map[rows][:, columns].long().numpy())


def edges(labels: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.bool_]:
    """Pixels with another class at most `width` to a side of them."""
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        for axis in (0, 1):
            ahead = np.moveaxis(labels, axis, 0)
            differ = ahead[step:] != ahead[:-step]
            at = np.moveaxis(edge, axis, 0)
            at[step:] |= differ
            at[:-step] |= differ
    return edge
