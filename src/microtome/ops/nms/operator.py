"""The operator behind the compiled backends: schema and shapes, for any device."""

from __future__ import annotations

import torch
from torch import Tensor

torch.library.define(
    "microtome::nms", "(Tensor boxes, Tensor scores, Tensor groups, float threshold) -> Tensor"
)


def run(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """[N, 2D], [N] and [N] -> [M], by the kernel of the tensors' device."""
    exact = torch.promote_types(boxes.dtype, torch.float32)
    order = torch.promote_types(scores.dtype, torch.float32)
    kept: Tensor = torch.ops.microtome.nms(
        boxes.to(exact), scores.to(order), groups.long(), threshold
    )
    return kept


@torch.library.register_fake("microtome::nms")
def _shape(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)
