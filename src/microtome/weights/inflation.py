"""Weights made for images, for other channels, sizes and numbers of axes.

A network that begins so treats a volume that is constant along its new axes as the image it is
made of, as far as its architecture allows. New axes are the first ones: an image is one slice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import resize_cubic
from .reading import State

_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COLOURS = 3


def adapted(value: Tensor, own: Tensor, owner: nn.Module) -> Tensor:
    """Bring a foreign tensor nearer to the shape of `own`, a tensor that `owner` holds itself.

    Kernels get new axes and channels; parameters that no layer of PyTorch's holds are taken for
    positions, [1, C, *grid] or [places, C], and are resampled. All else is returned as it is.
    """
    if isinstance(owner, _CONV) and own.ndim > 2:
        return _deeper(_coloured(value, own.shape[1]), own, owner.padding)
    if isinstance(owner, _TRANSPOSED) and own.ndim > 2:
        return _deeper(value, own, None)
    if type(owner).__module__.startswith("torch.nn.") and not isinstance(owner, nn.ParameterList):
        return value
    if own.ndim == 2 and value.ndim == 2 and value.shape[1] == own.shape[1]:
        table: Tensor = F.interpolate(value.T[None], len(own), mode="linear")[0].T
        return table
    if own.ndim > 2 and value.ndim > 2 and value.shape[:2] == own.shape[:2]:
        return _placed(value, own)
    return value


def _coloured(value: Tensor, channels: int) -> Tensor:
    """Kernels of colour images [O, 3, …] for other channels: their sum, or repeated in turn.

    They are weighted so that equal channels give what they gave before.
    """
    if value.ndim < 3 or value.shape[1] != _COLOURS or channels == _COLOURS:
        return value
    if channels < _COLOURS:
        return (value.sum(1, keepdim=True) / channels).repeat_interleave(channels, 1)
    turns = torch.arange(channels, device=value.device) % _COLOURS
    shares = 1 / turns.bincount().to(value.dtype)[turns]
    return value[:, turns] * shares.view(-1, *[1] * (value.ndim - 2))


def _deeper(value: Tensor, own: Tensor, padding: Sequence[int] | str | None) -> Tensor:
    """Kernels [O, I, *S] with new axes in front of S.

    Where every pixel is seen once (patches) the new axis is averaged over. Elsewhere the kernel is
    put into the middle slice, so that the border of zeros changes nothing (Arnab et al., ViViT,
    2021). Transposed kernels, which have no `padding`, are repeated: each pixel sees one slice.
    """
    new = own.ndim - value.ndim
    if new <= 0:
        return value
    sizes = tuple(own.shape[2 : 2 + new])
    slices = value.reshape(*value.shape[:2], *[1] * new, *value.shape[2:])
    if padding is not None and any(padding[:new]):
        around = [n for s in reversed(sizes) for n in (s // 2, s - 1 - s // 2)]
        return F.pad(slices, [0, 0] * (value.ndim - 2) + around)
    spread = slices.expand(*value.shape[:2], *sizes, *value.shape[2:])
    return spread if padding is None else spread / prod(sizes)


def _placed(value: Tensor, own: Tensor) -> Tensor:
    """Positions [1, C, *grid], resampled to the grid's size and repeated along new axes."""
    new = own.ndim - value.ndim
    if new < 0:
        return value
    value = resize_cubic(value, own.shape[2 + new :])
    return value.reshape(*value.shape[:2], *[1] * new, *value.shape[2:]).expand_as(own)


def with_new_axes(state: State, pattern: str, spatial_dims: int) -> State:
    """Move parameters that come one per axis to the last axes; new axes get zeros.

    Args:
        state: tensors by name.
        pattern: matches such names: what comes before the number of the axis, and the number.
        spatial_dims: how many axes are wanted.
    """
    found = {key: match for key in state if (match := re.fullmatch(pattern, key))}
    new = spatial_dims - len({match[2] for match in found.values()})
    moved = {key: value for key, value in state.items() if key not in found}
    for key, match in found.items():
        moved[f"{match[1]}{int(match[2]) + new}"] = state[key]
        if int(match[2]) == 0:
            empty = torch.zeros_like(state[key])
            moved |= {f"{match[1]}{axis}": empty for axis in range(new)}
    return moved
