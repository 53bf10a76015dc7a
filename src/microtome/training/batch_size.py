"""The largest batch that fits, by the peak memory of real training crops on the device.

A batch of 1, 2, 4, … goes forward and backward and its peak is measured, until twice as many would
not fit. Where batches are mixed, each of these is, and the first has 2. Nothing is learnt from it:
weights, statistics and chance are afterwards as before.
"""

from __future__ import annotations

import copy
import ctypes
import gc
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer

from ..data.datamodule import DataModule
from ..data.mixing import Mix
from ..data.sampling import Draw
from ..inference.memory import out_of_memory
from ..structures import DataSample
from .mixed import mixed_losses
from .module import TrainingModule

log = logging.getLogger("microtome")

AUTO = "auto"
SHARE = 0.8  # of the memory that is free; the rest is for fragments and larger samples
STATES = 3  # copies of trainable weights that come later: two moments and an average
DISTINCT = 8  # crops that are loaded; larger batches repeat them
GIB = 2**30


def largest_batch(module: TrainingModule, data: DataModule, trainer: Trainer) -> int:
    """Return the largest power of two, at most an epoch's crops, that fits on one device.

    Raises ValueError for several devices, where no memory can be measured, and when a single crop
    does not fit; of mixed batches, when two do not.
    """
    device = trainer.strategy.root_device
    if trainer.world_size > 1:
        raise ValueError("batch_size: auto measures one device; with several give a number")
    if device.type not in ("cuda", "cpu"):
        raise ValueError(f"batch_size: auto cannot measure memory on {device.type}; give a number")
    train = data.splits["train"]
    crops = [train[Draw(0, i % len(train))] for i in range(min(DISTINCT, data.crops))]
    state = copy.deepcopy(module.state_dict())
    module.to(device).train()
    gradients = sum(p.nbytes for p in module.parameters() if p.requires_grad)
    free = SHARE * _free(device) - STATES * gradients
    mix = _always(module.mix)
    least = 1 if mix is None else 2

    def peak(size: int) -> float:
        batch = [crops[i % len(crops)].to(device) for i in range(size)]
        return _peak(device, lambda: _train_on(module, batch, trainer, mix))

    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            chosen, used = _search(peak, free, gradients, (least, data.crops))
    finally:
        module.zero_grad(set_to_none=True)
        module.load_state_dict(state)
    if not chosen:
        what = "one crop does" if mix is None else "two crops, to be mixed, do"
        raise ValueError(
            f"batch_size: auto: {what} not fit into {free / GIB:.1f} GiB; take smaller ones "
            "(data.init_args.crop), or model.checkpointing=true"
        )
    log.info(f"batch      {chosen} crops: {used / GIB:.2f} of {free / GIB:.2f} GiB")
    return chosen


def _search(
    peak: Callable[[int], float], free: float, fixed: float, sizes: tuple[int, int]
) -> tuple[int, float]:
    """Return the largest size, within least … most, that fits, and its peak; 0 when none does.

    `fixed` does not grow with the size, so twice as many take at most twice the rest: what might
    not fit is not tried, for a process that takes too much is killed, not told.
    """
    size, most = sizes
    chosen, used, bound = 0, 0.0, 0.0
    while size <= most and bound <= free:
        try:
            now = peak(size)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            break
        if now > free:
            break
        chosen, used, size, bound = size, now, 2 * size, fixed + 2 * max(now - fixed, 0)
    return chosen, used


def _always(mix: Mix | None) -> Mix | None:
    """The same mixing, of every batch: what is done now and then has to fit, too."""
    mix = copy.copy(mix)
    if mix is not None:
        mix.prob = 1.0
    return mix


def _train_on(
    module: TrainingModule, batch: list[DataSample], trainer: Trainer, mix: Mix | None
) -> None:
    module.zero_grad(set_to_none=True)
    with trainer.precision_plugin.forward_context():
        images, targets = module.model.prepare(batch)
        assert targets is not None
        chance = np.random.SeedSequence(0)
        losses = mixed_losses(module.model, images, targets, mix, chance)
        total = module.model.total(losses)
    total.backward()


def _peak(device: torch.device, work: Callable[[], None]) -> float:
    """Bytes that `work` takes at most, beyond what is in use before it."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = float(torch.cuda.memory_allocated(device))
        work()
        return float(torch.cuda.max_memory_allocated(device) - before)
    clear = Path("/proc/self/clear_refs")
    if not clear.exists():
        raise ValueError("batch_size: auto measures the CPU's memory on Linux only; give a number")
    _give_back()
    clear.write_text("5")  # the highest resident size starts again from the present one
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _give_back() -> None:
    """Return freed memory to the system: what stays resident would hide what is taken next."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _free(device: torch.device) -> float:
    """Bytes that this process may still take."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    available = _status("MemAvailable", Path("/proc/meminfo"))
    return min([available, *_left_in_groups()])


def _left_in_groups() -> list[float]:
    """What a container leaves, where it sets a limit (control groups, version 2 and 1)."""
    left = []
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        if Path(limit).exists() and (text := Path(limit).read_text().strip()).isdigit():
            left.append(float(text) - float(Path(used).read_text()))
    return left


def _status(key: str, file: Path = Path("/proc/self/status")) -> float:
    """A size in bytes that the kernel tells in kB."""
    if not file.exists():
        raise ValueError("batch_size: auto measures the CPU's memory on Linux only; give a number")
    line = next(line for line in file.read_text().splitlines() if line.startswith(f"{key}:"))
    return float(line.split()[1]) * 1024
