"""Published weights of InternImage: the authors' names, steps and taps."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from torch import Tensor

from ..weights import State

_NAMES = (  # all of them, one after the other
    (r"^backbone\.", ""),
    (r"(norm\d?)\.[01]\.", r"\1."),
    (r"dw_conv\.1\.1\.", "dw_conv.1."),
)
_TAPS = re.compile(r"(levels\.(\d+)\.blocks\.\d+\.dcn\.)(offset|mask|offsets|modulation)\.(.+)")
_OURS = {"offset": "offsets", "mask": "modulation"}


def translated(state: State, groups: int, kernel: Sequence[int]) -> State:
    """Our names; steps belong to the level they lead to; taps in array order and for all axes.

    Args:
        state: tensors by the authors' names or ours.
        groups: of the first level.
        kernel: taps per axis.
    """
    moved = State()
    theirs = any(".dcn.offset." in key for key in state)
    for key, value in state.items():
        if theirs:
            key = _renamed(key)
        if found := _TAPS.fullmatch(key):
            name = _OURS.get(found[3], found[3])
            of_level = groups * 2 ** int(found[2])
            value = _with_axes(value, of_level, kernel, name == "offsets", theirs)
            key = f"{found[1]}{name}.{found[4]}"
        moved[key] = value
    return moved


def _renamed(key: str) -> str:
    for pattern, replacement in _NAMES:
        key = re.sub(pattern, replacement, key)
    if found := re.fullmatch(r"levels\.(\d+)\.downsample\.(.+)", key):
        key = f"levels.{int(found[1]) + 1}.downsample.{found[2]}"
    return key


def _with_axes(
    rows: Tensor, groups: int, kernel: Sequence[int], is_offset: bool, foreign: bool
) -> Tensor:
    """Rows of the layers that predict per tap [G * K (* D), …], for the kernel at hand.

    The authors' taps and offsets are for the plane, x first. Along a new axis taps are repeated
    and not moved, which changes nothing but at the borders of zeros (nothing at all where the
    kernel is one tap deep).
    """
    plane, axes = tuple(kernel[-2:]), 2 if is_offset else 1
    if len(rows) != groups * plane[0] * plane[1] * axes:
        return rows
    taps = rows.reshape(groups, *(plane[::-1] if foreign else plane), axes, *rows.shape[1:])
    if foreign:
        taps = taps.transpose(1, 2).flip(3)  # of one number per tap the flip is nothing
    for size in reversed(kernel[:-2]):
        taps = taps[:, None].expand(-1, size, *taps.shape[1:])
    if is_offset and len(kernel) > 2:
        place = len(kernel) + 1
        still = torch.zeros_like(taps.narrow(place, 0, 1))
        taps = torch.cat([*[still] * (len(kernel) - 2), taps], place)
    return taps.flatten(0, len(kernel) + 1)
