"""Backbones and their peers: equal weights in the plane, equal numbers of parameters in volumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from monai.networks.nets import ViT as MonaiViT
from monai.networks.nets import resnet18 as monai_resnet18
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn
from transformers import VitDetConfig, VitDetModel

from microtome.backbones.convnext import ConvNeXt
from microtome.backbones.family import Family
from microtome.backbones.hiera import Hiera
from microtome.backbones.resnet import ResNet
from microtome.backbones.tokens import on_grid
from microtome.backbones.vit import ViT

from .harness import TINY

SIDE, CUBE = (64, 32) if TINY else (224, 64)
PLANE = (2, 3, SIDE, SIDE)
VOLUME = (2 if TINY else 1, 1, CUBE, CUBE, CUBE)  # batch norm needs two values of the last map


class Pair(NamedTuple):
    """Two models that return lists of maps or of tokens; `check` compares their answers."""

    ours: nn.Module
    peer_name: str
    peer: nn.Module
    shape: tuple[int, ...]
    check: Callable[[Any, Any], None]


class Asked(nn.Module):
    """A model, by the function that asks it for its maps."""

    def __init__(self, model: nn.Module, maps: Callable[[Any, Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.model, self.maps = model, maps

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.maps(self.model, image)


def equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for x, y in zip(ours, theirs, strict=True):
        assert (x.flatten(1) - y.flatten(1)).abs().max() <= 1e-4 * y.abs().max()


def anything(ours: Any, theirs: Any) -> None:
    """Weights differ, the number of parameters does not."""


def filled(ours: Family, theirs: nn.Module) -> None:
    """Give ours the weights of theirs, all of them."""
    state = ours.translated({k: v.clone() for k, v in theirs.state_dict().items()})
    ours.load_state_dict({k: state[k] for k in ours.state_dict()})


def torchvision_resnet() -> Pair:
    theirs = torchvision.models.resnet50()
    ours = ResNet(50)
    filled(ours, theirs)
    return Pair(ours, "torchvision", Asked(theirs, _stages), PLANE, equal)


def timm_convnext() -> Pair:
    theirs = timm.create_model("convnextv2_nano", num_classes=0)
    ours = ConvNeXt((2, 2, 8, 2), (80, 160, 320, 640))
    filled(ours, theirs)
    return Pair(ours, "timm", Asked(theirs, _intermediates), PLANE, equal)


def timm_vit() -> Pair:
    theirs = timm.create_model("vit_small_patch16_224", num_classes=0, img_size=SIDE)
    ours = ViT(positions="absolute", num_registers=1, grid=SIDE // 16)
    filled(ours, theirs)
    peer = Asked(theirs, lambda m, x: [m.forward_features(x)[:, 1:].mT])
    return Pair(ours, "timm", peer, PLANE, equal)


def timm_hiera() -> Pair:
    theirs = timm.create_model("hiera_tiny_224", num_classes=0, img_size=(SIDE, SIDE))
    ours = Hiera((1, 2, 7, 2), grid=SIDE // 4)
    filled(ours, theirs)
    return Pair(ours, "timm", Asked(theirs, _intermediates), PLANE, equal)


def transformers_vitdet() -> Pair:
    """Small; every third block looks at everything, with relative positions."""
    grid = 4 if TINY else 28
    sizes = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6}
    config = VitDetConfig(
        **sizes,
        image_size=16 * grid,
        pretrain_image_size=16 * grid,
        window_size=grid // 2,
        window_block_indices=[i for i in range(12) if i % 3 != 2],
        use_relative_position_embeddings=True,
    )
    theirs = VitDetModel(config)
    ours = ViT(positions="absolute", relative=True, grid=grid, window=grid // 2)
    state = ours.translated(theirs.state_dict())
    ours.load_state_dict({**ours.state_dict(), **state})
    asked = Asked(ours, lambda m, x: [on_grid(m.run(m.embed(x), 0, m.depth))])  # no norm in theirs
    peer = Asked(theirs, lambda m, x: [m(x).last_hidden_state])
    return Pair(asked, "transformers", peer, (1, 3, 16 * grid, 16 * grid), equal)


def monai_resnet() -> Pair:
    more = {"conv1_t_stride": 2, "bias_downsample": False, "shortcut_type": "B"}
    theirs = monai_resnet18(n_input_channels=1, num_classes=1, **more)
    ours = ResNet(18, 1, spatial_dims=3)
    filled(ours, theirs)
    theirs.relu = theirs.act
    return Pair(ours, "MONAI", Asked(theirs, _stages), VOLUME, equal)


def monai_vit() -> Pair:
    sizes = {"hidden_size": 384, "mlp_dim": 1536, "num_layers": 6, "num_heads": 6}
    theirs = MonaiViT(1, (CUBE,) * 3, (8, 8, 8), qkv_bias=True, **sizes)
    ours = ViT(1, 8, 384, 6, 6, positions="absolute", grid=CUBE // 8, spatial_dims=3)
    return Pair(ours, "MONAI", Asked(theirs, lambda m, x: [m(x)[0]]), VOLUME, anything)


def monai_swin() -> Pair:
    """The encoder of SwinUNETR beside a Hiera of its strides, from patches of 2³ on."""
    heads = {"depths": (2, 2, 2, 2), "num_heads": (3, 6, 12, 24), "spatial_dims": 3}
    theirs = SwinTransformer(1, 48, (7, 7, 7), (2, 2, 2), **heads)
    steps = {"strides": (2, 2, 2, 2), "positions": "separable", "grid": CUBE // 2}
    ours = Hiera((2, 2, 2, 2), 64, 1, 1, spatial_dims=3, **steps)
    peer = Asked(theirs, lambda m, x: m(x))
    return Pair(ours, "MONAI SwinUNETR's", peer, VOLUME, anything)


def _stages(model: Any, x: Tensor) -> list[Tensor]:
    x, maps = model.maxpool(model.relu(model.bn1(model.conv1(x)))), []
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        x = layer(x)
        maps.append(x)
    return maps


def _intermediates(model: Any, x: Tensor) -> list[Tensor]:
    return list(model.forward_intermediates(x, intermediates_only=True))


PAIRS: dict[str, Callable[[], Pair]] = {
    f"ResNet-50, 2x{SIDE}²": torchvision_resnet,
    f"ConvNeXt V2 nano, 2x{SIDE}²": timm_convnext,
    f"ViT-S/16, 2x{SIDE}²": timm_vit,
    f"ViTDet-S/16, {64 if TINY else 448}²": transformers_vitdet,
    f"Hiera tiny, 2x{SIDE}²": timm_hiera,
    f"ResNet-18, {CUBE}³": monai_resnet,
    f"ViT, {CUBE}³ in patches of 8³": monai_vit,
    f"Hiera, {CUBE}³ in patches of 2³": monai_swin,
}


def parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def image_for(pair: Pair) -> Tensor:
    return torch.randn(pair.shape, generator=torch.Generator().manual_seed(0))
