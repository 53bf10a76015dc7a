"""InternImage (Wang et al., CVPR 2023), N-D. The authors' names of the weights are understood."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath, Mlp
from torch import Tensor, nn

from ..geometry import per_axis
from ..layers import ChannelNorm, DeformableConv, conv, drop_path_rates
from ..structures import Pyramid, PyramidSpec
from ..weights import State
from .family import Family, Weights
from .internimage_weights import translated

__all__ = ["InternImage"]

_STEPS = (2, 2, 2, 2, 2)


class InternImage(Family):
    """Deformable convolutions and two-layer networks, four levels at strides 4, 8, 16 and 32.

    The defaults are the tiny size.

    Args:
        depths: blocks per level.
        channels: of the first level; doubled from level to level.
        groups: of the first level's deformable convolutions; doubled likewise.
        in_channels: C of the images.
        kernel: taps of the deformable convolutions, odd, one number or one per axis.
        scale: multiplies distances between taps.
        post_norm: norms after the parts of a block, not before.
        strides: of the two convolutions of the stem, and from level to level, each one number or
            one per axis; `geometry.proposed_strides` derives them from the spacing.
        drop_path: how often a sample skips a block while training; grows from 0 to this with depth.
        spatial_dims: D.
        weights: published weights to begin from.

    Raises ValueError unless there is one stride more than depths.
    """

    def __init__(
        self,
        depths: Sequence[int] = (4, 4, 18, 4),
        channels: int = 64,
        groups: int = 4,
        in_channels: int = 3,
        kernel: int | Sequence[int] = 3,
        scale: int = 1,
        post_norm: bool = False,
        strides: Sequence[int | Sequence[int]] = _STEPS,
        drop_path: float = 0.0,
        spatial_dims: int = 2,
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        if len(strides) != len(depths) + 1:
            raise ValueError(
                f"{len(strides)} strides for {len(depths)} levels: expected two for the stem and "
                "one between levels"
            )
        first, second, *between = (per_axis(s, spatial_dims) for s in strides)
        widths = [channels * 2**level for level in range(len(depths))]
        self.in_channels, self.groups = in_channels, groups
        self.kernel = per_axis(kernel, spatial_dims)
        finest = [a * b for a, b in zip(first, second, strict=True)]
        self.spec = PyramidSpec.stepped(widths, [finest, *between])
        self.patch_embed = _Stem(in_channels, channels, first, second)
        rates = drop_path_rates(drop_path, depths)

        def block(level: int, rate: float) -> _Block:
            core = DeformableConv(widths[level], groups * 2**level, self.kernel, scale)
            return _Block(core, widths[level], post_norm, rate)

        self.levels = nn.ModuleList(
            _Level(
                _Down(width // 2, between[level - 1]) if level else nn.Identity(),
                [block(level, rate) for rate in rates[level]],
                nn.Identity() if post_norm else ChannelNorm(width),
            )
            for level, width in enumerate(widths)
        )
        self.begin(weights)

    def translated(self, state: State) -> State:
        """Norms without their place in a sequence, taps in array order and for all axes."""
        return translated(state, self.groups, self.kernel)

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the maps, finest first.

        Raises NotImplementedError when `keep` is given: convolutions cannot skip units.
        """
        if keep is not None:
            raise NotImplementedError("InternImage cannot work on some units only")
        x = self.patch_embed(image)
        maps = []
        for level in self.levels:
            x = level(x)
            maps.append(x)
        return tuple(maps)


class _Stem(nn.Module):
    """Two convolutions of three pixels."""

    def __init__(
        self, in_channels: int, channels: int, first: Sequence[int], second: Sequence[int]
    ) -> None:
        super().__init__()
        dims, half = len(first), channels // 2
        self.conv1 = conv(dims, in_channels, half, 3, stride=first)
        self.norm1 = ChannelNorm(half)
        self.act = nn.GELU()
        self.conv2 = conv(dims, half, channels, 3, stride=second)
        self.norm2 = ChannelNorm(channels)

    def forward(self, image: Tensor) -> Tensor:
        out: Tensor = self.norm2(self.conv2(self.act(self.norm1(self.conv1(image)))))
        return out


class _Down(nn.Module):
    """A convolution of three pixels to twice the channels."""

    def __init__(self, channels: int, stride: Sequence[int]) -> None:
        super().__init__()
        self.conv = conv(len(stride), channels, 2 * channels, 3, bias=False, stride=stride)
        self.norm = ChannelNorm(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.conv(x))
        return out


class _Level(nn.Module):
    """Blocks of one level, behind a step from the finer one."""

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.downsample, self.blocks, self.norm = downsample, nn.Sequential(*blocks), norm

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *S] -> [B, C', *S']."""
        x = self.downsample(x).movedim(1, -1)
        out: Tensor = self.norm(self.blocks(x).movedim(-1, 1))
        return out


class _Block(nn.Module):
    """A deformable convolution, then a network over channels, each scaled and beside a skip."""

    def __init__(self, dcn: DeformableConv, dim: int, post_norm: bool, drop_path: float) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.dcn, self.mlp = dcn, Mlp(dim, 4 * dim)
        self.gamma1, self.gamma2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, *S, C] -> [B, *S, C]."""
        parts = ((self.dcn, self.norm1, self.gamma1), (self.mlp, self.norm2, self.gamma2))
        for part, norm, gamma in parts:
            y = norm(part(x)) if self.post_norm else part(norm(x))
            x = x + self.drop_path(gamma * y)
        return x
