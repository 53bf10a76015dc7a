"""Objects sifted by another score than the head was made with."""

import mask_rcnn_scenes
import maskdino_scenes
import pytest
import torch
from mask_heads import CLASSES, PLANE, VOLUME, batch

from microtome.heads.dense import Dense
from microtome.heads.mask2former import Mask2Former

SMALL = {"num_queries": 8, "hidden": 32, "encoder_layers": 1, "decoder_layers": 3, "num_heads": 4}


def mask2former(spec, **options):
    torch.manual_seed(0)
    return Mask2Former(spec, CLASSES, task="instance", **SMALL, **options), *batch(spec)


def mask_rcnn(spec, **options):
    spec = mask_rcnn_scenes.PLANE if spec is PLANE else mask_rcnn_scenes.VOLUME
    return mask_rcnn_scenes.setting(spec, **options)


@pytest.mark.parametrize("spec", [PLANE, VOLUME], ids=["plane", "volume"])
@pytest.mark.parametrize("setting", [mask2former, maskdino_scenes.setting, mask_rcnn])
def test_what_is_left_is_what_scores_enough(setting, spec):
    head, maps, images = setting(spec, min_score=0.0)
    with torch.no_grad():
        prediction = head.eval()(maps, images)
    everything = torch.cat([r.instances.scores for r in head.decode(prediction, images)])
    ranked = everything.sort().values
    least = ranked[len(ranked) // 2 - 1 :][:2].mean().item()  # between two of them
    head.sift(least)
    with torch.no_grad():
        prediction = head(maps, images)
    kept = torch.cat([r.instances.scores for r in head.decode(prediction, images)])
    assert 0 < len(kept) < len(everything)
    torch.testing.assert_close(kept, everything[everything >= least])


def test_what_cannot_be_sifted():
    head, _, _ = mask2former(PLANE)
    with pytest.raises(ValueError, match=r"expected 0 to 1, got 1\.5"):
        head.sift(1.5)
    for head in (Mask2Former(PLANE, CLASSES, **SMALL), Dense(PLANE, CLASSES)):
        with pytest.raises(ValueError, match="sifts no objects by their scores"):
            head.sift(0.5)
