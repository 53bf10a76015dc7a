"""Chance is a pure function of (seed, epoch, item): any number of workers gives the same run.

The sampler hands out `Draw(epoch, item)`; whoever needs chance asks `dice(seed, epoch, item)`. The
loader says where it stands, so a run resumes in the middle of an epoch.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

_LOOK_AROUND = 5.0  # seconds after which a worker sees that the run died; torch's are as many


class Draw(NamedTuple):
    """The key of one training sample."""

    epoch: int
    item: int


def dice(seed: int, *key: int) -> np.random.SeedSequence:
    """The chance that belongs to a key."""
    return np.random.SeedSequence([seed, *key])


@contextmanager
def seeded(chance: np.random.SeedSequence) -> Iterator[int]:
    """Seed torch, numpy and random for a while; restore them after. Yields the seed."""
    word = int(chance.generate_state(1)[0])
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(word)  # the CPU's only: a GPU's would not be restored
        np.random.seed(word)
        random.seed(word)
        try:
            yield word
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


class DrawSampler(Sampler[Draw]):
    """One epoch's order, from (seed, epoch), dealt to ranks; it starts at `done`.

    Ranks get equally many draws: with `shuffle` the odd ones out wait for another epoch's order;
    without it (validation) they are repeated at the end, as torch's own sampler does.
    """

    def __init__(
        self, length: int, seed: int, *, shuffle: bool = True, rank: int = 0, world: int = 1
    ) -> None:
        self.length, self.seed, self.shuffle = length, seed, shuffle
        self.rank, self.world = rank, world
        self.epoch, self.done = 0, 0

    def set_epoch(self, epoch: int) -> None:
        """Start another epoch; Lightning calls this."""
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    def __len__(self) -> int:
        return self.length // self.world if self.shuffle else -(-self.length // self.world)

    def __iter__(self) -> Iterator[Draw]:
        order = np.arange(self.length)
        if self.shuffle:
            order = np.random.default_rng(dice(self.seed, self.epoch)).permutation(self.length)
        order = np.resize(order, len(self) * self.world)
        for item in order[self.rank :: self.world][self.done :]:
            yield Draw(self.epoch, int(item))


def _obey_the_run_only(worker: int) -> None:
    """A signal to all processes of a job must not take the samples away before a run has saved.

    A worker that SIGTERM ends makes the run fail in the middle of a step. From the run itself the
    same signal means the end, also for a worker that is stuck: Python waits for it on its way out.
    """
    for name in ("SIGUSR1", "SIGINT"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):  # elsewhere who sent a signal cannot be told
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with_the_run, args=(os.getppid(),), daemon=True).start()


def _end_with_the_run(above: int) -> None:
    """End this process when the run sends SIGTERM, or died without a word.

    A run's death is told by a new process above this one, and where a server forks the workers, for
    which that one stays, by the pipe that it leaves.
    """
    run = multiprocessing.parent_process()
    while os.getppid() == above and (run is None or run.is_alive()):
        told = signal.sigtimedwait([signal.SIGTERM], _LOOK_AROUND)
        if told is not None and run is not None and told.si_pid == run.pid:
            break
    os._exit(0)


class ResumableLoader(DataLoader[Any]):
    """A DataLoader of `list[DataSample]` whose state is the epoch and the batches *handed out*."""

    def __init__(self, dataset: Dataset[Any], sampler: DrawSampler, **options: Any) -> None:
        if options.get("num_workers"):
            options = {"worker_init_fn": _obey_the_run_only, **options}
        super().__init__(dataset, sampler=sampler, collate_fn=list, **options)
        self.draws, self.given = sampler, 0

    def __len__(self) -> int:
        per_batch = self.batch_size or 1
        if self.drop_last:
            return len(self.draws) // per_batch
        return -(-len(self.draws) // per_batch)

    def __iter__(self) -> Any:
        self.given = self.draws.done // (self.batch_size or 1)
        for batch in super().__iter__():
            self.given += 1
            yield batch
        self.draws.done = 0
        self.given = 0

    def state_dict(self) -> dict[str, int]:
        """The epoch and how many batches of it were handed out."""
        return {"epoch": self.draws.epoch, "given": self.given}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to where a state says."""
        self.draws.epoch, self.given = state["epoch"], state["given"]
        self.draws.done = state["given"] * (self.batch_size or 1)
