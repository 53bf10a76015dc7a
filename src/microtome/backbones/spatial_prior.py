"""The convolutional pyramid that ViT-Adapter brings fine detail with (Chen et al., ICLR 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2

from torch import Tensor, nn

from ..layers import Norm, conv, max_pool, norm, resize_maps

_LEVELS = 4


class SpatialPrior(nn.Module):
    """Image to four maps of `out_channels`, each half the size of the one before.

    The stem halves an axis as often as brings it nearest to a quarter of a patch (patch 14 and 16:
    twice, patch 8: once); what is left to the exact shapes is resampled.

    Args:
        in_channels: C of the images.
        out_channels: channels of the maps.
        patch: pixels of a token per axis.
        width: channels of the first map; further ones have two and four times as many.
        kind: the norm after each convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        patch: Sequence[float],
        width: int = 64,
        kind: Norm = "group",
    ) -> None:
        super().__init__()
        dims = len(patch)
        halvings = [min(max(round(log2(p / _LEVELS)), 0), 2) for p in patch]
        first, second = ([2 if h > step else 1 for h in halvings] for step in range(2))
        widths = [width, 2 * width, 4 * width, 4 * width]

        def step(inputs: int, outputs: int, stride: int | Sequence[int]) -> nn.Sequential:
            layer = conv(dims, inputs, outputs, 3, bias=False, stride=stride)
            return nn.Sequential(layer, norm(kind, dims, outputs), nn.ReLU())

        self.stem = nn.Sequential(
            step(in_channels, width, first),
            step(width, width, 1),
            step(width, width, 1),
            max_pool(second),
        )
        self.halve = nn.ModuleList(
            step(widths[level], widths[level + 1], 2) for level in range(_LEVELS - 1)
        )
        self.project = nn.ModuleList(conv(dims, w, out_channels) for w in widths)

    def forward(self, image: Tensor, shapes: Sequence[Sequence[int]]) -> list[Tensor]:
        """[B, in, *S] -> four maps [B, out, *shape], finest first."""
        maps = [self.stem(image)]
        for halve in self.halve:
            maps.append(halve(maps[-1]))
        return [
            resize_maps(project(x), shape)
            for project, x, shape in zip(self.project, maps, shapes, strict=True)
        ]
