"""Published weights of a Mask R-CNN in torchvision's layout, such as `maskrcnn_resnet50_fpn`'s."""

from __future__ import annotations

import logging

from torch import nn

from ...weights import KeyMap, LoadReport, State, load_weights, read_state

log = logging.getLogger("microtome")

FROM_TORCHVISION: KeyMap = (
    (r"^rpn\.head\.conv\.(weight|bias)$", r"rpn.conv.0.0.\1"),  # as older files have it
    (r"^rpn\.head\.conv\.", "rpn.conv."),
    (r"^rpn\.head\.cls_logits\.", "rpn.objectness."),
    (r"^rpn\.head\.bbox_pred\.", "rpn.deltas."),
    (r"^roi_heads\.box_head\.", "regions.boxes."),
    (r"^roi_heads\.box_predictor\.cls_score\.", "regions.boxes.classify."),
    (r"^roi_heads\.box_predictor\.bbox_pred\.", "regions.boxes.deltas."),
    (r"^roi_heads\.mask_head\.mask_fcn1\.", "regions.masks.convs.0.0."),
    (r"^roi_heads\.mask_head\.mask_fcn2\.", "regions.masks.convs.1.0."),
    (r"^roi_heads\.mask_head\.mask_fcn3\.", "regions.masks.convs.2.0."),
    (r"^roi_heads\.mask_head\.mask_fcn4\.", "regions.masks.convs.3.0."),
    (r"^roi_heads\.mask_head\.", "regions.masks.convs."),
    (r"^roi_heads\.mask_predictor\.conv5_mask\.", "regions.masks.up."),
    (r"^roi_heads\.mask_predictor\.mask_fcn_logits\.", "regions.masks.logits."),
)

_OF_CLASSES = ("regions.boxes.classify.", "regions.boxes.deltas.", "regions.masks.logits.")


def load_published(head: nn.Module, path: str) -> LoadReport:
    """Fill a Mask R-CNN from a local file or folder; the backbone's weights are left out.

    The layers that depend on the classes stay as they are where their shapes differ, and a warning
    names them. Everything else has to be there and to fit.

    Raises ValueError when it does not, and what `weights.read_state` raises.
    """
    state = torchvision_state(read_state(path))
    report = load_weights(head, state, FROM_TORCHVISION, at_least=0.5)
    own = [k for k in report.mismatched if k.startswith(_OF_CLASSES)]
    wrong = [
        *(k for k in report.mismatched if k not in own),
        *(f"{k} is not in the file" for k in report.missing),
        *(f"{k} is only in the file" for k in report.unused),
    ]
    if wrong:
        more = ", ..." if len(wrong) > 5 else ""
        raise ValueError(
            f"{path}: weights of a Mask R-CNN of other sizes ({', '.join(wrong[:5])}{more}); give "
            "the anchors, cells, layers and channels it has, in two dimensions"
        )
    log.info("%s: %s", path, report)
    if own:
        log.warning(f"{path}: left at random, the shape there for the shape here: {', '.join(own)}")
    return report


def torchvision_state(state: State) -> State:
    """The head's part, boxes in array order: `dx dy dw dh` become `dy dx dh dw`."""
    ours = {k: v for k, v in state.items() if k.startswith(("rpn.", "roi_heads."))}
    for key, value in ours.items():
        if ".bbox_pred." in key:
            ours[key] = value.unflatten(0, (-1, 2, 2)).flip(2).flatten(0, 2)
    return ours
