"""Non-maximum suppression: of boxes that overlap too far, the one with the best score stays."""

from __future__ import annotations

from torch import Tensor

from ..backend import Backend, choose
from ..box_iou import box_problems
from . import cpu, gpu, reference

__all__ = ["BACKENDS", "batched_nms", "nms"]

BACKENDS: tuple[Backend[Tensor], ...] = (
    Backend("gpu", gpu.run, gpu.refusals, gpu.tolerance, gpu.lacking),
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Keep boxes from the best score down, each unless it overlaps a kept one too far.

    Args:
        boxes: [N, 2D] half-open boxes, `z0 y0 x0 z1 y1 x1`, finite; floating point or integers.
        scores: [N]; between equal ones the first box comes first.
        threshold: 0…1; a box whose IoU with a kept box is above it goes. Empty boxes overlap
            nothing.

    Returns:
        [M] int64, the indices of the boxes that stay, from the best score down: those that
        torchvision returns in two dimensions, rounding and ties included.

    Raises:
        ValueError: shapes, dtypes or the threshold do not fit; all that is wrong is listed.
        RuntimeError: a score is not a number, or a box is not finite.
    """
    return _suppress("nms", boxes, scores, None, threshold)


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """`nms` within each group (of an image, a class, a level); other groups do not matter.

    Args:
        boxes: [N, 2D].
        scores: [N].
        groups: [N] any integers; boxes of different groups never suppress each other.
        threshold: 0…1.

    Returns:
        [M] int64, the indices of the boxes that stay, from the best score of all down.

    Raises ValueError and RuntimeError as `nms` does.
    """
    return _suppress("batched_nms", boxes, scores, groups, threshold)


def _suppress(
    name: str, boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float
) -> Tensor:
    wrong = _problems(boxes, scores, groups, threshold)
    if wrong:
        raise ValueError(f"{name}: " + "; ".join(wrong))
    args = boxes.detach(), scores.detach(), groups, float(threshold)
    return choose("nms", BACKENDS, *args).run(*args)


def _problems(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> list[str]:
    wrong = box_problems(boxes)
    if scores.shape != boxes.shape[:1]:
        wrong.append(f"scores are {list(boxes.shape[:1])}, got {list(scores.shape)}")
    if not scores.is_floating_point():
        wrong.append(f"scores must be floating point, got {scores.dtype}")
    if groups is not None and groups.shape != boxes.shape[:1]:
        wrong.append(f"groups are {list(boxes.shape[:1])}, got {list(groups.shape)}")
    if groups is not None and groups.is_floating_point():
        wrong.append(f"groups must be integers, got {groups.dtype}")
    if not 0 <= threshold <= 1:
        wrong.append(f"threshold is an IoU, 0 to 1, got {threshold}")
    return wrong
