"""Feature pyramid networks (Lin et al., CVPR 2017), N-D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn import functional as F

from ..layers import conv, every_second
from ..structures import Pyramid, PyramidSpec
from ..weights import load_weights, read_state
from . import Neck, pyramid_of

__all__ = ["FPN"]

PUBLISHED = "backbone.fpn."


class FPN(Neck):
    """Each level sees the coarser ones; all have the same number of channels.

    Names of the weights are torchvision's.

    Args:
        spec: what the backbone promises.
        out_channels: channels of every level.
        levels: which of the backbone's levels go in: indices, finest first; all when None.
        returned: which of these come out; all when None. The finest has to, or it would be useless.
        extra: number of further levels, each of every second cell of the one before.
        pretrained: a local file or folder of a detector with such a neck in torchvision's layout.

    Raises ValueError for levels that are not there, not finest first, or none, and for weights that
    do not fit.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        out_channels: int = 256,
        levels: Sequence[int] | None = None,
        returned: Sequence[int] | None = None,
        extra: int = 0,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        self.levels = _chosen(levels, tuple(range(len(spec.channels))))
        self.returned = _chosen(returned, self.levels)
        if self.returned[0] != self.levels[0]:
            raise ValueError(f"level {self.levels[0]} goes in, but nothing that comes out sees it")
        self.extra = extra
        dims = spec.spatial_dims
        self.inner_blocks = nn.ModuleList(
            nn.Sequential(conv(dims, spec.channels[i], out_channels)) for i in self.levels
        )
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(conv(dims, out_channels, out_channels, 3)) for _ in self.returned
        )
        strides = [spec.strides[i] for i in self.returned]
        strides += [tuple(s * 2 ** (i + 1) for s in strides[-1]) for i in range(extra)]
        self.spec = pyramid_of(out_channels, strides, spec.multiple)
        self.reset_parameters()
        if pretrained is not None:
            state = {k: v for k, v in read_state(pretrained).items() if k.startswith(PUBLISHED)}
            load_weights(self, state, ((PUBLISHED.replace(".", r"\."), ""),), at_least=1)

    def restated(self) -> dict[str, Any]:
        """Say what was built, not where weights were found: rebuilding needs no file."""
        return {"pretrained": None}

    def reset_parameters(self) -> None:
        """Uniform weights that keep the variance, zero biases."""
        for block in (*self.inner_blocks, *self.layer_blocks):
            nn.init.kaiming_uniform_(block[0].weight, a=1)
            nn.init.zeros_(block[0].bias)

    def forward(self, pyramid: Pyramid) -> Pyramid:
        """Maps [B, C_l, *S_l] to maps [B, out_channels, *S_l], finest first."""
        chosen = [pyramid[level] for level in self.levels]
        merged = [block(x) for block, x in zip(self.inner_blocks, chosen, strict=True)]
        for i in reversed(range(len(merged) - 1)):
            above = F.interpolate(merged[i + 1], size=merged[i].shape[2:], mode="nearest")
            merged[i] = merged[i] + above
        out = [merged[self.levels.index(level)] for level in self.returned]
        maps = [block(x) for block, x in zip(self.layer_blocks, out, strict=True)]
        for _ in range(self.extra):
            maps.append(every_second(maps[-1]))
        return tuple(maps)


def _chosen(wanted: Sequence[int] | None, there: tuple[int, ...]) -> tuple[int, ...]:
    chosen = there if wanted is None else tuple(wanted)
    if not chosen or list(chosen) != sorted({*chosen} & {*there}):
        raise ValueError(f"expected some of the levels {[*there]}, in order, got {[*chosen]}")
    return chosen
