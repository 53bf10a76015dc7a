"""Mask DINO against the published code on equal weights: every layer, every loss."""

import logging

import pytest
import torch
from maskdino_published import (
    CLASSES,
    OPTIONS,
    SPEC,
    answers,
    batch,
    make_head,
    pools,
    published_weights,
    truths,
)

from microtome.heads.maskdino import MaskDINO
from microtome.heads.maskdino_weights import load_published, published_state
from microtome.structures import Classes, PyramidSpec

X_Y_W_H = [1, 0, 3, 2]  # of centre and sizes in array order


@pytest.fixture(scope="module")
def theirs():
    return answers()


@pytest.fixture(scope="module")
def weights(theirs, tmp_path_factory):
    """A checkpoint as detectron2 writes it: with a backbone, and the criterion's buffer."""
    path = tmp_path_factory.mktemp("maskdino") / "model.pth"
    state = published_weights(theirs["state"])
    more = {"backbone.stem.weight": torch.ones(1), "criterion.empty_weight": torch.ones(4)}
    torch.save({"model": {**state, **more}, "iteration": 7}, path)
    return path


@pytest.fixture(scope="module")
def head(weights):
    made = make_head()
    load_published(made, str(weights))
    return made.train()


@pytest.fixture(scope="module")
def predicted(head, theirs):
    maps, images = batch()
    with torch.no_grad():
        return head(maps, images, truths(theirs["corners"], theirs["labels"]))


def relative(value, expected):
    expected = torch.as_tensor(expected)
    return float((value - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("part", ["found", "proposed", "denoised"])
def test_every_layer_answers_the_same(predicted, theirs, part):
    ours = getattr(predicted, part)
    assert relative(ours.class_logits, theirs[f"{part}_classes"]) <= 1e-5
    assert relative(ours.boxes[..., X_Y_W_H], theirs[f"{part}_boxes"]) <= 1e-5
    masks = torch.einsum("bqe,behw->bqhw", ours.embeddings[-1], predicted.features)
    assert relative(masks, theirs[f"{part}_masks"]) <= 1e-5


def test_noisy_queries_change_nothing_for_the_others(head, predicted):
    maps, images = batch()
    with torch.no_grad():
        alone = head.eval()(maps, images)
    head.train()
    assert alone.denoised.boxes.shape[2] == 0 and predicted.denoised.boxes.shape[2] == 6
    for ours, expected in zip(alone.found, predicted.found, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_every_loss_is_the_same(head, predicted, theirs):
    """GIoU to a thousandth: theirs adds 1e-6 to areas, which are parts of the image."""
    targets = truths(theirs["corners"], theirs["labels"])
    losses = head.losses(predicted, targets, pools())
    assert losses.keys() == theirs["losses"].keys() == head.weights.keys()
    for name, value in losses.items():
        tolerance = 1e-3 if name.endswith("giou") else 1e-5
        assert value.item() == pytest.approx(theirs["losses"][name], rel=tolerance), name


def test_a_wrong_weight_is_seen(head, predicted):
    bias = head.decoder.layers[0].look.output_proj.bias
    maps, images = batch()
    with torch.no_grad():
        bias[0] += 0.01
        moved = head.eval()(maps, images)
        bias[0] -= 0.01
    head.train()
    assert relative(moved.found.class_logits, predicted.found.class_logits) > 1e-4


def test_other_classes_and_channels_stay_random(weights, caplog):
    spec = PyramidSpec((8, 16, 24, 40), SPEC.strides, SPEC.multiple)
    with caplog.at_level(logging.WARNING, logger="microtome"):
        MaskDINO(spec, Classes(("background", "cell")), **OPTIONS, pretrained=str(weights))
    (record,) = caplog.records
    named = ("pixels.project.0.0.weight", "decoder.classify.bias", "decoder.labels.weight")
    assert all(name in record.message for name in named)
    assert "project.1" not in record.message


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"decoder_layers": 3}, r"decoder\.layers\.2\..* is not in the file"),
        ({"decoder_layers": 1}, r"decoder.*layers\.1\..* is only in the file"),
        ({"num_heads": 4}, "sampling_offsets"),
    ],
)
def test_a_head_of_other_sizes_is_refused(weights, changed, message):
    with pytest.raises(ValueError, match=message):
        MaskDINO(SPEC, CLASSES, **{**OPTIONS, **changed}, pretrained=str(weights))


def test_array_order_of_what_is_read(theirs):
    """Boxes come as x, y, w, h; their waves as y, x, w, h."""
    name = "sem_seg_head.predictor._bbox_embed.layers.2.bias"
    assert published_state({name: torch.arange(4.0)})[name].tolist() == [1, 0, 3, 2]
    name = "sem_seg_head.predictor.decoder.ref_point_head.layers.0.weight"
    assert published_state({name: torch.arange(4.0)[None]})[name].tolist() == [[0, 1, 3, 2]]
