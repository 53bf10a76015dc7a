"""How many pixels objects share that lie in several layers, where objects of one side overlap."""

from __future__ import annotations

from torch import Tensor

from ..backend import Backend, choose
from . import cpu, reference

__all__ = ["BACKENDS", "layer_overlap"]

BACKENDS = (
    Backend("cpu", cpu.run, cpu.refusals, cpu.tolerance, cpu.lacking),
    Backend("reference", reference.run, reference.refusals, {}),
)


def layer_overlap(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Count the pixels of every pair of objects that lie in layers, and those of each object.

    What `mask_overlap` says of two maps, for all pairs of layers at once: each layer is read once,
    and most are empty nearly everywhere.

    Args:
        a: [K, *S] integers; 0 is background, any other number an object.
        b: [L, *S] likewise, of the same spatial shape.

    Returns:
        ids_a, ids_b, counts, each [M] int64, sorted by ids_a, then ids_b: a row for each pair that
        shares pixels, summed over layers; a row (id, 0) with all pixels of each object of `a`, and
        a row (0, id) with those of each object of `b`.

    Raises ValueError when the spatial shapes differ or a map holds no integers.
    """
    wrong = [
        f"expected integer label maps, got {x.dtype}"
        for x in (a, b)
        if x.is_floating_point() or x.is_complex()
    ]
    if a.ndim < 2 or a.shape[1:] != b.shape[1:]:
        wrong.append(f"layers [K, *S] and [L, *S] of one shape, got {[*a.shape]} and {[*b.shape]}")
    if wrong:
        raise ValueError("layer_overlap: " + "; ".join(wrong))
    return choose("layer_overlap", BACKENDS, a, b).run(a, b)
