"""How many pixels each object of one label map shares with each object of another."""

from __future__ import annotations

import torch
from torch import Tensor

from ..backend import Backend, choose
from . import cpu, reference

__all__ = ["BACKENDS", "mask_overlap"]

BACKENDS = (
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)
UNSORTED = (torch.uint16, torch.uint32)  # which PyTorch does not sort


def mask_overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count the pixels of every pair of values that two label maps hold at the same place.

    The base of matching, AP, PQ and stitching: sums over one side are areas, so IoU and coverage
    follow. Memory grows with the pairs that occur, not with objects times objects or pixels.

    Args:
        a: integers of any shape; background is a value like any other.
        b: integers of the same shape.

    Returns:
        ids_a, ids_b, counts, each [M] int64: one row for each pair that occurs, sorted by ids_a,
        then ids_b. The counts add up to the number of pixels. Ids are never rounded or multiplied,
        so any int64 will do.

    Raises ValueError when the shapes differ or a map holds no integers.
    """
    wrong = [
        f"expected integer label maps, got {x.dtype}"
        for x in (a, b)
        if x.is_floating_point() or x.is_complex()
    ]
    if a.shape != b.shape:
        wrong.append(f"two maps of one shape, got {list(a.shape)} and {list(b.shape)}")
    if wrong:
        raise ValueError("mask_overlap: " + "; ".join(wrong))
    a, b = (x.long() if x.dtype in UNSORTED else x for x in (a, b))
    return choose("mask_overlap", BACKENDS, a, b).run(a, b)
