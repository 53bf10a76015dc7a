"""Operators: tensors in, tensors out, any number of axes, one folder each with its backends."""

from __future__ import annotations

from . import (
    box_iou,
    deform_attn,
    deform_conv,
    layer_overlap,
    mask_overlap,
    masks_to_boxes,
    nms,
    point_sample,
    roi_align,
)
from .backend import Backend, choose, using

__all__ = ["BACKENDS", "Backend", "choose", "using"]

# operator -> backend -> why it cannot be used here, "" when it can
BACKENDS: dict[str, dict[str, str]] = {
    operator.__name__.rpartition(".")[2]: {b.name: b.lacking for b in operator.BACKENDS}
    for operator in (
        box_iou,
        deform_attn,
        deform_conv,
        layer_overlap,
        mask_overlap,
        masks_to_boxes,
        nms,
        point_sample,
        roi_align,
    )
}
