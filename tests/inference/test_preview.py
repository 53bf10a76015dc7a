from __future__ import annotations

import pytest
import torch

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


def test_a_small_image_stays_as_it_is(memory):
    image = torch.rand(2, 13, 17)
    small = preview(memory(image))
    assert small.steps == (1, 1)
    assert torch.equal(small.image, image)
