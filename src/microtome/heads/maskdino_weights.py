"""Published weights of Mask DINO (detectron2's names, IDEA-Research's layout) into our head.

Of the models with three encoded levels, finest last (`FEATURE_ORDER: high2low`), whose encoder's
feed-forward part is 1,024 wide (`maskdino_R50_bs16_50ep_3s` and the like). With `low2high` names
are the same, but neither the order of levels is nor are the boxes that places propose: there 0.05
is the size at the coarsest level, here at the finest.
"""

from __future__ import annotations

import re
from itertools import count, takewhile

import torch
from torch import Tensor, nn

from ..layers.deformable import flip_offset_rows
from ..weights import KeyMap, LoadReport, State, read_state
from .pixel_decoder import ENCODED, WIDER
from .published import fill

_PIXELS, _DECODER = r"^sem_seg_head\.pixel_decoder\.", r"^sem_seg_head\.predictor\."
_LAYER = r"layers\.(\d+)\."
_ENCODED = _PIXELS + r"transformer\.encoder\." + _LAYER
_DECODED = _DECODER + r"decoder\." + _LAYER


def _linears(name: str, ours: str, count: int) -> KeyMap:
    """Linear layers one after the other; ours have a ReLU between them."""
    return tuple((rf"{name}{i}\.", f"{ours}.{2 * i}.") for i in range(count))


FROM_PUBLISHED: KeyMap = (
    (_PIXELS + r"input_proj\.", "pixels.project."),
    (_PIXELS + r"transformer\.level_embed", "pixels.level_embed"),
    (_ENCODED + r"self_attn\.", r"pixels.layers.\1.attend."),
    (_ENCODED + r"norm1\.", r"pixels.layers.\1.attend_norm."),
    (_ENCODED + r"norm2\.", r"pixels.layers.\1.ffn_norm."),
    (_ENCODED + r"linear1\.", r"pixels.layers.\1.ffn.0."),
    (_ENCODED + r"linear2\.", r"pixels.layers.\1.ffn.2."),
    (_PIXELS + r"adapter_1\.norm\.", "pixels.laterals.0.1."),
    (_PIXELS + r"adapter_1\.", "pixels.laterals.0.0."),
    (_PIXELS + r"layer_1\.norm\.", "pixels.merges.0.1."),
    (_PIXELS + r"layer_1\.", "pixels.merges.0.0."),
    (_PIXELS + r"mask_features\.", "pixels.to_features."),
    (_DECODER + r"enc_output\.", "decoder.select."),
    (_DECODER + r"enc_output_norm\.", "decoder.select_norm."),
    (_DECODER + r"class_embed\.", "decoder.classify."),
    (_DECODER + r"label_enc\.", "decoder.labels."),
    (_DECODER + r"decoder_norm\.", "decoder.norm."),
    *_linears(_DECODER + r"mask_embed\.layers\.", "decoder.embed", 3),
    *_linears(_DECODER + r"_bbox_embed\.layers\.", "decoder.correct.layers", 3),
    *_linears(_DECODER + r"decoder\.ref_point_head\.layers\.", "decoder.embed_box.layers", 2),
    (_DECODED + r"cross_attn\.", r"decoder.layers.\1.look."),
    (_DECODED + r"self_attn\.out_proj\.", r"decoder.layers.\1.talk.out."),
    (_DECODED + r"self_attn\.", r"decoder.layers.\1.talk."),
    (_DECODED + r"norm1\.", r"decoder.layers.\1.look_norm."),
    (_DECODED + r"norm2\.", r"decoder.layers.\1.talk_norm."),
    (_DECODED + r"norm3\.", r"decoder.layers.\1.ffn_norm."),
    (_DECODED + r"linear1\.", r"decoder.layers.\1.ffn.0."),
    (_DECODED + r"linear2\.", r"decoder.layers.\1.ffn.2."),
)

_TWICE = r"^sem_seg_head\.predictor\.(bbox_embed|decoder\.(bbox_embed|norm))\."  # under other names
_OWN = (r"^decoder\.(classify|labels)\.", r"^pixels\.(project|laterals)\.\d+\.0\.")


def load_published(head: nn.Module, path: str) -> LoadReport:
    """Fill a MaskDINO from a local file or folder; the backbone's weights are left out.

    The layers that depend on the classes or on the backbone's channels stay as they are where
    their shapes differ, and a warning names them. Everything else has to be there and to fit.

    Raises ValueError when it does not, and for other layouts than this head's; and what
    `weights.read_state` raises.
    """
    state = read_state(path)
    wrong = other_layout(state)
    if wrong:
        raise ValueError(
            f"{path}: a Mask DINO of another layout: {'; '.join(wrong)}. This head reads models "
            f"with {ENCODED} encoded levels, FEATURE_ORDER: high2low, an encoder {WIDER} times as "
            "wide inside and TWO_STAGE: True, as maskdino_R50_bs16_50ep_3s.yaml trains them: take "
            "such a file, or leave `pretrained` out and give the weights of a backbone alone"
        )
    return fill(head, published_state(state), FROM_PUBLISHED, _OWN, path)


def other_layout(state: State) -> list[str]:
    """What of a published model's layout is not this head's, seen from the shapes of its weights.

    The order of levels is seen where the backbone's channels differ from level to level.
    """
    pixels, queries = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
    projected = (f"{pixels}input_proj.{i}.0.weight" for i in count())
    channels = [state[name].shape[1] for name in takewhile(state.__contains__, projected)]
    wrong = []
    if channels and len(channels) != ENCODED:
        wrong.append(f"it encodes {len(channels)} levels (TOTAL_NUM_FEATURE_LEVELS)")
    if channels[:2] != sorted(channels[:2], reverse=True):
        wrong.append(
            f"its levels come finest first (FEATURE_ORDER: low2high), of {channels} channels"
        )
    inside = state.get(f"{pixels}transformer.encoder.layers.0.linear1.weight")
    if inside is not None and inside.shape[0] != WIDER * inside.shape[1]:
        wrong.append(f"its encoder is {inside.shape[0]} wide inside (DIM_FEEDFORWARD)")
    if f"{queries}query_feat.weight" in state and f"{queries}enc_output.weight" not in state:
        wrong.append("its queries are learnt, not picked (TWO_STAGE: False)")
    return wrong


def published_state(state: State) -> State:
    """Bring what names alone cannot: array order, and q, k, v apart; without the backbone."""
    ours: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith("sem_seg_head.") or re.match(_TWICE, key):
            continue
        if ".sampling_offsets." in key:
            ours[key] = flip_offset_rows(value)
        elif "._bbox_embed.layers.2." in key:  # x, y, w, h
            ours[key] = value.unflatten(0, (2, 2)).flip(1).flatten(0, 1)
        elif key.endswith("ref_point_head.layers.0.weight"):  # y, x, w, h
            y, x, w, h = value.chunk(4, 1)
            ours[key] = torch.cat([y, x, h, w], 1)
        elif ".in_proj_" in key:
            for name, part in zip("qkv", value.chunk(3), strict=True):
                ours[key.replace("in_proj_", f"{name}.")] = part
        else:
            ours[key] = value
    return ours
