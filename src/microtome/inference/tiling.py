"""How whole images are predicted: in tiles or resized, and at which size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..data.stores import Source
from ..structures import Segmentation
from .predict import Predicts, Progress, predict, predict_resized


class Tiling(NamedTuple):
    """How whole images are predicted.

    Attributes:
        mode: `sliding` tiles, or `resize` to one tile and back.
        tile: pixels, one value or one per axis.
        overlap: the part of a tile that the next one repeats, in [0, 1).
        batch_size: tiles that go through the model at once.
    """

    mode: Literal["sliding", "resize"] = "sliding"
    tile: int | Sequence[int] = 512
    overlap: float = 0.5
    batch_size: int = 4

    def checked(self) -> Tiling:
        """Return itself, or raise ValueError listing every impossible value."""
        sizes = [self.tile] if isinstance(self.tile, int) else self.tile
        wrong = []
        if self.mode not in ("sliding", "resize"):
            wrong.append(f"mode: expected sliding or resize, got {self.mode!r}")
        if not sizes or min(sizes) < 1:
            wrong.append(f"tile: expected pixels >= 1, got {self.tile}")
        if not 0 <= self.overlap < 1:
            wrong.append(f"overlap: expected a fraction in [0, 1), got {self.overlap}")
        if self.batch_size < 1:
            wrong.append(f"batch_size: expected >= 1, got {self.batch_size}")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def predict(
        self, source: Source, model: Predicts, progress: Progress | None = None
    ) -> Segmentation:
        """Predict a whole source in its own geometry."""
        if self.mode == "resize":
            return predict_resized(source, model, size=self.tile)
        return predict(
            source,
            model,
            tile=self.tile,
            overlap=self.overlap,
            batch_size=self.batch_size,
            progress=progress,
        )
