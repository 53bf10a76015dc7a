"""How running out of memory looks, on any device."""

from __future__ import annotations

import torch

SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "MPS backend out of memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "std::bad_alloc",  # the C++ operators' own memory
    "is killed by signal: Killed",  # a loader's process; hardly anything else kills one
)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory was not enough."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in SIGNS)
