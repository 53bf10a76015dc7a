from __future__ import annotations

import numpy as np
import pytest
import torch

from microtome.inference.runs import Runs, overlaps
from microtome.ops.mask_overlap import mask_overlap
from microtome.ops.masks_to_boxes import masks_to_boxes

SHAPES = [(40,), (9, 30), (7, 5, 12), (1, 1, 1), (3, 4, 1)]


def some_labels(shape, seed=0):
    """Labels 0…5 in pieces of some length, so that runs also meet ends of lines."""
    rng = np.random.default_rng(seed)
    flat = np.repeat(rng.integers(0, 6, int(np.prod(shape))), rng.integers(1, 5))
    return flat[: int(np.prod(shape))].reshape(shape).astype(np.int32)


def painted(runs, table=None):
    out = np.zeros(runs.shape, np.int64)
    runs.paint(out, np.arange(7) if table is None else table)
    return out


def test_runs_of_two_lines():
    runs = Runs.of(np.array([[0, 2, 2, 0, 1], [1, 1, 0, 0, 0]]))
    assert runs.values.tolist() == [2, 1, 1]  # an object that goes on in the next line has two
    assert runs.starts.tolist() == [1, 4, 5]
    assert runs.lengths.tolist() == [2, 1, 2]
    assert runs.areas(3).tolist() == [3, 2, 0]
    assert runs.first(3).tolist() == [4, 1, 0]
    assert runs.boxes(3).tolist() == [[0, 0, 2, 5], [0, 1, 1, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize("shape", SHAPES)
def test_runs_paint_any_region(shape):
    """Also regions that reach beyond the map, which is empty there."""
    labels = some_labels(shape)
    runs, padded = Runs.of(labels), np.pad(labels, 3)
    assert np.array_equal(painted(runs), labels)
    table = np.array([0, 9, 0, 7, 0, 1, 2])
    assert np.array_equal(painted(runs, table), table[labels])
    rng = np.random.default_rng(1)
    for _ in range(40):
        low = [int(rng.integers(-3, s + 3)) for s in shape]
        high = [int(rng.integers(a + 1, s + 4)) for a, s in zip(low, shape, strict=True)]
        region = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        there = tuple(slice(a + 3, b + 3) for a, b in zip(low, high, strict=True))
        assert np.array_equal(painted(runs.seen(region)), padded[there])


@pytest.mark.parametrize("shape", SHAPES)
def test_measures_are_those_of_pixels(shape):
    labels = some_labels(shape)
    runs = Runs.of(labels)
    assert runs.areas(6).tolist() == np.bincount(labels.ravel(), minlength=7)[1:].tolist()
    boxes = masks_to_boxes(torch.from_numpy(labels)[None], 6)
    assert np.array_equal(runs.boxes(6), boxes.numpy())
    for label, first in enumerate(runs.first(6), start=1):
        if (labels == label).any():
            assert first == np.flatnonzero(labels == label)[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_overlaps_are_those_of_pixels(shape):
    a, b = some_labels(shape, 1), some_labels(shape, 2)
    real = (a > 0) & (b > 0)
    expected = mask_overlap(torch.from_numpy(a[real]), torch.from_numpy(b[real]))
    found = overlaps(Runs.of(a), Runs.of(b))
    for column, wanted in zip(found, expected, strict=True):
        assert column.tolist() == wanted.tolist()


def test_an_empty_map_has_no_runs():
    empty, full = Runs.of(np.zeros((4, 5), np.int32)), Runs.of(np.ones((4, 5), np.int32))
    assert [len(column) for column in overlaps(empty, full)] == [0, 0, 0]
    assert [len(column) for column in overlaps(full, empty)] == [0, 0, 0]
    assert empty.boxes(2).tolist() == [[0] * 4] * 2
    assert not painted(empty).any()
