"""The whole model against transformers': timm's ResNet, pixel decoder, decoder, every loss."""

from functools import cache
from unittest import mock

import pytest
import torch
from mask2former_pair import CASES, PUBLISHED, batch, compared, make_pair, relative

from microtome.heads import masked_decoder

pair = cache(make_pair)


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.size.backbone}-{c.shapes}-{c.known}")
def test_logits_and_losses_of_all_layers_agree(case):
    differences = compared(pair(case.size), case)
    assert len(differences) == 5
    assert max(differences.values()) <= 1e-4, differences


def test_transformers_model_does_not_read_its_pixel_mask():
    """So its published weights have seen padding as image; ours know it as padding."""
    theirs, ours = pair(CASES[4].size)
    images, _ = ours.prepare(batch(CASES[4].shapes))
    assert not images.valid_mask.all()
    with torch.no_grad():
        told = theirs(images.tensor, pixel_mask=images.valid_mask.long())
        untold = theirs(images.tensor)
    assert told.masks_queries_logits.equal(untold.masks_queries_logits)


@pytest.mark.slow
def test_larger_images_differ_only_where_a_mask_begins():
    """Masked attention asks whether a logit is at least 0; rounding decides where it almost is.

    With the same answers on both sides the logits agree, and the answers differ hardly anywhere.
    """
    theirs, ours = pair(PUBLISHED)
    images, _ = ours.prepare(batch([(256, 320)]))
    their_answers, our_answers = [], []
    predictor = theirs.model.transformer_module.decoder.mask_predictor
    handle = predictor.register_forward_hook(lambda _, __, out: their_answers.append(out[1]))
    with torch.no_grad():
        output = theirs(images.tensor, output_auxiliary_logits=True)
    handle.remove()
    found = masked_decoder._where_masks_are

    def answered(embeddings, level):
        hidden = their_answers[len(our_answers)][:1]  # of the first head; all are alike
        their_seen = ~hidden | hidden.all(-1, keepdim=True)
        our_answers.append((their_seen != found(embeddings, level)).sum() / their_seen.numel())
        return their_seen

    with torch.no_grad(), mock.patch.object(masked_decoder, "_where_masks_are", answered):
        prediction = ours(images)
    for index, layer in enumerate([*output.auxiliary_logits, output]):
        assert relative(prediction.class_logits[index], layer["class_queries_logits"]) <= 1e-5
        assert relative(prediction.mask_logits(index), layer["masks_queries_logits"]) <= 1e-5
    assert len(our_answers) == 9 and max(our_answers) < 1e-4


def test_a_wrong_weight_is_seen():
    """The comparison can fail: one bias of the decoder moved by a hundredth."""
    bias = pair(CASES[0].size).ours.head.decoder.layers[0].look.out.bias
    with torch.no_grad():
        bias[0] += 0.01
    worst = max(compared(pair(CASES[0].size), CASES[0]).values())
    with torch.no_grad():
        bias[0] -= 0.01
    assert worst > 1e-4
