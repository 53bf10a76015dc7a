"""How far boxes overlap, every box with every other."""

from __future__ import annotations

from torch import Tensor

from ..backend import Backend, choose
from . import cpu, reference

__all__ = ["BACKENDS", "box_giou", "box_giou_paired", "box_iou", "box_problems"]

BACKENDS = (
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of every box with every other.

    Args:
        boxes: [N, 2D] half-open boxes, `z0 y0 x0 z1 y1 x1`, float32, float64 or integers, which
            count as float32; half precision is off by whole pixels.
        others: [M, 2D].

    Returns:
        [N, M], 0…1; 0 with a box that is empty or the wrong way round.

    Raises ValueError when these are no boxes of the same number of axes.
    """
    return _pairwise(boxes, others, "iou")


def box_giou(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU (Rezatofighi et al., CVPR 2019): IoU minus the empty share of the hull.

    Args and errors as of `box_iou`; [N, M] in -1…1.
    """
    return _pairwise(boxes, others, "giou")


def box_giou_paired(boxes: Tensor, others: Tensor) -> Tensor:
    """Generalised IoU of each box with the other one in the same row.

    Args:
        boxes: [N, 2D], as of `box_iou`.
        others: [N, 2D].

    Returns:
        [N], -1…1.

    Raises ValueError when these are not equally many boxes of the same number of axes.
    """
    wrong = box_problems(boxes, "boxes") + box_problems(others, "others")
    if not wrong and boxes.shape != others.shape:
        wrong = [f"boxes are {list(boxes.shape)}, others {list(others.shape)}"]
    if wrong:
        raise ValueError("box_giou_paired: " + "; ".join(wrong))
    return reference.overlap(boxes, others, "giou")


def _pairwise(boxes: Tensor, others: Tensor, kind: str) -> Tensor:
    wrong = box_problems(boxes, "boxes") + box_problems(others, "others")
    if not wrong and boxes.shape[1] != others.shape[1]:
        wrong = [f"boxes have {boxes.shape[1]} coordinates, others {others.shape[1]}"]
    if wrong:
        raise ValueError(f"box_{kind}: " + "; ".join(wrong))
    return choose("box_iou", BACKENDS, boxes, others, kind).run(boxes, others, kind)


def box_problems(boxes: Tensor, name: str = "boxes") -> list[str]:
    """Why a tensor does not hold boxes; nothing when it does."""
    wrong = []
    if boxes.ndim != 2 or boxes.shape[1] == 0 or boxes.shape[1] % 2:
        wrong.append(f"{name} are [N, 2D], as in `z0 y0 x0 z1 y1 x1`, got {list(boxes.shape)}")
    if boxes.dtype.is_complex or (boxes.dtype.is_floating_point and boxes.dtype.itemsize < 4):
        wrong.append(f"{name} must be float32, float64 or integers, got {boxes.dtype}")
    return wrong
