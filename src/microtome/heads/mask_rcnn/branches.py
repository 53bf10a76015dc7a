"""What is asked of each region: which class and where exactly, and which of its pixels.

R regions, C channels, K classes with the background, D axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

from ...layers import conv, doubling

CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}  # by the axes of a tensor


class BoxBranch(nn.Module):
    """Two fully connected layers, then classes and boxes (Ren et al., 2015).

    Args:
        channels: C.
        output: cells of a region per axis.
        hidden: channels of the two layers.
        num_classes: K.
    """

    def __init__(self, channels: int, output: Sequence[int], hidden: int, num_classes: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(channels * prod(output), hidden)
        self.fc7 = nn.Linear(hidden, hidden)
        self.classify = nn.Linear(hidden, num_classes)
        self.deltas = nn.Linear(hidden, num_classes * 2 * len(output))

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """[R, C, *output] to logits [R, K] and deltas [R, K, 2D], in float32."""
        hidden = self.fc7(self.fc6(regions.flatten(1)).relu()).relu()
        logits = self.classify(hidden).float()
        deltas = self.deltas(hidden).float()
        return logits, deltas.unflatten(1, (logits.shape[1], -1))


class MaskBranch(nn.Module):
    """Convolutions, a doubling, and a mask for each class (He et al., 2017).

    Args:
        dims: D.
        channels: C.
        hidden: channels of the convolutions.
        layers: their number.
        num_classes: K.
    """

    def __init__(
        self, dims: int, channels: int, hidden: int, layers: int, num_classes: int
    ) -> None:
        super().__init__()
        widths = [channels] + [hidden] * layers
        convs = [conv(dims, a, b, 3) for a, b in pairwise(widths)]
        self.convs = nn.Sequential(*(nn.Sequential(c, nn.ReLU(inplace=True)) for c in convs))
        self.up = doubling(dims, widths[-1])
        self.logits = conv(dims, widths[-1], num_classes)
        for layer in (*convs, self.up):
            nn.init.kaiming_normal_(
                layer.get_parameter("weight"), mode="fan_out", nonlinearity="relu"
            )
            nn.init.zeros_(layer.get_parameter("bias"))
        # By their fan out, logits of few classes would begin far from 0, all of them wrong.
        nn.init.normal_(self.logits.get_parameter("weight"), std=0.001)
        nn.init.zeros_(self.logits.get_parameter("bias"))

    def forward(self, regions: Tensor) -> Tensor:
        """[R, C, *cells] to logits [R, K, *(2 cells)].

        Channels last: on a processor the doubling takes half as long so.
        """
        regions = regions.contiguous(memory_format=CHANNELS_LAST[regions.ndim])
        masks: Tensor = self.logits(self.up(self.convs(regions)).relu_())
        return masks
