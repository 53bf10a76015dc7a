"""The U-Net family, as MONAI builds it: the baselines that need no published weights.

U-Net (Ronneberger et al., 2015; Çiçek et al., 2016 in 3D) and its relatives return one map as large
as the image: a pyramid of one level at stride 1, where the dense head is a single 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import gcd, prod
from typing import Any, Literal

import torch
from monai.networks import nets
from torch import Tensor, nn

from ..geometry import per_axis
from ..structures import Pyramid, PyramidSpec
from . import Backbone

__all__ = ["UNet"]

Net = Literal["DynUNet", "UNet", "BasicUNet", "AttentionUnet", "SegResNet"]
Options = dict[str, Any]
Strides = Sequence[int | Sequence[int]]  # from level to level, per axis where they differ

_WIDTHS = (32, 64, 128, 256)


class UNet(Backbone):
    """A network from `monai.networks.nets` whose output has the image's size.

    Group norm is the default where the network has a choice: it works for any batch size and,
    unlike instance norm, on images so small that the deepest level is one pixel.

    Args:
        net: its name: DynUNet (nnU-Net's), UNet (with residual units), BasicUNet (which does not
            compile as one graph), AttentionUnet (with batch norm), SegResNet.
        out_channels: channels of the map it returns.
        in_channels: C of the images.
        spatial_dims: D.
        options: further arguments of the network, such as `filters`, `channels` or `features`
            (widths), and `strides`, one value per level or one per axis and level.

    Raises ValueError for another name, and for options with which the output is not one map of the
    image's size.
    """

    def __init__(
        self,
        net: Net = "DynUNet",
        out_channels: int = 32,
        in_channels: int = 3,
        spatial_dims: int = 2,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if net not in _FAMILIES:
            raise ValueError(f"expected a network out of {', '.join(_FAMILIES)}, got {net!r}")
        self.in_channels = in_channels
        complete, steps = _FAMILIES[net](options or {}, out_channels)
        sizes = {"in_channels": in_channels, "out_channels": out_channels}

        def make() -> nn.Module:
            made: nn.Module = getattr(nets, net)(spatial_dims=spatial_dims, **sizes, **complete)
            return made

        strides = [per_axis(step, spatial_dims) for step in steps]
        multiple = tuple(prod(axis) for axis in zip(*strides, strict=True))
        _check_shape(net, make, (2, in_channels, *multiple), out_channels)
        self.net = make()
        self.spec = PyramidSpec((out_channels,), ((1.0,) * spatial_dims,), multiple)

    def forward(
        self, image: Tensor, spacing: Tensor | None = None, keep: Tensor | None = None
    ) -> Pyramid:
        """Compute the one map [B, out_channels, *S].

        Raises NotImplementedError when `keep` is given: convolutions cannot skip units.
        """
        if keep is not None:
            raise NotImplementedError("a U-Net cannot work on some units only")
        return (self.net(image),)


def _check_shape(
    net: str, make: Callable[[], nn.Module], shape: tuple[int, ...], out_channels: int
) -> None:
    """Run a twin without memory on an image of the smallest size."""
    try:
        with torch.device("meta"):
            out = make()(torch.empty(shape))
    except (TypeError, IndexError, RuntimeError) as error:
        raise ValueError(f"{net} does not work with these options: {error}") from error
    if not isinstance(out, Tensor) or out.shape != (shape[0], out_channels, *shape[2:]):
        got = list(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ValueError(
            f"{net} with these options turns {list(shape)} into {got}; expected one map of the "
            "image's size (no deep supervision, as many levels up as down)"
        )


def _group_norm(*widths: int) -> tuple[str, dict[str, int]]:
    """Groups of at least four channels, so that one pixel is enough."""
    return "group", {"num_groups": max(1, gcd(32, *widths) // 4)}


def _basic(options: Options, out_channels: int) -> tuple[Options, Strides]:
    """Five levels, always."""
    more = {"features": (32, 32, 64, 128, 256, 32), **options}
    return {"norm": _group_norm(*more["features"]), **more}, (2, 2, 2, 2)


def _residual(options: Options, out_channels: int) -> tuple[Options, Strides]:
    more = {"channels": _WIDTHS, "strides": (2, 2, 2), "num_res_units": 2, **options}
    return {"norm": _group_norm(out_channels, *more["channels"]), **more}, more["strides"]


def _attention(options: Options, out_channels: int) -> tuple[Options, Strides]:
    """Batch norm, always."""
    more = {"channels": _WIDTHS, "strides": (2, 2, 2), **options}
    return more, more["strides"]


def _dynamic(options: Options, out_channels: int) -> tuple[Options, Strides]:
    """Strides and kernels may differ per axis; the first stride is that of the first level."""
    more = {"strides": (1, 2, 2, 2), **options}
    levels = len(more["strides"])
    more = {"filters": [min(32 * 2**i, 320) for i in range(levels)], **more}
    derived = {
        "kernel_size": (3,) * levels,
        "upsample_kernel_size": more["strides"][1:],
        "norm_name": _group_norm(*more["filters"]),
    }
    return {**derived, **more}, more["strides"]


def _encoder_heavy(options: Options, out_channels: int) -> tuple[Options, Strides]:
    """Brings group norm of its own."""
    more = {"init_filters": 16, "blocks_down": (1, 2, 2, 4), **options}
    return more, (2,) * (len(more["blocks_down"]) - 1)


_FAMILIES: dict[str, Callable[[Options, int], tuple[Options, Strides]]] = {
    "DynUNet": _dynamic,
    "UNet": _residual,
    "BasicUNet": _basic,
    "AttentionUnet": _attention,
    "SegResNet": _encoder_heavy,
}
