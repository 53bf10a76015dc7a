"""The comparison by which a killed run on a large volume is judged."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from microtome.geometry import window
from microtome.testing.known_objects import KnownObjects
from microtome.testing.labels_on_disk import LabelsOnDisk

ROOT = Path(__file__).parents[2]
SHAPE = (20, 40, 40)


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    from benchmarks.invariance import compare

    return compare


def judged(compare, change):
    truth = KnownObjects(SHAPE, cell=20)
    values = truth.read(window(SHAPE)).astype(np.uint32)
    change(values)
    store = LabelsOnDisk(None, SHAPE, (16, 16, 16))
    store.write(window(SHAPE), values)
    return compare(store, truth)


def test_any_numbering_of_the_right_objects_is_right(compare):
    def turned(values):
        values[values > 0] = 1000 - values[values > 0]

    assert judged(compare, turned) == (0, 16, 0)


def test_voxels_objects_and_holes_are_counted(compare):
    def one_voxel(values):
        values[tuple(np.argwhere(values == 5)[-1])] = 0

    def joined(values):
        values[values == 6] = 5

    def split(values):
        late = values == 5
        late[:, :, :30] = False
        values[late] = 77
        assert late.any()

    def missing(values):
        values[values == 5] = 0

    assert judged(compare, one_voxel)[0] == 1
    assert judged(compare, joined)[1:] == (16, 1)
    assert judged(compare, split)[0] > 1
    assert judged(compare, missing)[1:] == (16, 1)
