"""Mask DINO of 300 queries, 6 and 9 layers against the published code of that size."""

import pytest
import torch
from maskdino_published import published_weights
from maskdino_published_size import CLASSES, SPEC, batch, digest, make_head, objects, stored

from microtome.heads.maskdino import MaskDINO
from microtome.heads.maskdino_weights import FROM_PUBLISHED, published_state
from microtome.heads.published import fill

X_Y_W_H = [1, 0, 3, 2]  # of centre and sizes in array order


@pytest.fixture(scope="module")
def theirs():
    return stored()


def test_every_published_name_has_a_place_of_its_shape(theirs):
    """And every place has a name."""
    with torch.device("meta"):
        head = MaskDINO(SPEC, CLASSES)
        state = {name: torch.empty(shape) for name, shape in theirs["state"].items()}
    report = fill(head, published_state(state), FROM_PUBLISHED, (), "maskdino_r50.npz")
    assert len(report.matched) == len(head.state_dict()) == 376
    assert not (report.adapted or report.mismatched or report.missing or report.unused)


@pytest.mark.slow
def test_every_layer_answers_the_same(theirs, tmp_path):
    path = tmp_path / "model.pth"
    torch.save({"model": published_weights(theirs["state"])}, path)
    head = make_head(str(path)).train()
    maps, images = batch()
    with torch.no_grad():
        predicted = head(maps, images, objects())
    answers = {}
    for part in ("found", "denoised", "proposed"):
        its = getattr(predicted, part)
        masks = torch.einsum("lbqe,behw->lbqhw", its.embeddings, predicted.features)
        answers[part] = its.class_logits, its.boxes[..., X_Y_W_H], masks
    assert answers["found"][0].shape == (10, 1, 300, 80)
    assert answers["denoised"][1].shape == (10, 1, 99, 4)
    for name, ours in digest(answers).items():
        expected = theirs[name]
        assert abs(ours - expected).max() <= 1e-4 * expected[-1], name
