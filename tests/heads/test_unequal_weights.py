"""Losses of masks that weigh differently: right, and computed once, in 2D and 3D."""

import pytest
import torch
from mask_heads import CLASSES, PLANE, VOLUME, batch

from microtome.heads.mask2former import Mask2Former
from microtome.heads.maskdino import MaskDINO
from microtome.losses.products import ProductLoss
from microtome.structures import Instances, LabelLayers, Segmentation

SMALL = {"num_queries": 8, "hidden": 32, "encoder_layers": 1, "decoder_layers": 2, "num_heads": 4}
SMALL |= {"num_points": 128, "weights": {"mask": 2.0, "dice": 3.0}}


def mask2former(spec):
    return Mask2Former(spec, CLASSES, task="instance", **SMALL)


def maskdino(spec):
    return MaskDINO(spec, CLASSES, num_denoising=6, **SMALL)


def answered(make, spec):
    """Losses, and the gradients of their weighted sum by the maps and all parameters."""
    torch.manual_seed(0)
    head, (maps, images) = make(spec).train(), batch(spec)
    maps = tuple(one.requires_grad_() for one in maps)
    ids = (torch.arange(images.canvas[-1]) * 3 // images.canvas[-1] + 1).expand(*images.canvas)
    objects = Instances(torch.arange(3), masks=LabelLayers.from_ids(ids))
    targets = [Segmentation(torch.zeros_like(ids), objects)] * 2
    losses = head.losses(head(maps, images, targets), targets)
    total = sum(head.weights[name] * value for name, value in losses.items())
    total.backward()
    slopes = {str(level): one.grad for level, one in enumerate(maps)}
    return losses, slopes | {name: p.grad for name, p in head.named_parameters()}


@pytest.mark.parametrize("spec", [PLANE, VOLUME])
@pytest.mark.parametrize("make, images_and_parts", [(mask2former, 2), (maskdino, 2 * 3)])
def test_gradients_are_computed_once_and_are_those_of_plain_pytorch(
    make, images_and_parts, spec, monkeypatch
):
    computed, gradients = [], ProductLoss.gradients

    def counted(*given):
        computed.append(given)
        return gradients(*given)

    def plain(self, rows, columns):
        return self.judge(rows @ columns, slice(None))

    monkeypatch.setattr(ProductLoss, "gradients", counted)
    found = answered(make, spec)
    assert len(computed) == images_and_parts
    monkeypatch.setattr(ProductLoss, "__call__", plain)
    torch.testing.assert_close(found, answered(make, spec), rtol=1e-4, atol=1e-6)
    assert len(computed) == images_and_parts
