"""Images in memory, and what is measured of every image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from microtome.data.stores import ArraySource, measure
from microtome.data.stores.arrays import thinned
from microtome.structures import DataSample, Intensity


def test_measure_is_what_numpy_says_of_a_small_image():
    image = np.random.default_rng(4).random((2, 30, 40), dtype=np.float32)
    found = measure(image, ((0.0, 255.0),) * 2, True)
    flat = image.reshape(2, -1)
    np.testing.assert_allclose(found.mean, flat.mean(1), rtol=1e-6)
    np.testing.assert_allclose(found.std, flat.std(1), rtol=1e-5)
    np.testing.assert_allclose(found.low, np.percentile(flat, 1, axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.high, np.percentile(flat, 99.8, axis=1), rtol=1e-5)
    assert found.levels == ((0.0, 255.0),) * 2 and found.stated


@pytest.mark.parametrize("shape", [(1000, 1300), (1, 500_000), (40, 200, 200)])
def test_measure_looks_at_a_grid_of_at_most_65536_pixels(shape):
    seen = np.empty(shape)[thinned(shape)].size
    assert 30_000 < seen <= 65_536
    ramp = np.broadcast_to(np.linspace(0, 1, shape[-1], dtype=np.float32), (1, *shape))
    assert measure(ramp, ((0.0, 1.0),), True).mean[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("shape", [(20, 30), (5, 20, 30)])
def test_array_source(shape):
    image = torch.rand(2, *shape)
    given = Intensity(((0.0, 9.0),) * 2, False, (0.5,) * 2, (0.1,) * 2, (0.0,) * 2, (1.0,) * 2)
    sample = DataSample(image, spacing=(0.5,) * len(shape), intensity=given, meta={"name": "n"})
    source = ArraySource.from_sample(sample)
    assert source.info.name == "n" and source.info.shape == shape and source.intensity == given
    assert source.info.spacing == (0.5,) * len(shape)
    region = tuple(slice(1, 4) for _ in shape)
    assert (source.read(region) == image[(slice(None), *region)].numpy()).all()
    assert ArraySource(image.numpy(), name="m").intensity.mean == pytest.approx(
        image.flatten(1).mean(1).tolist(), abs=1e-5
    )
    with pytest.raises(ValueError, match="divide 8-bit values by 255"):
        ArraySource(np.zeros((1, 4, 4), np.uint8), name="raw")
