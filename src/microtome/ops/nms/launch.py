"""Launches the Triton kernels of non-maximum suppression."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from . import kernels
from .reference import refuse_values

_MARKS = 8192  # words of 64 boxes that `resolve` holds at once


def run(boxes: Tensor, scores: Tensor, groups: Tensor | None, threshold: float) -> Tensor:
    """[N, 2D], [N] and [N] -> [M]; waits for the device once, to learn M."""
    order = scores.sort(descending=True, stable=True).indices
    ranked = boxes[order].contiguous()
    of_rank = torch.zeros_like(order) if groups is None else groups[order]
    stays = _stays(ranked, of_rank, threshold)
    first = order[stays.logical_not().sort(stable=True).indices]  # what stays, then what goes
    told = stays.sum(), scores.isnan().sum(), boxes.isfinite().all(1).logical_not().sum()
    count, unordered, unbounded = torch.stack(told).tolist()
    refuse_values(unordered, unbounded)
    return first[:count].clone()


def _stays(boxes: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """[N] bool, of boxes from the best score down."""
    count, dims = len(boxes), boxes.shape[1] // 2
    stays = torch.zeros(count, dtype=torch.bool, device=boxes.device)
    if not count:
        return stays
    words = -(-count // 64)
    pad = 1 << (words - 1).bit_length()
    bits = torch.empty(count, words, dtype=torch.int64, device=boxes.device)
    rows = max(1, min(64, _MARKS // pad))
    exact = {"enable_fp_fusion": False}
    with torch.cuda.device_of(boxes):
        kernels.overlaps[(words, words)](
            boxes, groups, bits, count, words, _at_most(threshold), D=dims, **exact
        )
        kernels.resolve[(1,)](bits, stays, count, words, PAD=pad, ROWS=rows, num_warps=16, **exact)
    return stays


def _at_most(threshold: float) -> float:
    """The largest float32 that is not above: IoUs are compared in float32."""
    single = torch.tensor(threshold, dtype=torch.float32)
    if single.item() > threshold:
        single = torch.nextafter(single, torch.tensor(-math.inf))
    return single.item()
