"""How whole images are predicted: in tiles or resized, and at which size."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Literal, NamedTuple

from ..data.stores import Source, SourceInfo
from ..geometry import per_axis
from ..structures import Segmentation
from .predict import Progress, Sure, predict, predict_resized
from .running import Predicts
from .tiles import TileGrid


class Tiling(NamedTuple):
    """How whole images are predicted.

    Attributes:
        mode: `sliding` tiles, or `resize` to one tile and back.
        tile: how large tiles are, one value or one per axis.
        overlap: what the next tile repeats of one, one value or one per axis: below 1 a part of the
            tile, from 1 on as many `unit`s.
        batch_size: tiles that go through the model at once.
        unit: `px` or `um`, of `tile` and `overlap`.
    """

    mode: Literal["sliding", "resize"] = "sliding"
    tile: float | Sequence[float] = 512
    overlap: float | Sequence[float] = 0.5
    batch_size: int = 4
    unit: Literal["px", "um"] = "px"

    def checked(self) -> Tiling:
        """Return itself, or raise ValueError listing every impossible value."""
        sizes, overlaps = _values(self.tile), _values(self.overlap)
        smallest = min(sizes, default=0)
        wrong = []
        if self.mode not in ("sliding", "resize"):
            wrong.append(f"mode: expected sliding or resize, got {self.mode!r}")
        if self.unit not in ("px", "um"):
            wrong.append(f"unit: expected px or um, got {self.unit!r}")
        if self.unit == "px" and not all(size >= 1 and size == int(size) for size in sizes):
            wrong.append(f"tile: expected pixels >= 1, got {self.tile}")
        if smallest <= 0:
            wrong.append(f"tile: expected sizes above 0, got {self.tile}")
        if not all(0 <= o < max(1, t) for o, t in _each_axis(overlaps, sizes)):
            wrong.append(
                f"overlap: expected a fraction in [0, 1) or less than a tile, got {self.overlap}"
            )
        elif self.unit == "px" and not all(o < 1 or o == int(o) for o in overlaps):
            wrong.append(f"overlap: expected a fraction or whole pixels, got {self.overlap}")
        if self.batch_size < 1:
            wrong.append(f"batch_size: expected >= 1, got {self.batch_size}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def in_pixels(self, info: SourceInfo) -> Tiling:
        """The same in pixels of a source: tiles rounded, overlaps rounded up.

        Raises ValueError for micrometres where the source's spacing is not known, and for tiles
        of another number of axes.
        """
        dims = len(info.shape)
        tile, overlap = per_axis(self.tile, dims), per_axis(self.overlap, dims)
        if self.unit == "px":
            return self._replace(tile=tuple(map(int, tile)), overlap=overlap)
        if info.spacing is None:
            raise ValueError(
                f"{info.name}: a tile in micrometres needs the image's spacing: state it with "
                "`spacing_um`, or give the tile in pixels"
            )
        steps = info.spacing
        return self._replace(
            tile=tuple(max(1, round(t / s)) for t, s in zip(tile, steps, strict=True)),
            overlap=tuple(
                o if o < 1 else float(ceil(o / s)) for o, s in zip(overlap, steps, strict=True)
            ),
            unit="px",
        )

    def grid(self, info: SourceInfo) -> TileGrid:
        """The tiles of a source; raises ValueError for impossible ones."""
        here = self.in_pixels(info)
        tile = [int(t) for t in _values(here.tile)]
        return TileGrid.plan(info.shape, tile, here.overlap)

    def predict(
        self,
        source: Source,
        model: Predicts,
        progress: Progress | None = None,
        sure: Sure | None = None,
    ) -> Segmentation:
        """Predict a whole source in its own geometry; `sure` as in `predict`."""
        here = self.in_pixels(source.info)
        tile = [int(t) for t in _values(here.tile)]
        if self.mode == "resize":
            return predict_resized(source, model, size=tile, sure=sure)
        return predict(
            source,
            model,
            tile=tile,
            overlap=here.overlap,
            batch_size=self.batch_size,
            progress=progress,
            sure=sure,
        )


def _each_axis(overlaps: list[float], sizes: list[float]) -> list[tuple[float, float]]:
    """Each overlap beside the tile's size along its axis; one value stands for all axes."""
    axes = max(len(overlaps), len(sizes))
    alike = [v * axes if len(v) == 1 else v for v in (overlaps, sizes)]
    return list(zip(*alike, strict=False))


def _values(given: float | Sequence[float]) -> list[float]:
    return [given] if isinstance(given, int | float) else list(given)
