from __future__ import annotations

import numpy as np
import pytest
import torch

from microtome.data.stores import create_image, create_labels, open_labels, open_source
from microtome.geometry import window
from microtome.inference import preview as room
from microtome.inference.preview import preview


@pytest.mark.parametrize("shape", [(70, 41), (20, 50, 30)])
def test_a_large_image_is_read_in_bands_and_averaged(memory, monkeypatch, shape):
    monkeypatch.setattr(room, "ENOUGH", 800)
    monkeypatch.setattr(room, "BAND", 4)
    classes = torch.zeros(shape, dtype=torch.uint8)
    classes[shape[0] // 2 :] = 1
    source = memory(classes[None].float(), spacing=(1.0,) * len(shape))
    small = preview(source)
    assert small.image[0].numel() <= 800
    assert small.spacing == tuple(float(s) for s in small.steps)
    assert len(source.regions) > 1
    there = small.shrunk(classes)
    assert there.shape == small.image.shape[1:]
    pure = (small.image[0] == 0) | (small.image[0] == 1)
    assert torch.equal(there[pure].float(), small.image[0][pure])


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """An OME-Zarr of three levels, z half as fine as y and x, with labels that mirror it."""
    place, shape = tmp_path_factory.mktemp("stored") / "a.zarr", (10, 600, 530)
    grid = np.indices(shape)
    values = (grid[1] // 8 * 8 % 256).astype(np.uint16)
    image = create_image(place, shape, spacing=(4, 1, 1), dtype="uint16")
    image.write(window((1, *shape)), values[None])
    image.finish()
    labels = create_labels(place, shape, spacing=(4, 1, 1))
    labels.write(window(shape), values + 1)
    labels.finish()
    return place, values


def test_of_a_pyramid_a_coarse_level_is_read(stored, monkeypatch):
    place, values = stored
    source, labels = open_source(place, channels="grey"), open_labels(place)
    assert source.coarser()[1] == (1, 2, 2) and labels.coarser()[1] == (1, 2, 2)
    assert labels.coarser()[0].spacing == source.coarser()[0].info.spacing == (4, 2, 2)
    monkeypatch.setattr(room, "ENOUGH", 10 * 300 * 265)
    monkeypatch.setattr(type(source), "read", counted(type(source).read, asked := []))
    small = preview(source)
    assert small.steps == (1, 2, 2) and small.image.shape == (1, 10, 300, 265)
    assert max(region[1].stop for region in asked) <= 300, "nothing of the finest level"
    expected = values[:, ::2, ::2] / values.max()  # blocks of 8 rows are alike
    np.testing.assert_allclose(small.image[0], expected, atol=1e-6)
    monkeypatch.setattr(type(labels), "read", counted(type(labels).read, asked := []))
    assert np.array_equal(small.thinned(labels), values[:, ::2, ::2] + 1)
    assert max(region[1].stop for region in asked) <= 300


def test_a_pyramid_that_ends_too_early_is_shrunk_further(stored, monkeypatch):
    place, values = stored
    monkeypatch.setattr(room, "ENOUGH", 10_000)
    small, labels = preview(open_source(place, channels="grey")), open_labels(place)
    assert small.image[0].numel() <= 10_000 and small.spacing[1] == small.steps[1]
    places = np.ix_(*small.middles(values.shape))
    coarse = small.thinned(labels)
    assert coarse.shape == tuple(small.image.shape[1:])
    assert abs(coarse - 1 - values[places].astype(int)).max() <= 8, "off by a block at most"


def counted(read, asked):
    return lambda self, region: asked.append(region) or read(self, region)


def test_a_small_image_stays_as_it_is(memory):
    image = torch.rand(2, 13, 17)
    small = preview(memory(image))
    assert small.steps == (1, 1)
    assert torch.equal(small.image, image)
