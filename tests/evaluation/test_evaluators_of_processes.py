"""The numbers of several processes are those of all their images, each once."""

from __future__ import annotations

import pytest
import torch
import torch.multiprocessing as mp

from microtome.evaluation import InstanceEvaluator, SemanticEvaluator
from microtome.structures import Classes, Instances, LabelLayers, Segmentation

CLASSES = Classes(("background", "cell"), things=(False, True))
PROCESSES, IMAGES = 2, 5


def pair(number):
    """An image with `number` objects, of which the last is not found."""
    ids = torch.arange(12).repeat_interleave(3).view(4, 9)
    truth, found = (torch.where(ids <= n, ids, 0) for n in (number, number - 1))
    return [segmentation(found), segmentation(truth)]


def segmentation(ids):
    masks = LabelLayers.from_ids(ids)
    labels = torch.ones(len(masks), dtype=torch.int64)
    return Segmentation((ids > 0).long(), Instances(labels, masks=masks))


def evaluators():
    return InstanceEvaluator(CLASSES), SemanticEvaluator(CLASSES)


def judged(numbers, names):
    numbers = list(numbers)
    made = []
    for evaluator in evaluators():
        results, truths = zip(*(pair(1 + n) for n in numbers), strict=True)
        evaluator.process(results, truths, [f"image {n}" for n in numbers] if names else None)
        made.append(evaluator.evaluate())
        if isinstance(evaluator, InstanceEvaluator):
            made.append(evaluator.by_size()["small"])
    return made


def _of_one(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    dealt = [n % IMAGES for n in range(rank, IMAGES + 1, PROCESSES)]  # the first once more
    torch.save((judged(dealt, True), judged(dealt, False)), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_sum_their_images_and_count_each_once(tmp_path):
    mp.spawn(_of_one, (str(tmp_path),), nprocs=PROCESSES)
    once = judged(range(IMAGES), True)
    twice = judged([*range(IMAGES), 0], False)
    assert once[0]["recall@0.5"] == pytest.approx(10 / 15)
    for rank in range(PROCESSES):
        named, nameless = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for own, whole in ((named, once), (nameless, twice)):
            for one, other in zip(own, whole, strict=True):
                assert one == pytest.approx(other, nan_ok=True)


def test_images_without_a_process_group():
    objects, small, pixels = judged(range(3), False)
    assert objects["recall@0.5"] == small["recall@0.5"] == pytest.approx(3 / 6)
    assert pixels["recall/cell"] == pytest.approx(9 / 18)
