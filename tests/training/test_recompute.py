"""Recomputed blocks give the same numbers and keep less."""

import copy

import pytest
import torch

from microtome.backbones.pretrained import PretrainedPyramid, PretrainedViT
from microtome.backbones.unet import UNet
from microtome.training.recompute import recompute_blocks


def vit():
    return PretrainedViT("test_vit", options={"drop_path_rate": 0.2})


def convnext():
    return PretrainedPyramid("test_convnext", options={"drop_path_rate": 0.2})


def unet(spatial_dims=2):
    return UNet("DynUNet", 8, 3, spatial_dims, {"filters": [8, 8, 16, 16], "strides": [1, 2, 2, 2]})


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (vit, (1, 3, 64, 64)),
        (convnext, (1, 3, 64, 64)),
        (unet, (1, 3, 32, 32)),
        (lambda: unet(3), (1, 3, 16, 16, 16)),
    ],
    ids=["vit", "convnext", "unet", "unet of volumes"],
)
def test_gradients_are_the_same_and_less_is_kept(make, size):
    torch.manual_seed(0)
    plain = make().train()
    ours = copy.deepcopy(plain)
    assert recompute_blocks(ours) >= 2
    assert ours.state_dict().keys() == plain.state_dict().keys()
    image = torch.randn(size)
    kept = {}
    for name, model in (("plain", plain), ("ours", ours), ("copy", copy.deepcopy(ours))):
        model.zero_grad()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.append(x.numel()) or x, lambda x: x
        ):
            torch.manual_seed(1)
            loss = sum(x.square().mean() for x in model(image))
        loss.backward()
        kept[name] = sum(sizes)
        for a, b in zip(model.parameters(), plain.parameters(), strict=True):
            assert torch.equal(a.grad, b.grad)
    assert kept["ours"] == kept["copy"] < 0.6 * kept["plain"]


def test_batch_normalisation_is_not_computed_twice():
    assert recompute_blocks(PretrainedPyramid("test_resnet")) == 0
