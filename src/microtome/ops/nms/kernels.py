"""Triton kernels of non-maximum suppression; imported at the first launch only.

`overlaps` writes, for each box from the best down, which later ones it would suppress: a bit each,
64 to a word. `resolve` walks through the words once and finds which boxes stay.
"""

from __future__ import annotations

import triton
from triton import language as tl


@triton.jit
def overlaps(boxes, groups, bits, count, words, threshold, D: tl.constexpr):
    """A program compares 64 boxes with 64. Rounded as torchvision's: no fused multiply-add."""
    block = tl.program_id(0)
    word = tl.program_id(1)
    if word >= block:
        i = block * 64 + tl.arange(0, 64)
        j = word * 64 + tl.arange(0, 64)
        shared = tl.full([64, 64], 1.0, tl.float32)
        volume = tl.full([64], 1.0, tl.float32)
        other = tl.full([64], 1.0, tl.float32)
        for axis in tl.static_range(D):
            low = tl.load(boxes + i * 2 * D + axis, mask=i < count, other=0.0)
            high = tl.load(boxes + i * 2 * D + D + axis, mask=i < count, other=0.0)
            its_low = tl.load(boxes + j * 2 * D + axis, mask=j < count, other=0.0)
            its_high = tl.load(boxes + j * 2 * D + D + axis, mask=j < count, other=0.0)
            inner = tl.minimum(high[:, None], its_high[None, :])
            length = inner - tl.maximum(low[:, None], its_low[None, :])
            shared = shared * tl.maximum(length, 0.0)
            volume = volume * (high - low)
            other = other * (its_high - its_low)
        union = tl.where(shared > 0.0, volume[:, None] + other[None, :] - shared, 1.0)
        iou = tl.div_rn(shared, union)
        group = tl.load(groups + i, mask=i < count, other=0)
        its_group = tl.load(groups + j, mask=j < count, other=0)
        goes = (iou > threshold) & (j[None, :] > i[:, None]) & (j < count)[None, :]
        goes = goes & (group[:, None] == its_group[None, :])
        bit = tl.full([64], 1, tl.int64) << tl.arange(0, 64).to(tl.int64)
        packed = tl.sum(tl.where(goes, bit[None, :], 0), 1)
        tl.store(bits + i.to(tl.int64) * words + word, packed, mask=i < count)


@triton.jit
def _either(a, b):
    return a | b


@triton.jit
def resolve(bits, stay, count, words, PAD: tl.constexpr, ROWS: tl.constexpr):
    """One program. `gone` holds a bit for each box that a better one has suppressed so far."""
    word = tl.arange(0, PAD)
    lane = tl.arange(0, 64).to(tl.int64)
    gone = tl.zeros([PAD], tl.int64)
    for block in range(words):
        i = block * 64 + lane
        own = tl.load(bits + i * words + block, mask=i < count, other=0)
        before = tl.sum(tl.where(word == block, gone, 0), 0)
        # Inside a block a box acts on later ones only, so the first n bits are right after n turns;
        # usually nothing changes any more after a few.
        suppressed = before
        changing = 1
        while changing != 0:
            acting = ((suppressed >> lane) & 1) == 0
            now = before | tl.reduce(tl.where(acting, own, 0), 0, _either)
            changing = (now != suppressed).to(tl.int32)
            suppressed = now
        tl.store(stay + i, ((suppressed >> lane) & 1) == 0, mask=i < count)
        for start in range(0, 64, ROWS):
            row = start + tl.arange(0, ROWS).to(tl.int64)
            acts = (((suppressed >> row) & 1) == 0) & (block * 64 + row < count)
            later = (word > block) & (word < words)
            at = bits + (block * 64 + row)[:, None] * words + word[None, :]
            marks = tl.load(at, mask=acts[:, None] & later[None, :], other=0)
            gone = gone | tl.reduce(marks, 0, _either)
