"""Published tensors of foundation models to timm's names, one converter per layout.

timm's fused attention wants `qkv`; its packed SwiGLU wants gate and value in `fc1`, in this order;
models with registers hold positions for patches only, so that of the class token is added to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor

from ..weights import KeyMap, State
from .published import Convert

__all__ = ["CONVERTERS"]

_HUGGING_FACE: KeyMap = (  # of its ViT and its DINOv2, by the names of versions 4 and 5
    (r"^(vit|dinov2|dinov2_with_registers|model)\.", ""),
    (r"^embeddings\.", ""),
    (r"^position_embeddings$", "pos_embed"),
    (r"^register_tokens$", "reg_token"),
    (r"^patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.", ""),
    (r"^layers?\.", "blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.attention\.", ".attention."),
    (r"\.attention\.(query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(value|v_proj)\.", ".attn.v."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".ls\1.gamma"),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.mlp\.gate_proj\.", ".mlp.gate."),
    (r"\.mlp\.up_proj\.", ".mlp.value."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
    (r"^layernorm\.", "norm."),
)
_DINOV3: KeyMap = (
    (r"^storage_tokens$", "reg_token"),
    (r"\.ls(\d)\.gamma$", r".gamma_\1"),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
_FUSED = (("attn.qkv", ("attn.q", "attn.k", "attn.v")), ("mlp.fc1", ("mlp.gate", "mlp.value")))


def _timm(state: State, model: Any) -> State:
    """timm's own names; a classifier is left out."""
    return _without(state, "head.", "fc_norm.")


def _hugging_face(state: State, model: Any) -> State:
    """Transformers' ViT and DINOv2, with registers or without."""
    named = _renamed(_without(state, "pooler.", "classifier."), _HUGGING_FACE)
    named.pop("mask_token", None)
    for whole, parts in _FUSED:
        named = _fused(named, whole, parts)
    return _places_of_patches_only(named)


def _dinov2(state: State, model: Any) -> State:
    """Meta's DINOv2 code; blocks may lie in chunks."""
    named = {re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", k): v for k, v in state.items()}
    named.pop("mask_token", None)
    layout = ((r"^register_tokens$", "reg_token"), (r"\.w12\.", ".fc1."), (r"\.w3\.", ".fc2."))
    return _places_of_patches_only(_renamed(named, layout))


def _teacher(state: State, model: Any) -> State:
    """A teacher of DINO or iBOT training: its backbone, without the heads of the training."""
    backbone = _below(state, "backbone.", "encoder.")
    return _dinov2(_without(backbone, "dino_head.", "ibot_head.", "head."), model)


def _conch(state: State, model: Any) -> State:
    """The image encoder's trunk out of CONCH's model of images and text."""
    return _without(_below(state, "visual.trunk."), "head.", "fc_norm.")


def _conch_v1_5(state: State, model: Any) -> State:
    """The trunk of CONCHv1.5, without its pooling by attention."""
    return _without(_below(state, "trunk."), "attn_pool", "ln_contrast.", "head.")


def _keep(state: State, model: Any) -> State:
    """The image encoder of KEEP."""
    named = _renamed(_below(state, "visual."), ((r"\.ls(\d)\.weight$", r".ls\1.gamma"),))
    return _without(named, "head.", "fc_norm.")


def _musk(state: State, model: Any) -> State:
    """The image branch of MUSK's BEiT-3; timm knows its blocks."""
    named = _without(state, "vision_head.", "language_head.", "logit_scale")
    converted = dict(checkpoint_filter_fn(named, model))
    return _renamed(converted, ((r"^layer_norm\.", "norm."),))


def _dinov3(state: State, model: Any) -> State:
    """Meta's DINOv3 code; rotary positions are computed, not stored.

    Raises ValueError for biases of attention, which timm's model of this layout does not have.
    """
    kept: State = {}
    own = dict(model.named_parameters())
    for key, value in _without(state, "mask_token", "local_cls_norm.", "rope_embed.").items():
        bias = key.endswith("attn.qkv.bias") and key not in own
        if bias and value.ne(0).any():
            raise ValueError(f"{key}: not all zero, and the architecture has no such bias")
        if not bias and not key.endswith(".bias_mask"):
            kept[key] = value
    return _renamed(kept, _DINOV3)


CONVERTERS: dict[str, Convert] = {
    "timm": _timm,
    "hf_vit": _hugging_face,
    "hf_dinov2": _hugging_face,
    "hf_dinov2_reg": _hugging_face,
    "dinov2_raw": _dinov2,
    "dino_teacher": _teacher,
    "conch": _conch,
    "conch_v1_5": _conch_v1_5,
    "keep": _keep,
    "musk": _musk,
    "dinov3_eva": _dinov3,
}


def _renamed(state: State, rules: KeyMap) -> State:
    """Apply all rules to each name, one after the other."""

    def name(key: str) -> str:
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        return key

    return {name(k): v for k, v in state.items()}


def _without(state: State, *prefixes: str) -> State:
    return {k: v for k, v in state.items() if not k.startswith(prefixes)}


def _below(state: State, *prefixes: str) -> State:
    """What stands under a prefix, by its name there; all of it where nothing does."""
    for prefix in prefixes:
        inner = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if inner:
            return inner
    return state


def _fused(state: State, whole: str, parts: Iterable[str]) -> State:
    """Join the tensors of `parts` of each block into the one of `whole`."""
    first, *others = (f".{part}." for part in parts)
    joined: State = {}
    for key, value in state.items():
        if first in key:
            rest = [state[key.replace(first, other)] for other in others]
            joined[key.replace(first, f".{whole}.")] = torch.cat([value, *rest])
        elif not any(other in key for other in others):
            joined[key] = value
    return joined


def _places_of_patches_only(state: State) -> State:
    """Where there are registers, add the class token's position to it and drop it."""
    if "reg_token" not in state:
        return state
    positions: Tensor = state["pos_embed"]
    token = state["cls_token"] + positions[:, :1]
    return {**state, "cls_token": token, "pos_embed": positions[:, 1:]}
