"""Volumes that are read by region, in unit range: every format but whole image files.

Where the type does not say what black and white are, they are the minimum and maximum per channel
of at most 64 chunks, spread evenly over the volume (fewer, at least 8, where those would be more
than 256 MiB); statistics are of the same values. They are measured once per source, when they are
first needed, and travel with it into other processes. What lies beyond is clipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from ...geometry import Region, Shape
from ...structures import Intensity
from .arrays import MEASURED, measure, thinned
from .channels import ChannelPolicy, choose
from .decoded import Levels, Raw
from .decoding import check_finite
from .selection import Selection, given_spacing
from .source import Source, SourceInfo
from .stored import Stored
from .unit_range import in_unit_range, measured_levels, stated_levels

_CHUNKS = (8, 64)  # looked at, at least and at most
_BYTES = 256 << 20


class Volume(Source):
    """One time point of a stored array. It pickles; its arguments are those of `open_source`."""

    def __init__(
        self,
        stored: Stored,
        name: str,
        *,
        spacing: float | Sequence[float] | None = None,
        levels: Levels | Sequence[Levels] | None = None,
        channels: ChannelPolicy | Sequence[int | str] = "rgb",
        time: int | None = None,
    ) -> None:
        self._selection = selection = Selection(stored, time)
        self._file = stored.file
        self._choice = choose(stored.file, selection.channels, channels)
        steps = selection.spacing
        if spacing is not None:
            steps = given_spacing(stored.file, spacing, len(selection.shape))
        layout, names = stored.layout, self._choice.names
        dtype = str(layout.dtype)
        self.info = SourceInfo(name, selection.shape, names, steps, dtype, layout.affine)
        given = layout.levels if levels is None else levels
        self._stated = (
            None if given is None else stated_levels(stored.file, given, len(names), dtype)
        )

    def read(self, region: Region) -> npt.NDArray[np.float32]:
        """[C, *region] in unit range, read from the file.

        Raises ImageReadError for damage, NaN and infinity.
        """
        levels = self._stated or self.intensity.levels
        return in_unit_range(self._raw(region), levels)

    def coarser(self) -> tuple[Source, Shape] | None:
        """See `Source`; black and white are those of the finest level."""
        found = self._selection.coarser()
        if found is None:
            return None
        level = copy(self)
        level._selection, steps = found
        level._stated = self._stated or self.intensity.levels
        spacing = self.info.spacing and tuple(
            unit * step for unit, step in zip(self.info.spacing, steps, strict=True)
        )
        level.info = self.info._replace(shape=level._selection.shape, spacing=spacing)
        return level, steps

    @cached_property
    def intensity(self) -> Intensity:
        """Levels and statistics; measured at the first call."""
        raw = self._spread()
        levels = self._stated or measured_levels(raw, self._choice.names)
        return measure(in_unit_range(raw, levels), levels, self._stated is not None)

    def _raw(self, region: Region) -> Raw:
        raw = self._selection.read(region, self._choice.read)
        check_finite(self._file, raw)
        return self._choice.of(raw)

    def _spread(self) -> Raw:
        """[C, n] values from chunks that are spread over the volume."""
        chunk = self._selection.chunk
        size = prod(chunk) * self._selection.stored.layout.dtype.itemsize
        most = min(max(_BYTES // size, _CHUNKS[0]), _CHUNKS[1])
        parts = spread(self.info.shape, chunk, most)
        kept = max(MEASURED // len(parts), 1)
        seen = (self._raw(part) for part in parts)
        thin = [raw[(slice(None), *thinned(raw.shape[1:], kept))] for raw in seen]
        return np.concatenate([raw.reshape(len(raw), -1) for raw in thin], axis=1)


def spread(shape: Shape, chunk: Shape, most: int) -> list[Region]:
    """At most `most` chunks, evenly spread."""
    counts = tuple(-(-s // c) for s, c in zip(shape, chunk, strict=True))
    numbers = (
        range(*part.indices(count))
        for part, count in zip(thinned(counts, most), counts, strict=True)
    )
    return [
        tuple(
            slice(n * c, min((n + 1) * c, s)) for n, c, s in zip(place, chunk, shape, strict=True)
        )
        for place in product(*numbers)
    ]
