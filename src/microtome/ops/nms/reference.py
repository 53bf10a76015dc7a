"""Pure PyTorch, written to be read: the definition."""

from __future__ import annotations

import torch
from torch import Tensor

from ..box_iou.reference import run as box_iou


@torch.library.custom_op("microtome::nms_reference", mutates_args=())
def run(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> Tensor:
    """[N, 2D], [N] and [N] -> [M]; an operator, since what it returns hangs on the values."""
    refuse_values(int(scores.isnan().sum()), int((~boxes.isfinite()).any(1).sum()))
    order = scores.sort(descending=True, stable=True).indices
    boxes = boxes[order]
    groups = torch.zeros_like(order) if groups is None else groups[order]
    stays = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for best in range(len(boxes)):
        if stays[best]:
            rest = slice(best + 1, None)
            overlap = box_iou(boxes[best : best + 1], boxes[rest])[0]
            stays[rest] &= (groups[rest] != groups[best]) | ~(overlap.double() > threshold)
    return order[stays]


@run.register_fake
def _(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> Tensor:
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(), dtype=torch.int64)


def refuse_values(unordered: int, unbounded: int) -> None:
    """Raise RuntimeError when there are scores that are not a number, or boxes without an end.

    Every backend says so from inside: only there the values are known without a further wait.
    """
    if unordered or unbounded:
        raise RuntimeError(
            f"nms: {unordered} scores are not a number; {unbounded} boxes hold infinities or what "
            "is not a number; the training may have diverged"
        )


def refusals(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> list[str]:
    """Nothing."""
    return []
