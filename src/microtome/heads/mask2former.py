"""Mask2Former (Cheng et al., CVPR 2022): a set of masks with classes, in any number of axes.

The same head for semantic and instance segmentation; only the truth and the decoding differ.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..layers.deformable import flip_offset_rows
from ..losses.masks import PointSampling
from ..structures import Classes, ImageList, Pyramid, PyramidSpec
from ..weights import KeyMap, State
from . import Targets
from .mask_classification import MaskClassification, MaskPrediction
from .mask_targets import Task
from .masked_decoder import MaskedDecoder
from .pixel_decoder import DeformablePixelDecoder

__all__ = ["FROM_TRANSFORMERS", "Mask2Former", "transformers_state"]


class Mask2Former(MaskClassification):
    """Deformable pixel decoder and masked-attention decoder.

    Masks have the resolution of the pyramid's finest level: give it one at stride 4 or finer.

    Args:
        spec: what the backbone or neck returns; one level or more.
        classes: the class table.
        task: `semantic` or `instance`.
        num_queries: the most masks an image can have; more objects than that are not learnt.
        hidden: channels of everything inside.
        encoder_layers: of the pixel decoder.
        decoder_layers: of masked attention.
        num_heads: of all attention; they divide `hidden`.
        num_points: at which a mask is judged.
        min_score: objects below are not decoded (task `instance`).
        weights: of the losses `class` (2), `mask` (5) and `dice` (5).

    Raises ValueError for unknown tasks and losses, and for numbers that cannot be.
    """

    def __init__(
        self,
        spec: PyramidSpec,
        classes: Classes,
        *,
        task: Task = "semantic",
        num_queries: int = 100,
        hidden: int = 256,
        encoder_layers: int = 6,
        decoder_layers: int = 9,
        num_heads: int = 8,
        num_points: int = 12544,
        min_score: float = 0.5,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        sampling = PointSampling(num_points)
        super().__init__(classes, task, weights=weights, sampling=sampling, min_score=min_score)
        _check(
            {"num_queries": num_queries, "decoder_layers": decoder_layers, "num_points": num_points}
        )
        self.pixels = DeformablePixelDecoder(
            spec, hidden, encoder_layers, num_heads=num_heads, ffn=4 * hidden
        )
        self.decoder = MaskedDecoder(
            classes.num_classes,
            num_queries,
            hidden,
            layers=decoder_layers,
            levels=self.pixels.encoded,
            num_heads=num_heads,
            ffn=8 * hidden,
        )

    def forward(
        self, pyramid: Pyramid, images: ImageList, targets: Targets | None = None
    ) -> MaskPrediction:
        """Maps [B, C_l, *S_l], finest first, to classes and masks of every layer."""
        prediction: MaskPrediction = self.decoder(self.pixels(pyramid, images), images)
        return prediction


def _check(counts: Mapping[str, int]) -> None:
    wrong = [f"{name} {count}" for name, count in counts.items() if count < 1]
    if wrong:
        raise ValueError(f"Mask2Former: expected at least 1, got {', '.join(wrong)}")


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


def transformers_state(state: State) -> State:
    """Bring what names alone cannot: array order of offsets, and q, k, v apart.

    For the weights of transformers' `Mask2FormerForUniversalSegmentation`; load the result with
    `load_weights(head, transformers_state(state), FROM_TRANSFORMERS)`. The backbone's are left out.
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
