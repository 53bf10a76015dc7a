"""Images made as large as a model was trained for; results come back as they were."""

import pytest
import torch

from microtome.backbones.unet import UNet
from microtome.blueprint import build
from microtome.heads.dense import Dense
from microtome.models import Segmenter
from microtome.models.resize import Resize, resized_truth, restored
from microtome.structures import (
    Boxes,
    Classes,
    DataSample,
    Instances,
    LabelLayers,
    Segmentation,
)

CLASSES = Classes(("background", "nucleus"))


@pytest.mark.parametrize(
    "have, want",
    [
        ((40, 60), (80, 120)),
        ((40, 100), (64, 160)),
        ((200, 300), (80, 120)),
        ((8, 20, 40), (32, 80, 160)),
        ((1, 400), (1, 160)),
        ((62, 62), (80, 80)),
    ],
)
def test_the_shortest_axis_counts_unless_the_longest_becomes_too_long(have, want):
    assert Resize(80, 160).shape(have) == want


@pytest.mark.parametrize("sizes", [(0, 10), (20, 10)])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(ValueError, match="shortest <= longest"):
        Resize(*sizes).checked()


def objects():
    """Two squares of four pixels and one of a single pixel."""
    ids = torch.zeros(12, 16, dtype=torch.long)
    ids[2:6, 2:6], ids[6:10, 8:12], ids[0, 15] = 1, 2, 3
    layers = LabelLayers.from_ids(ids)
    return Instances(torch.ones(3, dtype=torch.long), Boxes(layers.boxes()), masks=layers)


def test_truth_follows_and_keeps_the_boxes_of_objects_too_small_for_a_pixel():
    truth = resized_truth(Segmentation(instances=objects()), (6, 8))
    assert truth.instances.boxes.tensor.tolist() == [[1, 1, 3, 3], [3, 4, 5, 6], [0, 7.5, 0.5, 8]]
    assert truth.instances.masks.areas().tolist()[:2] == [4, 4] and len(truth.instances) == 3
    without = Instances(objects().labels, masks=objects().masks)
    boxes = resized_truth(Segmentation(instances=without), (6, 8)).instances.boxes
    assert boxes.tensor.equal(truth.instances.boxes.tensor)


def test_results_come_back():
    found = Segmentation(instances=objects())
    same = restored(found, (12, 16))
    assert same.instances is found.instances
    small = restored(found, (3, 4)).instances
    assert small.masks.maps.shape[1:] == (3, 4) and len(small) == len(small.masks) == 2
    scores = restored(Segmentation(scores=torch.rand(2, 12, 16)), (24, 32)).scores
    assert scores.shape == (2, 24, 32)


@pytest.mark.parametrize("shape", [(20, 28), (8, 20, 28)], ids=["plane", "volume"])
def test_a_segmenter_answers_at_the_size_of_the_image(shape):
    torch.manual_seed(0)
    options = {"strides": (1, 2, 2), "filters": (4, 8, 8)}
    unet = UNet(in_channels=1, spatial_dims=len(shape), options=options)
    model = Segmenter(unet, Dense, CLASSES, resize=Resize(16, 64))
    classes = torch.zeros(shape, dtype=torch.long)
    sample = DataSample(torch.rand(1, *shape), Segmentation(classes), (1.0,) * len(shape))
    images, targets = model.prepare([sample])
    factor = 16 / min(shape)
    wanted = [int(s * factor) for s in shape]
    assert images.shapes.tolist() == [wanted] and images.sources.tolist() == [list(shape)]
    expected = [a / b for a, b in zip(shape, wanted, strict=True)]
    assert images.spacing[0].tolist() == pytest.approx(expected)
    assert targets[0].classes.shape == images.canvas
    (result,) = model.predict_samples([sample])
    assert result.scores.shape == (2, *shape)
    twin = build(model.blueprint)
    assert twin.resize == model.resize
