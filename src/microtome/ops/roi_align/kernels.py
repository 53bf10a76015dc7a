"""Triton kernels of RoIAlign; imported at the first launch only.

A program takes one cell of one box and a block of channels. There are always three axes: of fewer,
those in front have one pixel, one cell and one tap. Rows of channels are contiguous.
"""

from __future__ import annotations

import triton
from triton import language as tl


@triton.jit
def _tap(boxes, box, cell, tap, stride, size, cells, samples, AXIS: tl.constexpr):
    """Pixel and share of a tap: of each sample on the axis the pixel below it and the one above."""
    low = tl.load(boxes + box * 6 + AXIS)
    length = (tl.load(boxes + box * 6 + 3 + AXIS) - low) / stride / cells
    at = low / stride - 0.5 + length * (cell * samples + tap // 2 + 0.5) / samples
    seen = (at >= -1.0) & (at <= size)
    at = tl.minimum(tl.maximum(tl.where(seen, at, 0.0), 0.0), size - 1.0)
    first = tl.floor(at)
    far = at - first
    upper = tap % 2
    pixel = tl.minimum(first.to(tl.int32) + upper, size - 1)
    share = tl.where(upper == 1, far, 1.0 - far)
    return pixel, tl.where(seen, share, 0.0) / samples


@triton.jit
def forward(
    maps, boxes, index, out, channels, shape, cells, stride, samples, taps, BLOCK: tl.constexpr
):
    """Sum the taps of a cell."""
    row = tl.program_id(0).to(tl.int64)
    x = row % cells[2]
    y = row // cells[2] % cells[1]
    z = row // (cells[2] * cells[1]) % cells[0]
    box = row // (cells[2] * cells[1] * cells[0])
    image = tl.load(index + box).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = channel < channels
    total = tl.zeros([BLOCK], tl.float32)
    for k in range(taps[0]):
        pz, wz = _tap(boxes, box, z, k, stride[0], shape[0], cells[0], samples[0], 0)
        for j in range(taps[1]):
            py, wy = _tap(boxes, box, y, j, stride[1], shape[1], cells[1], samples[1], 1)
            for i in range(taps[2]):
                px, wx = _tap(boxes, box, x, i, stride[2], shape[2], cells[2], samples[2], 2)
                at = ((image * shape[0] + pz) * shape[1] + py) * shape[2] + px
                seen = tl.load(maps + at * channels + channel, mask=live, other=0.0)
                total += seen.to(tl.float32) * (wz * wy * wx)
    tl.store(out + row * channels + channel, total.to(out.dtype.element_ty), mask=live)


@triton.jit
def backward(
    grad,
    boxes,
    index,
    by_maps,
    scale,
    channels,
    shape,
    cells,
    stride,
    samples,
    taps,
    EXACT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Add the gradient of a cell to its taps; where EXACT as integers, whose sum has no order."""
    row = tl.program_id(0).to(tl.int64)
    x = row % cells[2]
    y = row // cells[2] % cells[1]
    z = row // (cells[2] * cells[1]) % cells[0]
    box = row // (cells[2] * cells[1] * cells[0])
    image = tl.load(index + box).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    live = channel < channels
    given = tl.load(grad + row * channels + channel, mask=live, other=0.0).to(tl.float32)
    for k in range(taps[0]):
        pz, wz = _tap(boxes, box, z, k, stride[0], shape[0], cells[0], samples[0], 0)
        for j in range(taps[1]):
            py, wy = _tap(boxes, box, y, j, stride[1], shape[1], cells[1], samples[1], 1)
            for i in range(taps[2]):
                px, wx = _tap(boxes, box, x, i, stride[2], shape[2], cells[2], samples[2], 2)
                at = ((image * shape[0] + pz) * shape[1] + py) * shape[2] + px
                part = given * (wz * wy * wx)
                if EXACT:
                    whole = (part.to(tl.float64) * tl.load(scale)).to(tl.int64)
                    tl.atomic_add(by_maps + at * channels + channel, whole, mask=live)
                else:
                    tl.atomic_add(by_maps + at * channels + channel, part, mask=live)
