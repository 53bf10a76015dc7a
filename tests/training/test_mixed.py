"""Runs whose batches are mixed: losses, chance, and what is refused."""

from types import SimpleNamespace

import pytest
import torch

from microtome.data.mixing import CutMix, MixUp
from microtome.data.sampling import dice
from microtome.structures import ImageList, Segmentation
from microtome.training.mixed import check_mix, mixed_losses
from microtome.training.run import run
from small_runs import tiny_config


def mixing(kind, **options):
    return {"class_path": f"microtome.data.mixing.{kind}", "init_args": options}


def test_losses_are_weighed_as_the_truths_are():
    """By hand: one forward pass of the mixed images, judged by both truths."""
    model = Model()
    images, targets = batch()
    mix, chance = MixUp(1.0), dice(0, 5)
    found = mixed_losses(model, images, targets, mix, chance)
    expected = mix(images, targets, dice(0, 5))
    assert model.seen == [expected.images.tensor.sum().item()]
    (share, one), (rest, two) = expected.judgements
    by_hand = share * Model.value(one) + rest * Model.value(two)
    assert found["a"].item() == pytest.approx(by_hand.item())
    assert found["b"].item() == pytest.approx(2 * by_hand.item())
    plain = mixed_losses(model, images, targets, None, chance)
    assert plain["a"].item() == Model.value(targets).item()


class Model:
    def __init__(self):
        self.seen = []

    def __call__(self, images, targets):
        self.seen.append(images.tensor.sum().item())

    @staticmethod
    def value(targets):
        return torch.stack([i * t.classes.float().mean() for i, t in enumerate(targets, 1)]).sum()

    def losses(self, prediction, targets):
        return {"a": self.value(targets), "b": 2 * self.value(targets)}


def batch():
    images = ImageList.pad([torch.full((1, 4, 4), float(i)) for i in range(3)], (1, 1))
    return images, [Segmentation(torch.full((4, 4), i)) for i in range(3)]


@pytest.mark.parametrize("kind", ["CutMix", "MixUp"])
def test_a_mixed_run_learns_alike_twice(tissue, tmp_path, kind):
    def losses(mix, name):
        config = tiny_config(tissue, tmp_path / name, max_epochs=1)
        config["model"] |= {"mix": mix}
        return run("fit", config).metrics["train/loss"]

    mixed = losses(mixing(kind, prob=1.0), "one")
    assert mixed == losses(mixing(kind, prob=1.0), "two")
    assert mixed != losses(mixing(kind, prob=0.0), "three")


def test_objects_and_single_images_are_refused(tissue, tmp_path):
    model = SimpleNamespace(head=SimpleNamespace(scored=False))
    with pytest.raises(ValueError, match="mix: CutMix is for heads that answer with classes"):
        check_mix(CutMix(), model, 4)
    config = tiny_config(tissue, tmp_path, max_epochs=1)
    config["model"] |= {"mix": mixing("MixUp")}
    config["data"]["init_args"]["batch_size"] = 1
    with pytest.raises(Exception, match="MixUp mixes the images of a batch: take batch_size 2"):
        run("fit", config)
