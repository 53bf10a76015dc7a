import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.transforms import RandAffined, RandFlipd, RandGaussianNoised, TorchVisiond

from microtome.data.crops import RandomCrop
from microtome.data.datasets import SampleDataset
from microtome.data.sampling import Draw, DrawSampler, ResumableLoader, dice, seeded
from microtome.data.transforms import MonaiTransforms
from microtome.structures import Classes, DataSample, Instances, LabelLayers, Segmentation

KEYS = ["image", "classes", "labels"]


class Blocks(SampleDataset):
    """Image i holds the value i / 10 and one object."""

    classes = Classes(("background", "block"), (False, True))

    def __len__(self):
        return 10

    def load(self, item):
        ids = torch.zeros(24, 20, dtype=torch.int64)
        ids[4 : 10 + item, 3:12] = 7
        image = torch.full((3, 24, 20), item / 10) * (ids > 0)
        truth = Segmentation(
            (ids > 0).long(), Instances(torch.tensor([1]), masks=LabelLayers.from_ids(ids))
        )
        return DataSample(image, truth, (0.5, 0.5), meta={"name": str(item)})


def random_transforms():
    every = MonaiTransforms(
        [
            RandFlipd(KEYS, prob=0.5, spatial_axis=0),
            RandAffined(KEYS, prob=1.0, rotate_range=0.5),
            RandGaussianNoised(["image"], prob=1.0),
            TorchVisiond(["image"], "ColorJitter", brightness=0.5),
        ]
    )
    return (RandomCrop(16), every)


def loader(workers, seed=3):
    data = Blocks(random_transforms(), seed=seed)
    options = {"persistent_workers": True} if workers else {}
    return ResumableLoader(
        data, DrawSampler(10, seed), batch_size=3, num_workers=workers, drop_last=True, **options
    )


def bits(batches):
    return [
        (s.meta["name"], s.image.numpy().tobytes(), s.truth.classes.numpy().tobytes())
        for batch in batches
        for s in batch
    ]


def epochs(loader, count):
    out = []
    for epoch in range(count):
        loader.draws.set_epoch(epoch)
        out.append(bits(loader))
    return out


def test_any_number_of_workers_gives_the_same_run():
    alone = epochs(loader(0), 2)
    assert [len(e) for e in alone] == [9, 9]
    assert alone[0] != alone[1]
    for workers in (1, 2):
        torch.manual_seed(workers)  # nobody else's chance matters
        np.random.seed(workers)
        assert epochs(loader(workers), 2) == alone


def test_another_seed_is_another_run():
    assert epochs(loader(0, seed=3), 1) != epochs(loader(0, seed=4), 1)


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0)])
def test_a_run_resumes_in_the_middle_of_an_epoch(before, after):
    whole = epochs(loader(0), 3)
    first = loader(before)
    first.draws.set_epoch(1)
    batches = iter(first)
    seen = bits([next(batches)])
    state = first.state_dict()
    assert state == {"epoch": 1, "given": 1}  # handed out, not prefetched
    second = loader(after)
    second.load_state_dict(state)
    second.draws.set_epoch(1)
    iter(second)
    assert second.state_dict() == state  # also when it is saved again before the next batch
    assert seen + bits(second) == whole[1]
    second.draws.set_epoch(2)
    assert bits(second) == whole[2]


def test_state_after_the_last_batch_continues_with_the_next_epoch():
    first = loader(0)
    for _ in first:
        state = first.state_dict()
    assert state == {"epoch": 0, "given": 3}
    second = loader(0)
    second.load_state_dict(state)
    assert bits(second) == []
    second.draws.set_epoch(1)
    assert bits(second) == epochs(loader(0), 2)[1]


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_an_epoch_without_meeting(world):
    dealt = [list(DrawSampler(10, 0, rank=r, world=world)) for r in range(world)]
    items = [d.item for draws in dealt for d in draws]
    assert {len(d) for d in dealt} == {10 // world}
    assert len(set(items)) == len(items)


def test_validation_is_in_order_and_complete():
    dealt = [[d.item for d in DrawSampler(5, 0, shuffle=False, rank=r, world=2)] for r in (0, 1)]
    assert dealt == [[0, 2, 4], [1, 3, 0]]


def test_every_epoch_has_its_own_order():
    sampler = DrawSampler(50, 1)
    orders = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        orders.append([d.item for d in sampler])
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[1]) == list(range(50))


def test_seeded_sets_and_restores_all_three_generators():
    draws = [partial(torch.rand, 1), np.random.rand, random.random]
    inside = []
    for _ in range(2):
        for draw in draws:  # elsewhere chance goes on
            draw()
        before = [torch.get_rng_state(), np.random.get_state(), random.getstate()]
        with seeded(dice(5, 1, 2)):
            inside.append([float(draw()) for draw in draws])
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.array_equal(np.random.get_state()[1], before[1][1])
        assert random.getstate() == before[2]
    assert inside[0] == inside[1]


def test_each_transform_has_its_own_chance():
    seen = []

    def note(sample, chance, classes):
        seen.append(tuple(chance.generate_state(2)))
        return sample

    data = Blocks((note, note), seed=1)
    for key in (Draw(0, 1), Draw(0, 2), Draw(1, 1)):
        data[key]
    assert len(set(seen)) == 6
    seen.clear()
    data[1]  # without an epoch: the first
    data[Draw(0, 1)]
    assert seen[:2] == seen[2:]


_A_RUN = """
import multiprocessing, os, sys, time
from microtome.data import sampling

sampling._LOOK_AROUND = 0.2

class Slow:
    def __len__(self):
        return 8

    def __getitem__(self, draw):
        while sys.argv[1] == "stuck" and draw.item > 3:
            time.sleep(0.1)
        return os.getpid()

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[2])
    draws = sampling.DrawSampler(8, 0, shuffle=False)
    options = {"batch_size": 2, "num_workers": 2, "persistent_workers": True, "prefetch_factor": 2}
    batches = iter(sampling.ResumableLoader(Slow(), draws, **options))
    print(*next(batches)[:1], *next(batches)[:1], flush=True)
    sys.stdin.read()
"""


def running(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"  # a zombie whose new parent looks away


def gone(pids, seconds=10):
    end = time.monotonic() + seconds
    while any(map(running, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(running, pids))


@pytest.mark.skipif(not hasattr(signal, "sigtimedwait"), reason="needs the sender of a signal")
@pytest.mark.parametrize("kind", ["idle", "stuck"])
@pytest.mark.parametrize("end", ["exit", "kill"])
@pytest.mark.parametrize("start", ["fork", "forkserver"])
def test_workers_survive_a_signal_to_the_job_and_end_with_the_run(kind, end, start, tmp_path):
    (tmp_path / "a_run.py").write_text(_A_RUN)
    command = [sys.executable, str(tmp_path / "a_run.py"), kind, start]
    run = subprocess.Popen(command, stdin=-1, stdout=-1, text=True)
    workers = [int(pid) for pid in run.stdout.readline().split()]
    try:
        # a server's workers have threads of libraries before the signal is blocked: these may end
        for pid in workers if start == "fork" else ():
            os.kill(pid, signal.SIGTERM)
        assert len(set(workers)) == 2 and not gone(workers, 0.7)
        assert all(map(running, workers))
        if end == "kill":
            run.kill()
        run.communicate(timeout=20)
        assert run.returncode == (-signal.SIGKILL if end == "kill" else 0)
        assert gone(workers)
    finally:
        run.kill()
        for pid in filter(running, workers):  # they hold the pipe that is read to its end
            os.kill(pid, signal.SIGKILL)
        run.communicate()
