"""Small samples whose image, classes and objects tell the same story."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import yaml
from jsonargparse import ArgumentParser
from skimage.measure import regionprops

import microtome
from microtome.data.datasets import Transform
from microtome.data.sampling import dice
from microtome.structures import (
    Boxes,
    Classes,
    DataSample,
    Instances,
    LabelLayers,
    Segmentation,
)

RECIPES = Path(microtome.__file__).parent / "configs" / "transforms"
KEYS = ["image", "classes", "labels"]
CLASSES = Classes(("background", "small", "large"), (False, True, True))
IDS = (16_777_217, 20_000_001)  # float32 holds neither
SPACINGS = {2: (0.5, 0.25), 3: (2.0, 0.5, 0.25)}


def chance(number=0):
    return dice(0, number)


def make_sample(dims, spacing="known"):
    """Object 1 of class 1, object 2 of class 2, a column to ignore; the image shows the classes."""
    shape = (12, 24, 20)[-dims:]
    ids = torch.zeros(shape, dtype=torch.int64)
    ids[(slice(2, 6),) * (dims - 1) + (slice(3, 9),)] = IDS[0]
    ids[(slice(7, 11),) * (dims - 1) + (slice(11, 18),)] = IDS[1]
    classes = (ids == IDS[0]) + 2 * (ids == IDS[1])
    image = (classes / 2)[None].float().repeat(3, *[1] * dims)
    classes[..., 19] = 255
    masks = LabelLayers.from_ids(ids)
    instances = Instances(torch.tensor([1, 2]), Boxes(masks.boxes()), None, masks)
    return DataSample(
        image,
        Segmentation(classes, instances),
        SPACINGS[dims] if spacing == "known" else None,
        meta={"name": "it"},
    )


def assert_consistent(sample):
    """Image, classes, masks, boxes and ids still tell the same story."""
    truth, objects = sample.truth, sample.truth.instances
    known = truth.classes != 255
    assert truth.classes.dtype == torch.int64
    assert set(truth.classes.unique().tolist()) <= {0, 1, 2, 255}
    assert sample.image.shape[1:] == truth.classes.shape == objects.masks.maps.shape[1:]
    assert torch.equal((sample.image[0] * 2).round().long()[known], truth.classes[known])
    assert [IDS[label - 1] for label in objects.labels.tolist()] == objects.masks.ids.tolist()
    for number, label in enumerate(objects.labels.tolist(), start=1):
        inside = (objects.masks.maps[0] == number) & known
        assert (truth.classes[inside] == label).all()
        assert (objects.masks.maps[0][truth.classes == label] == number).all()
    found = [r.bbox for r in regionprops(objects.masks.maps[0].numpy())]
    assert objects.boxes.tensor.tolist() == [list(map(float, b)) for b in found]


def recipe(name):
    """The transforms of a packaged recipe, as a run builds them."""
    listed = yaml.safe_load((RECIPES / f"{name}.yaml").read_text())["transforms"]
    parser = ArgumentParser()
    parser.add_argument("--transforms", type=Sequence[Transform])
    return parser.instantiate(parser.parse_object({"transforms": listed})).transforms
