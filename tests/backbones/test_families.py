"""What the five families have in common beyond the contract."""

from functools import partial

import pytest
import torch
from timm.layers import DropPath

from microtome.backbones.convnext import ConvNeXt
from microtome.backbones.hiera import Hiera
from microtome.backbones.internimage import InternImage
from microtome.backbones.resnet import ResNet
from microtome.backbones.vit import ViT

SHORT = (1, 2, 1, 1)
FAMILIES = {
    "resnet": partial(ResNet, 18, width=8),
    "convnext": partial(ConvNeXt, SHORT, (8, 8, 8, 8)),
    "internimage": partial(InternImage, SHORT, 8, 2),
    "vit": partial(ViT, patch=16, embed_dim=24, depth=5, num_heads=2),
    "hiera": partial(Hiera, SHORT, 8, grid=8),
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dims", [2, 3])
def test_blocks_are_skipped_more_often_with_depth_and_in_training_only(family, dims):
    model = FAMILIES[family](in_channels=1, spatial_dims=dims, drop_path=0.8)
    rates = [m.drop_prob for m in model.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx(torch.linspace(0, 0.8, len(rates)).tolist()) and len(rates) >= 5
    images = torch.randn(4, 1, *[32] * dims, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        one, other = (model.train()(images)[-1] for _ in range(2))
        assert not one.equal(other)
        assert model.eval()(images)[-1].equal(model(images)[-1])
