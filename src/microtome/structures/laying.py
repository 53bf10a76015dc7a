"""Masks that may overlap, laid into integer maps: each into the first one with room.

K layers, N objects, *S the spatial shape.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from ..geometry import Region, Shape, extent


def lay_parts(parts: Iterable[tuple[Region, Tensor]], shape: Shape) -> tuple[Tensor, int]:
    """Boxes and the masks [*box] bool in them as 1…N in maps [K, *S], and N.

    Raises ValueError for masks that do not fit their boxes.
    """
    layers: list[Tensor] = []
    count = 0
    for region, mask in parts:
        count, inside = count + 1, torch.as_tensor(mask).bool()
        if inside.shape != extent(region):
            found = f"mask {count} is {tuple(inside.shape)}"
            raise ValueError(f"{found}, expected {extent(region)}")
        room = (layer for layer in layers if not ((layer[region] > 0) & inside).any())
        layer = next(room, None)
        if layer is None:
            layer = torch.zeros(shape, dtype=torch.int32, device=inside.device)
            layers.append(layer)
        layer[region].masked_fill_(inside, count)
    return torch.stack(layers or [torch.zeros(shape, dtype=torch.int32)]), count


def lay_maps(maps: Iterable[Tensor]) -> Tensor:
    """Maps [*S] upon each other where no pixel is taken by both: [K, *S]."""
    layers: list[Tensor] = []
    for numbers in maps:
        here = numbers > 0
        fits = (i for i, layer in enumerate(layers) if not (layer[here] > 0).any())
        at = next(fits, None)
        if at is None:
            layers.append(numbers)
        else:
            layers[at] = layers[at] + numbers
    return torch.stack(layers)
