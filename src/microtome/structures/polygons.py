"""Masks as polygons along the borders of their pixels, exactly, with holes; and back.

Coordinates are those of pixel corners, array order `y, x`: pixel (0, 0) is the square from (0, 0)
to (1, 1). COCO's `x, y` is written and read by `coco_segmentation` and `coco_mask` only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from ..geometry import Shape
from .rle import Mask, RunLengths, decode_rle, encode_rle

Ring = npt.NDArray[np.float64]  # [N, 2], not closed: the first point is not repeated
Integers = npt.NDArray[np.int64]


class Polygon(NamedTuple):
    """One connected area.

    Attributes:
        exterior: [N, 2] corners `y, x`, clockwise as seen on a screen.
        holes: [M, 2] each, the other way round.
    """

    exterior: Ring
    holes: tuple[Ring, ...] = ()

    @property
    def rings(self) -> tuple[Ring, ...]:
        """The exterior, then the holes."""
        return (self.exterior, *self.holes)


def to_polygons(mask: Mask) -> list[Polygon]:
    """Outline a mask [H, W] exactly: rasterising the polygons gives the mask back.

    Pixels that touch at a corner only are different polygons, and rings never cross or touch
    themselves, so that the polygons are valid by the rules of GeoJSON and OGC.
    """
    labels, count = ndimage.label(np.pad(mask.astype(bool), 1))
    exteriors: dict[int, Integers] = {}
    holes: dict[int, list[Integers]] = {number: [] for number in range(1, count + 1)}
    for ring in _rings(*_corners(labels)):
        row, column = ring[0]  # its first corner; the ring lies to the right of it and below
        if labels[row, column]:
            exteriors[int(labels[row, column])] = ring
        else:
            holes[int(labels[row - 1, column])].append(ring[::-1])
    return [Polygon(_moved(exteriors[n]), tuple(map(_moved, holes[n]))) for n in holes]


def _moved(ring: Integers) -> Ring:
    """From the padded mask's corners to the mask's."""
    return ring.astype(np.float64) - 1


def from_polygons(polygons: Iterable[Polygon], shape: Shape) -> Mask:
    """Rasterise: the pixels of [H, W] whose centres lie in any of the polygons and no hole of it.

    Polygons may have any corners, also outside of the image.

    Raises ValueError for coordinates that are not finite.
    """
    mask = np.zeros(shape, bool)
    for polygon in polygons:
        rings = [ring for ring in polygon.rings if len(ring) > 2]
        if not all(np.isfinite(ring).all() for ring in rings):
            raise ValueError("a polygon has corners that are not finite")
        if rings:
            low = np.floor(rings[0].min(axis=0)).clip(0, shape)
            high = np.ceil(rings[0].max(axis=0)).clip(low, shape)
            (top, left), (bottom, right) = low.astype(int), high.astype(int)
            inside = _inside([ring - low for ring in rings], (bottom - top, right - left))
            mask[top:bottom, left:right] |= inside
    return mask


def coco_segmentation(mask: Mask) -> list[list[float]] | RunLengths:
    """A mask as COCO's `segmentation`: flat `x, y` polygons, or run lengths if there are holes."""
    polygons = to_polygons(mask)
    if any(polygon.holes for polygon in polygons):
        return encode_rle(mask)
    return [polygon.exterior[:, ::-1].ravel().tolist() for polygon in polygons]


def coco_mask(segmentation: Sequence[Sequence[float]] | RunLengths, shape: Shape) -> Mask:
    """The mask [H, W] of COCO's `segmentation`: flat `x, y` polygons, or run lengths of any kind.

    A pixel counts when its centre lies inside; pycocotools also takes many that are only touched.

    Raises ValueError for a polygon that is not pairs of numbers, and for run lengths of another
    shape.
    """
    if isinstance(segmentation, dict):
        if tuple(segmentation["size"]) != tuple(shape):
            raise ValueError(f"run lengths of {segmentation['size']} in an image of {shape}")
        return decode_rle(segmentation)
    return from_polygons((Polygon(_ring(flat)) for flat in segmentation), shape)


def _ring(flat: Sequence[float]) -> Ring:
    if len(flat) % 2:
        raise ValueError(f"a polygon is x, y, x, y …: an even number of values, got {len(flat)}")
    return np.asarray(flat, np.float64).reshape(-1, 2)[:, ::-1]


def _corners(labels: npt.NDArray[np.int32]) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Where borders turn, [N, 2] sorted, and whether each goes right and down from there, [N, 2].

    Where two areas touch at a corner, or one touches itself, there are two corners at one place:
    two areas are kept apart, and one is kept together, so that its ring does not meet itself.
    """
    inside = labels > 0
    above, below = inside[:-1], inside[1:]
    right = above[:, 1:] != below[:, 1:]
    left = above[:, :-1] != below[:, :-1]
    down = below[:, :-1] != below[:, 1:]
    up = above[:, :-1] != above[:, 1:]
    crossing = right & left & down & up
    turning = ((right ^ left) & (down ^ up)).nonzero()
    single = np.stack(turning, 1)
    goes = np.stack([right[turning], down[turning]], 1)
    rows, columns = crossing.nonzero()
    first, last = labels[rows, columns], labels[rows + 1, columns + 1]  # those on the diagonal
    other = labels[rows, columns + 1], labels[rows + 1, columns]  # those on the other one
    # which pixel is rounded: upper left and lower right ones, or the two others
    along = np.where(first > 0, first != last, other[0] == other[1])
    places = np.stack([rows, columns], 1)
    # rounding the upper left pixel goes left and up, the lower right one right and down
    twins = np.stack([np.zeros_like(along), ~along], 1), np.stack([np.ones_like(along), along], 1)
    corners = np.concatenate([single, places, places]) + 1
    return corners, np.concatenate([goes, *twins])


def _rings(corners: Integers, goes: npt.NDArray[np.bool_]) -> Iterator[Integers]:
    """Closed rings of corners: each begins with its first one, row by row, and goes right."""
    across = _partners(np.lexsort((goes[:, 0], corners[:, 1], corners[:, 0])))
    along = _partners(np.lexsort((goes[:, 1], corners[:, 0], corners[:, 1])))
    order = np.lexsort((goes[:, 0], corners[:, 1], corners[:, 0]))
    after, then = across.tolist(), along.tolist()
    seen = [False] * len(corners)
    for start in order.tolist():
        if seen[start]:
            continue
        path, at = [], start
        while not seen[at]:
            opposite = after[at]
            seen[at] = seen[opposite] = True
            path += [at, opposite]
            at = then[opposite]
        yield corners[path]


def _partners(order: Integers) -> Integers:
    """Borders along one axis are the first corner to the second, the third to the fourth …"""
    partner = np.empty_like(order)
    partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return partner


def _inside(rings: Sequence[Ring], shape: Shape) -> Mask:
    """Pixels whose centre a ray from the left reaches across an odd number of borders."""
    start = np.concatenate(rings)
    stop = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
    low, high = np.minimum(start[:, 0], stop[:, 0]), np.maximum(start[:, 0], stop[:, 0])
    first = np.ceil(low - 0.5).clip(0, shape[0]).astype(np.int64)  # rows whose centres are crossed
    rows = np.ceil(high - 0.5).clip(0, shape[0]).astype(np.int64) - first
    edge = np.repeat(np.arange(len(start)), rows)
    row = np.arange(len(edge)) - np.repeat(rows.cumsum() - rows, rows) + first[edge]
    slope = (stop - start)[edge]
    crossed = start[edge, 1] + (row + 0.5 - start[edge, 0]) * slope[:, 1] / slope[:, 0]
    column = np.ceil(crossed - 0.5).clip(0, shape[1]).astype(np.int64)
    flips = np.zeros((shape[0], shape[1] + 1), np.int64)
    np.add.at(flips, (row, column), 1)
    inside: Mask = flips[:, :-1].cumsum(axis=1) % 2 == 1
    return inside
