"""How many objects a crop can meet, on maps small enough to count."""

import numpy as np
import pytest

from microtome.data.crowding import boxes_of, crowd_of, seen_at_once
from microtome.data.datamodule import DataModule
from microtome.data.synthetic import SyntheticTissue


def crowd(layers, window):
    return crowd_of(boxes_of(layers), layers.shape[1:], window)


ROW = np.array([1, 0, 7, 0, 0, 0, 3, 3, 4, 0, 0, 5])


@pytest.mark.parametrize(
    "window, most", [(1, 1), (2, 2), (4, 2), (5, 3), (8, 3), (9, 4), (11, 4), (12, 5), (99, 5)]
)
def test_the_fullest_place_of_a_row(window, most):
    """Objects at 0, 2, 6 to 7, 8 and 11: five pixels from 7 on meet three, nine from 0 on four."""
    assert crowd(ROW[None], window).most == most


def met(layers, window):
    """By looking at every place: the most, and the share without any."""
    shape = layers.shape[1:]
    places = np.ndindex(*[max(1, s - w + 1) for s, w in zip(shape, window, strict=True)])
    counts = []
    for place in places:
        cut = tuple(slice(p, p + w) for p, w in zip(place, window, strict=True))
        counts.append(sum(len(set(np.unique(m[cut])) - {0}) for m in layers))
    return max(counts), np.mean(np.array(counts) == 0)


@pytest.mark.parametrize("window", [(2, 3, 3), (1, 8, 2), (9, 9, 9)])
def test_as_by_looking_at_every_place(window):
    """Boxes are their objects here; two layers; some windows are larger than the volume."""
    rng = np.random.default_rng(0)
    layers = np.zeros((2, 4, 7, 8), np.int32)
    for number in range(1, 15):
        z, y, x = rng.integers(0, (4, 7, 8))
        part = layers[number % 2, z : z + 2, y : y + 2, x : x + 1]
        if not part.any():
            part[...] = number * 1000
    assert crowd(layers, window) == pytest.approx(met(layers, window))
    assert crowd(layers, window).most > 2


def test_nothing_is_met_without_objects_and_not_counted_without_crops():
    assert crowd(np.zeros((1, 5, 5), np.uint8), 3) == (0, 1.0)
    assert crowd(ROW[None], None) is None
    assert crowd(np.ones((1, 5, 5), np.uint8), [3, 3, 3]) is None  # told by the crop itself


def test_a_crop_of_a_smaller_image_shows_more_of_the_file():
    assert seen_at_once(64, 0.5) == 128 and seen_at_once([10, 64], 1.5) == [7, 43]


def test_a_report_proposes_queries_for_crops():
    whole = DataModule(SyntheticTissue(1), SyntheticTissue(1, start=1), workers=0).inspect()
    cropped = DataModule(
        SyntheticTissue(1), SyntheticTissue(1, start=1), crop=48, workers=0
    ).inspect()
    assert 0 < cropped.most_objects < whole.most_objects
    most = max(max(s.objects) for s in whole.splits.values())
    assert f"at most {most} objects in one image" in whole.text()
    assert f"at most {cropped.most_objects} objects in one training crop" in cropped.text()
    assert "`num_queries: 100` or more" in cropped.text()
