"""Published weights of vision transformers: timm's, ViTDet's (two spellings) and SAM's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import isqrt, prod

import torch
from torch import Tensor

from ..weights import LoadReport, State, with_new_axes

_NAMES = (  # all of them, one after the other
    (r"^(backbone\.net|image_encoder|encoder|embeddings)\.", ""),
    (r"^layer\.", "blocks."),
    (r"^position_embeddings$", "pos_embed"),
    (r"^(projection|patch_embed\.proj)\.", "patch_embed."),
    (r"^fc_norm\.", "norm."),
    (r"\.attention\.", ".attn."),
    (r"\.mlp\.lin", ".mlp.fc"),
    (r"\.rel_pos_h$", ".relative.tables.0"),
    (r"\.rel_pos_w$", ".relative.tables.1"),
    (r"^blocks\.(\d+)\.residual\.", r"residuals.\1."),
    (r"\.conv(\d)\.norm\.", r".norm\1."),
)


_FELT = re.compile(r"(pos_embed|registers|norm_pre|patch_embed)\b|(blocks|residuals)\.(\d+)\.")


def translated(state: State, grid: Sequence[int]) -> State:
    """Our names and layouts: positions on a grid, class tokens among the registers.

    Args:
        state: published tensors by their own names.
        grid: the tokens per axis that our positions are for.

    Raises ValueError for a sequence of positions of neither that grid nor a square one.
    """
    named = {_renamed(k): v for k, v in state.items()}
    dim = len(named["patch_embed.weight"]) if "patch_embed.weight" in named else 0
    tokens = [named.pop(k) for k in ("cls_token", "reg_token") if k in named]
    registers = torch.cat(tokens, 1) if tokens else torch.zeros(1, 0, dim)
    before, placed = _positions(named.pop("pos_embed", None), dim, registers.shape[1], grid[-2:])
    if placed is not None:
        named["pos_embed"] = placed
    if "registers" not in named:
        with_place = min(before.shape[1], registers.shape[1])
        registers[:, :with_place] += before[:, :with_place]
        named["registers"] = registers
    return with_new_axes(named, r"(.+\.tables\.)(\d+)", len(grid))


def left_out(state: State, report: LoadReport, depth: int, on_grid_only: bool) -> list[str]:
    """What of `state` the features would lack, and what to set so that they have it.

    Heads and whole blocks beyond `depth` may be left out; so may class tokens where registers
    cannot be, as ViTDet does.
    """
    lost: dict[str, list[str]] = {}
    for key in (*report.unused, *report.mismatched):
        felt = _FELT.match(key)
        if felt is None or int(felt[3] or 0) >= depth or (on_grid_only and felt[1] == "registers"):
            continue
        lost.setdefault(_way_out(key, state), []).append(key)
    return [f"{keys[0]}{', …' * (len(keys) > 1)}: {way}" for way, keys in lost.items()]


def _way_out(key: str, state: State) -> str:
    if key.startswith("registers"):
        return f"set num_registers={state['registers'].shape[1]}"
    if ".tables." in key:
        return "set relative=True, and the num_heads of the file"
    if " for " in key:
        return "shapes differ"
    if key == "pos_embed":
        return "set positions='absolute'"
    if key.startswith("residuals."):
        return "set residual='all' or 'last', and groups"
    return "ViT has no such part"


def _renamed(key: str) -> str:
    for pattern, replacement in _NAMES:
        key = re.sub(pattern, replacement, key)
    return key


def _positions(
    value: Tensor | None, dim: int, tokens: int, grid: Sequence[int]
) -> tuple[Tensor, Tensor | None]:
    """Positions of tokens without a place [1, prefix, C], and of a grid [1, C, *grid]."""
    none = torch.zeros(1, 0, dim)
    if value is None or (value.ndim > 3 and value.shape[1] == dim):  # ours
        return none, value
    if value.ndim > 3:  # SAM's [1, *grid, C]
        return none, value.movedim(-1, 1)
    prefix, shape = _layout(value.shape[1], tokens, grid)
    return value[:, :prefix], value[:, prefix:].mT.unflatten(2, shape)


def _layout(length: int, tokens: int, grid: Sequence[int]) -> tuple[int, tuple[int, ...]]:
    """How many positions of a sequence come before its grid, and this grid: ours, or a square.

    All tokens have positions, or none, or one: DINOv2's class token beside registers, and ViTDet's
    although it has been dropped.
    """
    prefixes = [p for p in sorted({0, 1, tokens}) if p < length]
    for prefix in prefixes:
        if length - prefix == prod(grid):
            return prefix, tuple(grid)
    for prefix in prefixes:
        side = isqrt(length - prefix)
        if side**2 == length - prefix:
            return prefix, (side, side)
    raise ValueError(
        f"{length} positions, {tokens} class and register tokens: neither a square grid nor one of "
        f"{[*grid]}; set positions='absolute', and grid to the tokens per axis of the file"
    )
