"""Published weights of vision transformers: timm's, ViTDet's (two spellings) and SAM's."""

from __future__ import annotations

import re
from math import isqrt

import torch
from torch import Tensor

from ..weights import State, with_new_axes

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


def translated(state: State, spatial_dims: int) -> State:
    """Our names and layouts: positions on a grid, class tokens among the registers."""
    named = {_renamed(k): v for k, v in state.items()}
    dim = len(named["patch_embed.weight"]) if "patch_embed.weight" in named else 0
    before, grid = _positions(named.pop("pos_embed", None), dim)
    if grid is not None:
        named["pos_embed"] = grid
    tokens = [named.pop(k) for k in ("cls_token", "reg_token") if k in named]
    if "registers" not in named:
        registers = torch.cat(tokens, 1) if tokens else torch.zeros(1, 0, dim)
        with_place = min(before.shape[1], registers.shape[1])
        registers[:, :with_place] += before[:, :with_place]
        named["registers"] = registers
    return with_new_axes(named, r"(.+\.tables\.)(\d+)", spatial_dims)


def _renamed(key: str) -> str:
    for pattern, replacement in _NAMES:
        key = re.sub(pattern, replacement, key)
    return key


def _positions(value: Tensor | None, dim: int) -> tuple[Tensor, Tensor | None]:
    """Positions of tokens without a place [1, prefix, C], and of a grid [1, C, *grid].

    Sequences [1, prefix + N, C] are those of square grids.
    """
    none = torch.zeros(1, 0, dim)
    if value is None or (value.ndim > 3 and value.shape[1] == dim):  # ours
        return none, value
    if value.ndim > 3:  # SAM's [1, *grid, C]
        return none, value.movedim(-1, 1)
    side = isqrt(value.shape[1])
    prefix = value.shape[1] - side**2
    return value[:, :prefix], value[:, prefix:].mT.unflatten(2, (side, side))
