"""Published weights of Mask2Former (transformers' names and layout) into our head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..layers.deformable import flip_offset_rows
from ..weights import KeyMap, LoadReport, State, read_state
from .published import fill

_PIXELS, _DECODER = r"^model\.pixel_level_module\.decoder\.", r"^model\.transformer_module\."
_LAYER = r"(layers\.\d+)\."

FROM_TRANSFORMERS: KeyMap = (
    (_PIXELS + r"input_projections\.", "pixels.project."),
    (_PIXELS + r"level_embed", "pixels.level_embed"),
    (_PIXELS + r"encoder\." + _LAYER + r"self_attn\.", r"pixels.\1.attend."),
    (_PIXELS + r"encoder\." + _LAYER + r"self_attn_layer_norm\.", r"pixels.\1.attend_norm."),
    (_PIXELS + r"encoder\." + _LAYER + r"final_layer_norm\.", r"pixels.\1.ffn_norm."),
    (_PIXELS + r"encoder\." + _LAYER + r"fc1\.", r"pixels.\1.ffn.0."),
    (_PIXELS + r"encoder\." + _LAYER + r"fc2\.", r"pixels.\1.ffn.2."),
    (_PIXELS + r"adapter_1\.", "pixels.laterals.0."),
    (_PIXELS + r"layer_1\.", "pixels.merges.0."),
    (_PIXELS + r"mask_projection\.", "pixels.to_features."),
    (_DECODER + r"queries_features\.weight", "decoder.queries"),
    (_DECODER + r"queries_embedder\.weight", "decoder.places"),
    (_DECODER + r"level_embed\.weight", "decoder.level_embed"),
    (_DECODER + r"decoder\." + _LAYER + r"self_attn\.([qkv])_proj\.", r"decoder.\1.talk.\2."),
    (_DECODER + r"decoder\." + _LAYER + r"cross_attn\.([qkv])_proj\.", r"decoder.\1.look.\2."),
    (_DECODER + r"decoder\." + _LAYER + r"self_attn\.out_proj\.", r"decoder.\1.talk.out."),
    (_DECODER + r"decoder\." + _LAYER + r"cross_attn\.out_proj\.", r"decoder.\1.look.out."),
    (_DECODER + r"decoder\." + _LAYER + r"self_attn_layer_norm\.", r"decoder.\1.talk_norm."),
    (_DECODER + r"decoder\." + _LAYER + r"cross_attn_layer_norm\.", r"decoder.\1.look_norm."),
    (_DECODER + r"decoder\." + _LAYER + r"final_layer_norm\.", r"decoder.\1.ffn_norm."),
    (_DECODER + r"decoder\." + _LAYER + r"fc1\.", r"decoder.\1.ffn.0."),
    (_DECODER + r"decoder\." + _LAYER + r"fc2\.", r"decoder.\1.ffn.2."),
    (_DECODER + r"decoder\.layernorm\.", "decoder.norm."),
    (_DECODER + r"decoder\.mask_predictor\.mask_embedder\.0\.0\.", "decoder.embed.0."),
    (_DECODER + r"decoder\.mask_predictor\.mask_embedder\.1\.0\.", "decoder.embed.2."),
    (_DECODER + r"decoder\.mask_predictor\.mask_embedder\.2\.0\.", "decoder.embed.4."),
    (r"^class_predictor\.", "decoder.classify."),
)

_OWN = (r"^decoder\.classify\.", r"^pixels\.(project|laterals)\.\d+\.0\.")  # of classes, backbone


def load_published(head: nn.Module, path: str) -> LoadReport:
    """Fill a Mask2Former from a local file or folder; the backbone's weights are left out.

    The layers that depend on the classes or on the backbone's channels stay as they are where
    their shapes differ, and a warning names them. Everything else has to be there and to fit.

    Raises ValueError when it does not, and what `weights.read_state` raises.
    """
    state = transformers_state(read_state(path))
    return fill(head, state, FROM_TRANSFORMERS, _OWN, path)


def transformers_state(state: State) -> State:
    """Bring what names alone cannot: array order of offsets, and q, k, v apart.

    For the weights of transformers' `Mask2FormerForUniversalSegmentation`. The backbone's are left
    out, and the loss's.
    """
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        if key.startswith("model.pixel_level_module.encoder.") or key.startswith("criterion."):
            continue
        if ".sampling_offsets." in key:
            ours[key] = flip_offset_rows(value)
        elif ".in_proj_" in key:
            for name, part in zip("qkv", torch.chunk(value, 3), strict=True):
                ours[key.replace("in_proj_", f"{name}_proj.")] = part
        else:
            ours[key] = value
    return ours
