"""The confusion matrix of several processes is that of all their images."""

from __future__ import annotations

import pytest
import torch
import torch.multiprocessing as mp

from microtome.evaluation.confusion import ConfusionMatrix, confusion

PROCESSES = 2


def images():
    random = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 4, (5, 2, 30, 40), generator=random)
    maps[:, 1, 0] = 255
    return maps


def _counts(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    matrix = ConfusionMatrix(4)
    for result, truth in images()[rank::PROCESSES]:
        matrix.update(result, truth)
    torch.save((matrix.compute(), matrix.matrix), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_it_is_summed_over_processes(tmp_path):
    mp.spawn(_counts, (str(tmp_path),), nprocs=PROCESSES)
    whole = sum(confusion(result, truth, 4) for result, truth in images())
    for rank in range(PROCESSES):
        summed, own = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(summed, whole)
        assert own.sum() < whole.sum(), "each goes on with its own counts"
