"""A small residual network beside a vision transformer, for what its patches are too coarse for.

As in TransUNet (Chen et al., 2021), whose decoder takes the finer maps as skips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import lcm

from torch import Tensor, nn

from ..layers import Norm
from ..structures import Pyramid, PyramidSpec
from . import Backbone, TokenBackbone
from .resnet import ResNet

__all__ = ["CNNAdapter"]


class CNNAdapter(Backbone):
    """The maps of a residual network that are finer than a patch, then that of the transformer.

    With patches of 16 or 14 pixels these are strides 2, 4 and 8 and the patch; with patches of 8,
    strides 2 and 4.

    Args:
        vit: any plain vision transformer, timm's or our own, in 2D or 3D.
        width: channels of the network's stem; its blocks have four and eight times as many.
        norm: `group`, or `batch`, which Lightning's `sync_batchnorm` joins over processes.

    Raises ValueError for patches so small that nothing lies between them and pixels.
    """

    def __init__(self, vit: TokenBackbone, width: int = 64, norm: Norm = "group") -> None:
        super().__init__()
        patch = [int(p) for p in vit.spec.strides[0]]
        reach = list(_finer(patch))
        if not reach:
            raise ValueError(f"nothing lies between pixels and patches of {patch} pixels")
        self.vit, self.in_channels = vit, vit.in_channels
        self.normalisation, self.origin = vit.normalisation, vit.origin
        steps = [[b // a for a, b in zip(*two, strict=True)] for two in pairwise(reach)]
        steps = [reach[0], *steps, *[[1] * len(patch)] * (5 - len(reach))]
        net = ResNet(50, vit.in_channels, width, norm, strides=steps, spatial_dims=len(patch))
        stem = nn.Sequential(net.conv1, net.bn1, net.relu)
        stages = [stem, nn.Sequential(net.maxpool, net.layer1), net.layer2]
        self.stages = nn.ModuleList(stages[: len(reach)])
        self.spec = _spec(vit, reach, [width, 4 * width, 8 * width][: len(reach)])

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the maps, finest first.

        Raises NotImplementedError when `keep` is given: convolutions cannot skip units.
        """
        if keep is not None:
            raise NotImplementedError("a residual network cannot work on some units only")
        maps, x = [], image
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return (*maps, *self.vit(image, spacing))


def _finer(patch: Sequence[int]) -> Iterator[list[int]]:
    """Up to three strides per axis that double from 2 on, none of them beyond the patch."""
    reach = [1] * len(patch)
    for _ in range(3):
        reach = [2 * r if 2 * r <= p else r for r, p in zip(reach, patch, strict=True)]
        if reach == [*patch] or max(reach) == 1:
            return
        yield reach


def _spec(vit: TokenBackbone, reach: list[list[int]], channels: list[int]) -> PyramidSpec:
    multiple = tuple(lcm(m, r) for m, r in zip(vit.spec.multiple, reach[-1], strict=True))
    strides = [tuple(float(s) for s in stride) for stride in reach]
    return PyramidSpec((*channels, *vit.spec.channels), (*strides, *vit.spec.strides), multiple)
