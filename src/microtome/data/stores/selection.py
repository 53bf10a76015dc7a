"""From the axes of a stored array to `[C, (z,) y, x]`: the one place where they are arranged."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from ...geometry import Region, Shape, Spacing, per_axis
from .decoded import GREY, Raw
from .source import ImageReadError
from .stored import Layout, Stored

_USUAL = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}  # of arrays that name no axes


def usual_axes(file: str, shape: Shape, given: str | None = None) -> str:
    """The letters of an array that does not name its axes, or those that the user gave.

    Raises ImageReadError when there is no usual order, or the given one does not fit.
    """
    count = len(shape)
    axes = _USUAL.get(count, "") if given is None else given.lower()
    if len(axes) != count or len(set(axes)) != count or not {*"yx"} <= set(axes) <= {*"tczyx"}:
        raise ImageReadError(
            file,
            f"an array of shape {list(shape)} does not have the axes {axes!r}; "
            "say them, one letter of t, c, z, y, x for each: axes='tczyx'",
        )
    return axes


class Selection:
    """One time point of a stored array, as `[C, *S]`.

    Axes of length 1 other than y and x are left out.

    Args:
        stored: the array.
        time: which time point; None is right only where there is one.

    Raises ImageReadError when axes are unknown or the time point must be chosen.
    """

    def __init__(self, stored: Stored, time: int | None = None) -> None:
        layout = stored.layout
        _check(stored.file, layout)
        self.stored = stored
        self._sizes = dict(zip(layout.axes, layout.shape, strict=True))
        self._time = _time(stored.file, self._sizes.get("t", 1), time)
        self._spatial = tuple(a for a in "zyx" if a in "yx" or self._sizes.get(a, 1) > 1)
        self.shape: Shape = tuple(self._sizes[a] for a in self._spatial)
        self.channels = layout.channels or _names(self._sizes.get("c", 1))

    @property
    def chunk(self) -> Shape:
        """What is fetched at once, per spatial axis."""
        chunks = dict(zip(self.stored.layout.axes, self.stored.layout.chunk, strict=True))
        return tuple(min(chunks[a], self._sizes[a]) for a in self._spatial)

    @property
    def spacing(self) -> Spacing | None:
        """Micrometres per pixel, None unless all axes say it."""
        known = self.stored.layout.spacing
        steps = tuple(known[a] for a in self._spatial if a in known)
        return steps if len(steps) == len(self._spatial) else None

    def coarser(self) -> tuple[Selection, Shape] | None:
        """The same of the next level of a pyramid, and how many pixels became one, per axis."""
        stored = self.stored.coarser()
        if stored is None:
            return None
        level = Selection(stored, self._time)
        if level._spatial != self._spatial:  # an axis has only one pixel left
            return None
        steps = (max(1, round(a / b)) for a, b in zip(self.shape, level.shape, strict=True))
        return level, tuple(steps)

    def read(self, region: Region, channels: Sequence[int]) -> Raw:
        """[channels, *region] as stored, read one run of channels at a time."""
        where = dict(zip(self._spatial, bounded(region, self.shape), strict=True))
        low, high = min(channels), max(channels) + 1
        where |= {"t": slice(self._time, self._time + 1), "c": slice(low, high)}
        axes = self.stored.layout.axes
        raw = self.stored.read(tuple(where.get(a, slice(0, 1)) for a in axes))
        order = [a for a in ("c", *self._spatial) if a in axes]
        raw = raw[tuple(slice(None) if a in order else 0 for a in axes)]
        kept = [a for a in axes if a in order]
        raw = raw.transpose([kept.index(a) for a in order])
        raw = raw if "c" in axes else raw[None]
        picked = [c - low for c in channels]
        return raw if picked == list(range(high - low)) else raw[picked]


def bounded(region: Region, shape: Shape) -> Region:
    """Starts and stops inside `shape`, as numpy would cut it.

    Raises ValueError for another number of axes, or a step.
    """
    if len(region) != len(shape) or any(part.step not in (None, 1) for part in region):
        raise ValueError(f"expected {len(shape)} slices without a step, got {region}")
    cut = (part.indices(size)[:2] for part, size in zip(region, shape, strict=True))
    return tuple(slice(start, max(start, stop)) for start, stop in cut)


def given_spacing(
    file: str | os.PathLike[str], spacing: float | Sequence[float], spatial_dims: int
) -> Spacing:
    """Micrometres per pixel and axis, as the user says them.

    Raises ImageReadError for another number of axes, or what is not positive.
    """
    try:
        steps = per_axis(spacing, spatial_dims)
    except ValueError as error:
        raise ImageReadError(file, f"spacing: {error}") from None
    if not all(np.isfinite(s) and s > 0 for s in steps):
        raise ImageReadError(file, f"spacing must be positive micrometres per pixel, got {steps}")
    return tuple(float(s) for s in steps)


def _check(file: str, layout: Layout) -> None:
    axes = usual_axes(file, layout.shape, layout.axes)
    if layout.dtype.kind not in "buif" or 0 in layout.shape:
        shape = ", ".join(f"{a} {n}" for a, n in zip(axes, layout.shape, strict=True))
        raise ImageReadError(file, f"expected real pixels, got {np.dtype(layout.dtype)} ({shape})")
    channels = dict(zip(axes, layout.shape, strict=True)).get("c", 1)
    if layout.channels and len(layout.channels) != channels:
        raise ImageReadError(file, f"names {len(layout.channels)} channels, but holds {channels}")


def _time(file: str, count: int, time: int | None) -> int:
    if time is None and count > 1:
        raise ImageReadError(
            file, f"holds {count} time points; choose one, from time=0 to time={count - 1}"
        )
    if not 0 <= (time or 0) < count:
        raise ImageReadError(file, f"holds {count} time points, so there is no time={time}")
    return time or 0


def _names(count: int) -> tuple[str, ...]:
    return GREY if count == 1 else tuple(f"channel {i}" for i in range(count))
