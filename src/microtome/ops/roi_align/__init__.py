"""Features of boxes at a fixed size, sampled between pixels (He et al., Mask R-CNN, ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import torch
from torch import Tensor

from ...geometry import per_axis
from ..backend import Backend, choose
from ..box_iou import box_problems
from . import cpu, gpu, reference

__all__ = ["BACKENDS", "roi_align"]

BACKENDS = (
    Backend("gpu", gpu.run, gpu.refusals, gpu.tolerance, gpu.lacking),
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)


def roi_align(
    maps: Tensor,
    boxes: Tensor,
    image_index: Tensor,
    output: Sequence[int],
    stride: float | Sequence[float],
    samples: int = 2,
) -> Tensor:
    """Divide each box into cells and average a few linear samples of the map in each.

    The definition is that of torchvision with `aligned=True`, in any number of dimensions: a
    sample less than a pixel beyond the border sees the border, one further out is zero.

    Letters: B batch, C channels, N boxes, D axes, *S the shape of the maps.

    Args:
        maps: [B, C, *S], floating point; channels-last memory is the fastest.
        boxes: [N, 2D] half-open boxes in pixels of the image, `z0 y0 x0 z1 y1 x1`, finite, floating
            point with at least 32 bits. They get no gradient.
        image_index: [N] integers 0…B - 1, the image of each box.
        output: D sizes, the cells per axis.
        stride: pixels of the image per pixel of the map, one for all axes or D; above 0.
        samples: per cell and axis.

    Returns:
        [N, C, *output], of the maps' dtype and memory format; accumulated in at least float32.

    Raises:
        ValueError: shapes, dtypes or strides do not fit; all that is wrong is listed.
        IndexError, RuntimeError: an image that is not there, a box that is not finite; a GPU says
            so when it comes to it, without anything waiting.
    """
    wrong = _problems(maps, boxes, image_index, output, samples)
    if wrong:
        raise ValueError("roi_align: " + "; ".join(wrong))
    strides = [float(s) for s in per_axis(stride, maps.ndim - 2)]
    if not all(0 < s < inf for s in strides):
        raise ValueError(f"roi_align: strides are above 0 and finite, got {strides}")
    torch._assert_async(boxes.detach().isfinite().all(), "roi_align: a box is not finite")
    args = maps, boxes.detach(), image_index, list(output), strides, samples
    return choose("roi_align", BACKENDS, *args).run(*args)


def _problems(
    maps: Tensor, boxes: Tensor, image_index: Tensor, output: Sequence[int], samples: int
) -> list[str]:
    dims = maps.ndim - 2
    if dims < 1 or not maps.is_floating_point():
        return [f"maps are [B, C, *S], floating point, got {list(maps.shape)} {maps.dtype}"]
    wrong = box_problems(boxes)
    if 0 in maps.shape[2:]:
        wrong.append(f"maps need a pixel, got {list(maps.shape)}")
    if not wrong and boxes.shape[1] != 2 * dims:
        wrong.append(f"boxes of {dims} axes are [N, {2 * dims}], got {list(boxes.shape)}")
    if not wrong and boxes.dtype not in (torch.float32, torch.float64):
        wrong.append(f"boxes must be float32 or float64, got {boxes.dtype}")
    if image_index.shape != boxes.shape[:1] or image_index.is_floating_point():
        got = f"{list(image_index.shape)} {image_index.dtype}"
        wrong.append(f"image_index is {list(boxes.shape[:1])}, integers, got {got}")
    if len(output) != dims or any(size < 1 for size in output):
        wrong.append(f"output is {dims} sizes of at least 1, got {list(output)}")
    if samples < 1:
        wrong.append(f"samples is at least 1, got {samples}")
    return wrong
