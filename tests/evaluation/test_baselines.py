from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.filters import threshold_otsu

from microtome.evaluation import ConstantClass, NearestMeanColour, Otsu, evaluate
from microtome.structures import Classes, DataSample, Segmentation

CLASSES = Classes(("pink", "violet", "never"))
COLOURS = torch.tensor([[0.9, 0.6, 0.7], [0.5, 0.2, 0.6]])


def sample(shape, seed=0):
    torch.manual_seed(seed)
    truth = torch.zeros(shape, dtype=torch.int64)
    truth[tuple(slice(s // 3) for s in shape)] = 1
    image = COLOURS[truth].movedim(-1, 0) + 0.02 * torch.randn(3, *shape)
    truth[-1] = 255
    return DataSample(image, Segmentation(truth))


@pytest.mark.parametrize("shape", [(40,), (30, 20), (8, 20, 20)])
def test_the_nearest_mean_colour_separates_colours(shape):
    samples = [sample(shape, seed) for seed in range(3)]
    model = NearestMeanColour.fit(samples, CLASSES)
    torch.testing.assert_close(model.means[:2], COLOURS, atol=0.02, rtol=0)
    assert model.means[2].isnan().all()
    results = model.predict_samples(samples)
    assert results[0].scores.shape == (3, *shape)
    assert results[0].scores.dtype == torch.float32
    truths = [s.truth for s in samples]
    assert evaluate(results, truths, CLASSES)["miou"] > 0.95


@pytest.mark.parametrize("shape", [(40,), (30, 20), (8, 20, 20)])
def test_the_constant_class_is_the_most_frequent(shape):
    samples = [sample(shape)]
    model = ConstantClass.fit(samples, CLASSES)
    assert (model.index, model.count) == (0, 3)
    (result,) = model.predict_samples(samples)
    assert result.scores.shape == (3, *shape)
    assert result.decided().classes.unique().tolist() == [0]


@pytest.mark.parametrize("shape", [(30, 20), (8, 20, 20)])
def test_otsu_is_that_of_scikit_image(shape):
    image = sample(shape).image
    grey = image.mean(0).numpy()
    want = grey > threshold_otsu(grey)
    for side, expected in (("bright", want), ("dark", ~want)):
        (result,) = Otsu(side).predict_samples([DataSample(image)])
        assert np.array_equal(result.decided().classes.numpy().astype(bool), expected)


def test_a_uniform_image_does_not_stop_otsu():
    (result,) = Otsu().predict_samples([DataSample(torch.full((3, 5, 5), 0.4))])
    assert not result.decided().classes.any()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="no pixel"):
        NearestMeanColour.fit([DataSample(torch.rand(3, 4, 4))], CLASSES)
    with pytest.raises(ValueError, match="class 3 is none of the 3"):
        ConstantClass(3, 3)
    with pytest.raises(ValueError, match="'dark' or 'bright'"):
        Otsu("grey")
