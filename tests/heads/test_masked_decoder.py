"""Masked attention: the same for a part of the queries at a time, and then no pair is kept."""

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from microtome.heads import masked_decoder
from microtome.heads.masked_decoder import MaskedDecoder
from microtome.heads.pixel_decoder import DecodedPixels
from microtome.structures import ImageList

QUERIES, DIM = 40, 16


def decoded(shape):
    """Answers and gradients of two images, and the most numbers of a tensor kept for the latter."""
    torch.manual_seed(0)
    decoder = MaskedDecoder(3, QUERIES, DIM, layers=2, levels=2, num_heads=2)
    shapes = [[s // k for s in shape] for k in (4, 2, 1)]
    *levels, features = [torch.randn(2, DIM, *s).requires_grad_() for s in shapes]
    image = torch.zeros(2, 1, *(4 * s for s in shape))
    images = ImageList(image, torch.tensor([image.shape[2:]] * 2))
    kept = []

    def keep(x):
        kept.append(x.numel())
        return x

    with saved_tensors_hooks(keep, lambda x: x):
        out = decoder(DecodedPixels(features, levels), images)
    total = out.class_logits.square().sum() + out.embeddings.square().sum()
    gradients = torch.autograd.grad(total, (*levels, *decoder.parameters()))
    return (out.class_logits, out.embeddings, *gradients), max(kept)


@pytest.mark.parametrize("shape", [(32, 64), (8, 16, 16)])
def test_parts_of_the_queries_attend_alike(shape, monkeypatch):
    whole, most = decoded(shape)
    pairs = 2 * QUERIES * torch.Size(shape).numel() // 2 ** len(shape)  # at the finer level
    monkeypatch.setattr(masked_decoder, "PAIRS_KEPT", 1)
    monkeypatch.setattr(masked_decoder, "PAIRS_AT_ONCE", pairs // 2)
    parts, most_in_parts = decoded(shape)
    torch.testing.assert_close(parts, whole)
    assert most_in_parts < pairs <= most
