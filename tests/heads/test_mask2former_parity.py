"""Mask2Former against transformers' on equal weights: every layer's logits, every loss."""

from unittest import mock

import pytest
import torch
from transformers import (
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    TimmBackboneConfig,
)

from microtome.heads.mask2former import FROM_TRANSFORMERS, Mask2Former, transformers_state
from microtome.losses.masks import PointSampling
from microtome.structures import (
    Classes,
    ImageList,
    Instances,
    LabelLayers,
    PyramidSpec,
    Segmentation,
)
from microtome.weights import load_weights

CLASSES = Classes(("background", "gland", "nucleus"))
SPEC = PyramidSpec(
    (64, 128, 256, 512), tuple((float(s), float(s)) for s in (4, 8, 16, 32)), (32, 32)
)


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    backbone = TimmBackboneConfig(
        backbone="resnet18", out_indices=(1, 2, 3, 4), use_pretrained_backbone=False
    )
    config = Mask2FormerConfig(
        backbone_config=backbone, feature_size=128, mask_feature_size=128, hidden_dim=128,
        encoder_feedforward_dim=512, dim_feedforward=1024, encoder_layers=2, decoder_layers=5,
        num_attention_heads=8, num_queries=12, num_labels=3, dropout=0.0, train_num_points=64,
        use_auxiliary_loss=True,
    )  # fmt: skip
    model = Mask2FormerForUniversalSegmentation(config).eval()
    for name, p in model.named_parameters():
        if "sampling_offsets" in name or "attention_weights" in name:
            torch.nn.init.normal_(p, std=0.1)  # else all queries sample alike
    return model


@pytest.fixture(scope="module")
def ours(theirs):
    head = Mask2Former(
        SPEC, CLASSES, task="instance", hidden=128, encoder_layers=2, decoder_layers=4,
        num_queries=12,
    )  # fmt: skip
    head.sampling = PointSampling(64, importance=0.0)
    state = transformers_state(theirs.state_dict())
    report = load_weights(head, state, FROM_TRANSFORMERS, at_least=1.0)
    assert not report.unused
    return head.eval()


def predictions(theirs, ours, shape):
    torch.manual_seed(1)
    images = torch.randn(2, 3, *shape)
    with torch.no_grad():
        expected = theirs(images, output_auxiliary_logits=True)
        maps = tuple(theirs.model.pixel_level_module.encoder(images).feature_maps)
        return ours(maps, ImageList.pad(list(images), (32, 32))), expected


def assert_near(value, expected):
    assert (value - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("shape", [(64, 64), (96, 160), (128, 64)])
def test_logits_of_all_layers_agree(theirs, ours, shape):
    prediction, expected = predictions(theirs, ours, shape)
    layers = [*expected.auxiliary_logits, expected]
    assert len(prediction.class_logits) == len(layers) == 5
    for index, layer in enumerate(layers):
        assert_near(prediction.class_logits[index], layer["class_queries_logits"])
        assert_near(prediction.mask_logits(index), layer["masks_queries_logits"])


@pytest.mark.parametrize("shape", [(64, 64), (96, 160)])
def test_losses_on_the_same_points_agree(theirs, ours, shape):
    """Points are centres of pixels, where their linear look-up of the truth is our nearest one."""
    prediction, expected = predictions(theirs, ours, shape)
    generator = torch.Generator().manual_seed(2)
    pixels = torch.randint(32, (64, 2), generator=generator)
    points = (pixels + 0.5) / 32  # both shapes are multiples of 32 ...
    truth = torch.randint(0, 5, (2, 32, 32), generator=generator)  # ... so the truth may be 32²
    labels = torch.tensor([0, 2, 1, 1])
    targets = [
        Segmentation(None, Instances(labels, masks=LabelLayers(t[None], torch.arange(1, 5))))
        for t in truth
    ]
    found = ours.losses(prediction, targets, [points, points])
    masks = [t.instances.masks.dense().float() for t in targets]
    flipped = points.flip(-1)  # x, y

    def same(count, *_shape, **_):
        return flipped[None].expand(count, -1, -1)

    criterion = theirs.criterion
    uncertain = mock.patch.object(
        criterion, "sample_points_using_uncertainty", lambda logits, *_: same(len(logits))
    )
    with torch.no_grad(), mock.patch.object(torch, "rand", same), uncertain:
        theirs_losses = criterion(
            expected.masks_queries_logits, expected.class_queries_logits, masks, [labels] * 2,
            expected.auxiliary_logits,
        )  # fmt: skip
    names = {"class": "loss_cross_entropy", "mask": "loss_mask", "dice": "loss_dice"}
    for key, name in names.items():
        layers = [v for k, v in theirs_losses.items() if k.startswith(name)]
        assert len(layers) == 5
        assert_near(found[key], torch.stack(layers).sum())
