"""ConvNeXt V2 (Woo et al., CVPR 2023), N-D. Names of the weights are timm's."""

from __future__ import annotations

from collections.abc import Sequence

from timm.layers import DropPath
from torch import Tensor, nn

from ..geometry import per_axis
from ..layers import ChannelNorm, ResponseNorm, conv, draw_weights, drop_path_rates, patches
from ..structures import Pyramid, PyramidSpec
from ..weights import State
from .family import Family, Weights

__all__ = ["ConvNeXt"]


class ConvNeXt(Family):
    """Depthwise convolutions and two-layer networks, four levels at strides 4, 8, 16 and 32.

    The defaults are the tiny size.

    Args:
        depths: blocks per level.
        dims: channels per level.
        in_channels: C of the images.
        kernel: pixels of the depthwise convolutions, odd, one number or one per axis.
        strides: of the stem and from level to level, each one number or one per axis;
            `geometry.proposed_strides` derives them from the spacing.
        drop_path: how often a sample skips a block while training; grows from 0 to this with depth.
        spatial_dims: D.
        weights: published weights to begin from: timm's or the authors'.

    Raises ValueError unless depths, dims and strides are equally many.
    """

    key_map = (
        (r"^downsample_layers\.0\.(\d)", r"stem.\1"),
        (r"^downsample_layers\.(\d+)\.(\d)", r"stages.\1.downsample.\2"),
        (r"^(stages\.\d+)\.(\d+)\.dwconv", r"\1.blocks.\2.conv_dw"),
        (r"^(stages\.\d+)\.(\d+)\.norm", r"\1.blocks.\2.norm"),
        (r"^(stages\.\d+)\.(\d+)\.pwconv", r"\1.blocks.\2.mlp.fc"),
        (r"^(stages\.\d+)\.(\d+)\.grn\.gamma", r"\1.blocks.\2.mlp.grn.weight"),
        (r"^(stages\.\d+)\.(\d+)\.grn\.beta", r"\1.blocks.\2.mlp.grn.bias"),
    )

    def __init__(
        self,
        depths: Sequence[int] = (3, 3, 9, 3),
        dims: Sequence[int] = (96, 192, 384, 768),
        in_channels: int = 3,
        kernel: int | Sequence[int] = 7,
        strides: Sequence[int | Sequence[int]] = (4, 2, 2, 2),
        drop_path: float = 0.0,
        spatial_dims: int = 2,
        weights: Weights | None = None,
    ) -> None:
        super().__init__()
        if not len(depths) == len(dims) == len(strides):
            raise ValueError(
                f"{len(depths)} depths, {len(dims)} dims and {len(strides)} strides: expected "
                "one of each per level"
            )
        steps = [per_axis(s, spatial_dims) for s in strides]
        self.in_channels, self.spec = in_channels, PyramidSpec.stepped(dims, steps)
        self.stem = nn.Sequential(patches(steps[0], in_channels, dims[0]), ChannelNorm(dims[0]))
        size, rates = per_axis(kernel, spatial_dims), drop_path_rates(drop_path, depths)
        before = (dims[0], *dims)
        self.stages = nn.ModuleList(
            _Stage(before[i], dims[i], steps[i] if i else (), size, rates[i])
            for i in range(len(dims))
        )
        self.reset_parameters()
        self.begin(weights)

    def reset_parameters(self) -> None:
        """Truncated normal of deviation 0.02 for weights, zero for biases."""
        draw_weights(self, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)

    def translated(self, state: State) -> State:
        """Kernels of one pixel and norms on four axes become matrices and vectors."""
        flat = {k: v.flatten(1) for k, v in state.items() if "mlp.fc" in k and v.ndim > 2}
        flat |= {k: v.flatten() for k, v in state.items() if ".grn." in k}
        return {**state, **flat}

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the maps, finest first.

        Raises NotImplementedError when `keep` is given: convolutions cannot skip units.
        """
        if keep is not None:
            raise NotImplementedError("ConvNeXt cannot work on some units only")
        x = self.stem(image)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


class _Stage(nn.Module):
    """Blocks of one level, behind a step from the finer one; the finest has no step."""

    def __init__(
        self,
        in_channels: int,
        dim: int,
        step: Sequence[int],
        kernel: Sequence[int],
        rates: Sequence[float],
    ) -> None:
        super().__init__()
        self.downsample = nn.Sequential()
        if step:
            self.downsample.append(ChannelNorm(in_channels))
            self.downsample.append(patches(step, in_channels, dim))
        self.blocks = nn.Sequential(*(_Block(dim, kernel, rate) for rate in rates))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(self.downsample(x))
        return out


class _Block(nn.Module):
    """A depthwise convolution over pixels, then a network over channels, beside a skip."""

    def __init__(self, dim: int, kernel: Sequence[int], drop_path: float) -> None:
        super().__init__()
        self.conv_dw = conv(len(kernel), dim, dim, kernel, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = _ResponseMlp(dim, 4 * dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *S] -> [B, C, *S]."""
        y = self.conv_dw(x).movedim(1, -1)
        out: Tensor = x + self.drop_path(self.mlp(self.norm(y)).movedim(-1, 1))
        return out


class _ResponseMlp(nn.Module):
    """Two layers with global response normalisation between: [B, *S, C] -> the same."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.grn = ResponseNorm(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.grn(self.act(self.fc1(x))))
        return out
