"""`python -m microtome.ops.warming`: let Triton compile its kernels now, not in the first step.

Of deformable attention and convolution as the packaged models use them; Triton keeps what it
compiled in its cache. Where there is no GPU, nothing is done.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from .deform_attn import deform_attn_around
from .deform_conv import deform_conv

HEADS, CHANNELS, LEVELS, POINTS = 8, 32, 3, 4
DTYPES = (torch.float32, torch.bfloat16)


def main() -> int:
    """Warm the cache where there is a GPU, and say what was done."""
    if not torch.cuda.is_available():
        sys.stdout.write("no GPU here: no Triton kernels to compile\n")
        return 0
    for dims in (2, 3):
        for dtype in DTYPES:
            attend(dims, dtype, "cuda")
            convolve(dims, dtype, "cuda")
    sys.stdout.write("Triton kernels of deformable attention and convolution: compiled\n")
    return 0


def attend(dims: int, dtype: torch.dtype, device: str) -> None:
    """Forward and backward once."""
    shapes = [(4,) * dims] * LEVELS
    cells = LEVELS * 4**dims
    samples = (1, cells, HEADS, LEVELS, POINTS)
    value = torch.ones(1, cells, HEADS, CHANNELS, dtype=dtype, device=device)
    points = torch.full((1, cells, LEVELS, dims), 0.5, device=device)
    offsets = torch.zeros(*samples, dims, device=device)
    logits = torch.zeros(samples, dtype=dtype, device=device)
    _step(deform_attn_around(value.requires_grad_(), shapes, points, offsets, logits))


def convolve(dims: int, dtype: torch.dtype, device: str) -> None:
    """Forward and backward once, kernel 3, groups of 16 channels."""
    taps = (1, *(4,) * dims, 4, 3**dims)
    value = torch.ones(1, *(4,) * dims, 4, 16, dtype=dtype, device=device)
    offsets = torch.zeros(*taps, dims, device=device)
    modulation = torch.zeros(taps, dtype=dtype, device=device)
    _step(deform_conv(value.requires_grad_(), offsets, modulation, 3, padding=1, softmax=True))


def _step(out: Tensor) -> None:
    out.float().sum().backward()


if __name__ == "__main__":
    sys.exit(main())
