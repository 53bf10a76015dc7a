"""Residual networks (He et al., CVPR 2016; strided where torchvision strides), N-D.

Names of the weights are torchvision's, which are also MONAI's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from timm.layers import DropPath
from torch import Tensor, nn

from ..geometry import per_axis
from ..layers import FrozenNorm, Norm, conv, drop_path_rates, max_pool
from ..layers import norm as make_norm
from ..structures import Pyramid, PyramidSpec
from .family import Family, Weights

__all__ = ["ResNet"]

_DEPTHS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_STEPS = (2, 2, 2, 2, 2)


class ResNet(Family):
    """Four levels at strides 4, 8, 16 and 32.

    Args:
        depth: 18, 34, 50, 101 or 152 layers; from 50 on, blocks are bottlenecks.
        in_channels: C of the images.
        width: channels of the stem.
        norm: `batch`, as published weights have it; `frozen`, the same without learning anything,
            for detectors; or `group`, for batches of a few images.
        eps: of frozen norms; 0 for the backbones of torchvision's published detectors.
        strides: of the stem, of its pooling, and from level to level, each one number or one per
            axis; `geometry.proposed_strides` derives them from the spacing.
        drop_path: how often a sample skips a block while training; grows from 0 to this with depth.
        spatial_dims: D.
        weights: published weights to begin from: torchvision's, also within its detectors', or
            MONAI's.

    Raises ValueError for another depth, and unless there are five strides.
    """

    key_map = ((r"^backbone\.body\.", ""),)  # torchvision's detectors

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        in_channels: int = 3,
        width: int = 64,
        norm: Norm = "batch",
        eps: float = 1e-5,
        strides: Sequence[int | Sequence[int]] = _STEPS,
        drop_path: float = 0.0,
        spatial_dims: int = 2,
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        if depth not in _DEPTHS or len(strides) != len(_STEPS):
            raise ValueError(
                f"expected {', '.join(map(str, _DEPTHS))} layers and {len(_STEPS)} strides, "
                f"got {depth} layers and {len(strides)} strides"
            )
        stem, pool, *between = (per_axis(s, spatial_dims) for s in strides)
        self.in_channels = in_channels
        self.conv1 = conv(spatial_dims, in_channels, width, 7, bias=False, stride=stem)
        self.bn1 = make_norm(norm, spatial_dims, width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = max_pool(pool)
        block = _Basic if depth < 50 else _Bottleneck
        widths = [width * 2**level for level in range(4)]
        channels = [width, *(w * block.expansion for w in widths)]
        rates = drop_path_rates(drop_path, _DEPTHS[depth])

        def stage(level: int, stride: Sequence[int]) -> nn.Sequential:
            first = block(channels[level], widths[level], stride, norm, rates[level][0])
            one = (1,) * spatial_dims
            more = (
                block(channels[level + 1], widths[level], one, norm, r) for r in rates[level][1:]
            )
            return nn.Sequential(first, *more)

        self.layer1 = stage(0, (1,) * spatial_dims)
        self.layer2 = stage(1, between[0])
        self.layer3 = stage(2, between[1])
        self.layer4 = stage(3, between[2])
        finest = [s * p for s, p in zip(stem, pool, strict=True)]
        self.spec = PyramidSpec.stepped(channels[1:], [finest, *between])
        for module in self.modules():
            if isinstance(module, FrozenNorm):
                module.eps = eps
        self.reset_parameters()
        self.begin(weights)

    def reset_parameters(self) -> None:
        """Normal weights that keep the variance of what flows back (He et al., ICCV 2015)."""
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the four maps, finest first.

        Raises NotImplementedError when `keep` is given: convolutions cannot skip units.
        """
        if keep is not None:
            raise NotImplementedError("a residual network cannot work on some units only")
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        maps = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return tuple(maps)


class _Block(nn.Module):
    """A branch beside a skip, which is projected where the two differ in shape."""

    expansion: int

    def __init__(
        self, in_channels: int, width: int, stride: Sequence[int], norm: Norm, drop_path: float
    ) -> None:
        super().__init__()
        dims, out = len(stride), width * self.expansion
        self.relu = nn.ReLU(inplace=True)
        self.drop_path = DropPath(drop_path)
        self.downsample = nn.Sequential()
        if in_channels != out or set(stride) != {1}:
            self.downsample.append(conv(dims, in_channels, out, bias=False, stride=stride))
            self.downsample.append(make_norm(norm, dims, out))

    def branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.drop_path(self.branch(x))
        y += self.downsample(x)  # in place: no norm or activation needs what it gave
        out: Tensor = self.relu(y)
        return out


class _Basic(_Block):
    """Two convolutions of three pixels."""

    expansion = 1

    def __init__(
        self, in_channels: int, width: int, stride: Sequence[int], norm: Norm, drop_path: float
    ) -> None:
        super().__init__(in_channels, width, stride, norm, drop_path)
        dims = len(stride)
        self.conv1 = conv(dims, in_channels, width, 3, bias=False, stride=stride)
        self.bn1 = make_norm(norm, dims, width)
        self.conv2 = conv(dims, width, width, 3, bias=False)
        self.bn2 = make_norm(norm, dims, width)

    def branch(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return out


class _Bottleneck(_Block):
    """A convolution of three pixels between two of one, on a quarter of the channels."""

    expansion = 4

    def __init__(
        self, in_channels: int, width: int, stride: Sequence[int], norm: Norm, drop_path: float
    ) -> None:
        super().__init__(in_channels, width, stride, norm, drop_path)
        dims, out = len(stride), width * self.expansion
        self.conv1 = conv(dims, in_channels, width, bias=False)
        self.bn1 = make_norm(norm, dims, width)
        self.conv2 = conv(dims, width, width, 3, bias=False, stride=stride)
        self.bn2 = make_norm(norm, dims, width)
        self.conv3 = conv(dims, width, out, bias=False)
        self.bn3 = make_norm(norm, dims, out)

    def branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.bn3(self.conv3(x))
        return out
