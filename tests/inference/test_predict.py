from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from microtome.data.resizing import resized
from microtome.inference import predict, predict_resized, predict_scores
from microtome.inference.decide import highest
from microtome.structures import Segmentation


class Remembers:
    """Says class 1 where the first channel is above a half, and keeps what it was asked."""

    def __init__(self, count=2):
        self.samples, self.sizes, self.count = [], [], count

    def predict_samples(self, samples):
        self.samples += samples
        self.sizes.append(len(samples))
        right = [(s.image[0] > 0.5).long() for s in samples]
        return [Segmentation(scores=F.one_hot(r, self.count).movedim(-1, 0).float()) for r in right]


@pytest.mark.parametrize("shape", [(40,), (33, 50), (6, 20, 31)])
def test_a_local_model_gives_the_same_in_tiles(memory, shape):
    torch.manual_seed(0)
    image = torch.rand(2, *shape)
    result = predict(memory(image), Remembers(), tile=16, overlap=0.5)
    assert result.scores is None
    assert result.classes.dtype == torch.uint8
    assert torch.equal(result.classes.long(), (image[0] > 0.5).long())


def test_the_model_is_told_where_a_tile_lies(memory):
    model, image = Remembers(), torch.rand(1, 20, 30)
    predict(
        memory(image, name="slide", spacing=(0.5, 0.25)), model, tile=16, overlap=0, batch_size=3
    )
    assert model.sizes == [3, 1]
    last = model.samples[-1]
    assert last.placement == ((4.0, 14.0), (1.0, 1.0), (20, 30))
    assert torch.equal(last.image, image[:, 4:20, 14:30])
    assert last.spacing == (0.5, 0.25)
    assert last.channels == ("c0",)
    assert last.intensity is not None
    assert last.meta["name"] == "slide"


def test_batches_do_not_matter_and_progress_is_told(memory, network):
    torch.manual_seed(0)
    image, told = torch.rand(2, 50, 50), []
    one = predict_scores(memory(image), network(2), tile=16, batch_size=1)
    many = predict_scores(memory(image), network(2), tile=16, batch_size=7)
    torch.testing.assert_close(one, many, atol=1e-6, rtol=0)
    predict(
        memory(image), network(2), tile=32, batch_size=2, progress=lambda *now: told.append(now)
    )
    assert told == [(2, 9), (4, 9), (6, 9), (8, 9), (9, 9)]


def test_many_classes_need_a_wider_type(memory):
    result = predict(memory(torch.rand(1, 8, 8)), Remembers(300), tile=4)
    assert result.classes.dtype == torch.int32


def test_what_is_wrong_is_said(memory):
    class Silent:
        def predict_samples(self, samples):
            return [Segmentation(classes=s.image[0]) for s in samples]

    source = memory(torch.rand(1, 8, 8))
    with pytest.raises(ValueError, match="0 results with scores or objects for 1 samples"):
        predict(source, Silent())
    with pytest.raises(ValueError, match="batch_size must be"):
        predict(source, Remembers(), batch_size=0)
    with pytest.raises(ValueError, match="size must be"):
        predict_resized(source, Remembers(), size=0)


def test_highest_is_argmax_and_refuses_nan():
    torch.manual_seed(0)
    scores = torch.randint(0, 4, (5, 30, 30)).float()  # many ties: the first class wins
    assert torch.equal(highest(scores).long(), scores.argmax(0))
    scores[3, 4, 5] = float("nan")
    with pytest.raises(ValueError, match="not a number"):
        highest(scores)


@pytest.mark.parametrize("shape", [(40, 64), (80, 25), (33, 90), (1, 70)])
def test_resizing_is_pytorchs_antialiased_bilinear(shape):
    torch.manual_seed(0)
    maps = torch.rand(3, 57, 64)
    want = F.interpolate(maps[None], shape, mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(resized(maps, shape), want, atol=1e-5, rtol=0)


def test_resizing_up_in_3d_is_trilinear():
    maps = torch.rand(2, 4, 5, 6)
    want = F.interpolate(maps[None], (9, 5, 13), mode="trilinear")[0]
    torch.testing.assert_close(resized(maps, (9, 5, 13)), want, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(101, 76), (64, 64), (20, 30), (12, 40, 51)])
def test_resized_prediction_comes_back_in_the_original_shape(memory, shape):
    image = torch.zeros(1, *shape)
    inside = tuple(slice(s // 4, s - s // 4) for s in shape)
    image[(0, *inside)] = 1
    model = Remembers()
    result = predict_resized(memory(image, spacing=(1.0,) * len(shape)), model, size=32)
    assert model.samples[0].shape == (32,) * len(shape)
    assert model.samples[0].spacing == tuple(s / 32 for s in shape)
    assert model.samples[0].placement.scale == tuple(s / 32 for s in shape)
    assert result.classes.shape == shape
    wrong = (result.classes.long() != image[0].long()).float().mean()
    assert wrong < 0.02
