"""The operator behind the compiled backends: schema and shapes, for any device."""

from __future__ import annotations

import torch
from torch import Tensor

torch.library.define(
    "microtome::nms", "(Tensor boxes, Tensor scores, Tensor? groups, float threshold) -> Tensor"
)


def run(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> Tensor:
    """[N, 2D], [N] and [N] -> [M], by the kernel of the tensors' device."""
    exact = torch.promote_types(boxes.dtype, torch.float32)
    order = torch.promote_types(scores.dtype, torch.float32)
    groups = None if groups is None else groups.long()
    kept: Tensor = torch.ops.microtome.nms(boxes.to(exact), scores.to(order), groups, threshold)
    return kept


def _shape(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


torch.library.register_fake("microtome::nms", _shape)
