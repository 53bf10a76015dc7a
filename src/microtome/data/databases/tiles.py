"""Images cut into tiles: the last of each row is shorter where the size does not divide."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def tile_table(shape: Sequence[int], tile: Sequence[int]) -> npt.NDArray[np.int64]:
    """[N, 2, A] start and stop of every tile, in array order; together they cover each pixel once.

    Args:
        shape: pixels of the image along A axes, such as t, z, y, x.
        tile: pixels of a tile along each of them; larger than the image, it is cut to it.

    Raises ValueError for another number of axes and for sizes below 1.
    """
    if len(shape) != len(tile) or min((*shape, *tile), default=0) < 1:
        raise ValueError(
            f"expected a tile size >= 1 for each of the axes {list(shape)}, got {list(tile)}"
        )
    starts = [range(0, size, step) for size, step in zip(shape, tile, strict=True)]
    corners = np.stack(np.meshgrid(*starts, indexing="ij"), -1).reshape(-1, len(shape))
    return np.stack([corners, np.minimum(corners + np.array(tile), shape)], 1)
