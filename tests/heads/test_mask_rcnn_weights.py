"""Weights of a published Mask R-CNN: other names, other classes, other sizes."""

import logging

import pytest
import torch
from mask_rcnn_pair import make_pair

from microtome.heads.mask_rcnn.published import load_published


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return make_pair(tmp_path_factory.mktemp("weights"))


def test_older_names_and_other_classes(pair, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "microtome")  # whatever a test before it asked for
    state = pair.theirs.state_dict()
    older = {
        k.replace("rpn.head.conv.0.0.", "rpn.head.conv.").replace(
            "roi_heads.mask_head.0.0.", "roi_heads.mask_head.mask_fcn1."
        ): v
        for k, v in state.items()
    }
    assert len(older.keys() - state.keys()) == 4
    torch.save(older, tmp_path / "older.pth")
    head = pair.ours.head
    before = {k: v.clone() for k, v in head.state_dict().items()}
    report = load_published(head, str(tmp_path / "older.pth"))
    assert report.share == 1 and not report.unused and not caplog.records
    assert all(v.equal(before[k]) for k, v in head.state_dict().items())
    older["roi_heads.box_predictor.cls_score.weight"] = torch.zeros(91, 64)
    torch.save(older, tmp_path / "coco.pth")
    report = load_published(head, str(tmp_path / "coco.pth"))
    (record,) = caplog.records
    assert "regions.boxes.classify.weight [91, 64] for [3, 64]" in record.message
    assert report.mismatched and not report.missing


@pytest.mark.parametrize(
    "key, value, message",
    [
        ("rpn.head.cls_logits.weight", torch.zeros(9, 32, 1, 1), r"rpn\.objectness\.weight \[9"),
        (
            "roi_heads.mask_head.4.0.weight",
            torch.zeros(1),
            r"regions\.masks\.convs\.4.* is only in the file",
        ),
        ("roi_heads.box_head.fc7.bias", None, r"regions\.boxes\.fc7\.bias is not in the file"),
    ],
)
def test_weights_of_another_head_are_refused(pair, tmp_path, key, value, message):
    state = pair.theirs.state_dict()
    if value is None:
        del state[key]
    else:
        state[key] = value
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=message):
        load_published(pair.ours.head, str(tmp_path / "other.pth"))
