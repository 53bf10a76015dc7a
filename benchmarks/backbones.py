"""Backbones beside their originals, with equal weights in the plane and equal sizes in volumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import timm
import torch
import torchvision
from monai.networks.nets import ViT as MonaiViT
from monai.networks.nets import resnet18 as monai_resnet18
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import Tensor, nn

from microtome.backbones.convnext import ConvNeXt
from microtome.backbones.hiera import Hiera
from microtome.backbones.internimage import InternImage
from microtome.backbones.resnet import ResNet
from microtome.backbones.vit import ViT

from .harness import Case, peak_memory

Maps = Callable[[Tensor], list[Tensor]]


def cases() -> Iterator[Case]:
    """Forward, and forward with gradients of all parameters, which is most of a step."""
    for name, make in PAIRS.items():
        ours, peer_name, peer, shape, close = make()
        image = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        for kind in (forward, step):
            works = partial(kind, ours, image), partial(kind, peer, image)
            check = close if kind is forward else anything
            yield Case(f"{name}: {kind.__name__}", works[0], peer_name, works[1], check)


def memory() -> Iterator[dict[str, Any]]:
    """Of a step, beyond the model itself."""
    for name in PAIRS:
        start = f"from benchmarks.backbones import *\nname = {name!r}\n"
        yield {
            "case": f"{name}: step",
            "ours": peak_memory(start + "work = steps(name)[0]"),
            "peer": peak_memory(start + "work = steps(name)[1]"),
        }


def growth() -> Iterator[dict[str, Any]]:
    """Milliseconds of a forward pass on cubes of voxels; 96³ are 27 times 32³."""
    for name, make in FAMILIES.items():
        model = make(in_channels=1, spatial_dims=3).eval()
        row: dict[str, Any] = {"case": name}
        for side in (32, 64, 96):
            image = torch.randn(1, 1, side, side, side)
            row[f"{side}"] = min(1e3 * _seconds(partial(forward, model, image)) for _ in range(3))
        yield {**row, "times": row["96"] / row["32"]}


def forward(model: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(model.eval()(image))


def step(model: nn.Module, image: Tensor) -> None:
    sum(x.square().mean() for x in model.train()(image)).backward()
    model.zero_grad()


def steps(name: str) -> tuple[Callable[[], None], Callable[[], None]]:
    ours, _, peer, shape, _ = PAIRS[name]()
    image = torch.randn(shape)
    return partial(step, ours, image), partial(step, peer, image)


class Levels(nn.Module):
    """A peer that returns maps, by the function that asks it for them."""

    def __init__(self, model: nn.Module, maps: Callable[[Any, Tensor], list[Tensor]]) -> None:
        super().__init__()
        self.model, self.maps = model, maps

    def forward(self, image: Tensor) -> list[Tensor]:
        return self.maps(self.model, image)


def equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for x, y in zip(ours, theirs, strict=True):
        assert (x.flatten(1) - y.flatten(1)).abs().max() <= 1e-4 * y.abs().max()


def anything(ours: Any, theirs: Any) -> None:
    """Weights differ, work does not."""


def _torchvision() -> tuple[Any, ...]:
    theirs = torchvision.models.resnet50()
    ours = ResNet(50)
    ours.load_state_dict(theirs.state_dict(), strict=False)
    names = {f"layer{i}": str(i) for i in range(1, 5)}
    peer = torchvision.models._utils.IntermediateLayerGetter(theirs, names)
    return (
        ours,
        "torchvision",
        Levels(peer, lambda m, x: list(m(x).values())),
        (2, 3, 224, 224),
        equal,
    )


def _timm(ours: Any, name: str, shape: tuple[int, ...], **options: Any) -> tuple[Any, ...]:
    theirs = timm.create_model(name, num_classes=0, **options)
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("head.")}
    state = {k: v for k, v in ours.translated(state).items() if k in ours.state_dict()}
    ours.load_state_dict(state)
    last = isinstance(ours, ViT)

    def maps(model: Any, image: Tensor) -> list[Tensor]:
        if last:
            return [model.forward_features(image)[:, 1:].mT]
        return list(model.forward_intermediates(image, intermediates_only=True))

    return ours, "timm", Levels(theirs, maps), shape, equal


def _monai_resnet() -> tuple[Any, ...]:
    theirs = monai_resnet18(
        n_input_channels=1,
        num_classes=1,
        conv1_t_stride=2,
        bias_downsample=False,
        shortcut_type="B",
    )
    ours = ResNet(18, 1, spatial_dims=3)
    ours.load_state_dict(theirs.state_dict(), strict=False)

    def maps(model: Any, x: Tensor) -> list[Tensor]:
        x = model.maxpool(model.act(model.bn1(model.conv1(x))))
        levels = []
        for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
            x = layer(x)
            levels.append(x)
        return levels

    return ours, "MONAI", Levels(theirs, maps), (1, 1, 64, 64, 64), equal


def _monai_vit() -> tuple[Any, ...]:
    sizes = {"hidden_size": 384, "mlp_dim": 1536, "num_layers": 6, "num_heads": 6}
    theirs = MonaiViT(1, (64, 64, 64), (8, 8, 8), qkv_bias=True, **sizes)
    ours = ViT(1, 8, 384, 6, 6, positions="absolute", grid=8, spatial_dims=3)
    return ours, "MONAI", Levels(theirs, lambda m, x: [m(x)[0]]), (1, 1, 64, 64, 64), anything


def _monai_swin() -> tuple[Any, ...]:
    """The encoder of SwinUNETR, 8.1 million parameters, beside a Hiera of 8.3 million."""
    heads = {"depths": (2, 2, 2, 2), "num_heads": (3, 6, 12, 24), "spatial_dims": 3}
    theirs = SwinTransformer(1, 48, (7, 7, 7), (2, 2, 2), **heads)
    ours = Hiera((2, 2, 2, 2), 64, 1, 1, grid=16, spatial_dims=3)
    return ours, "MONAI SwinUNETR", Levels(theirs, lambda m, x: m(x)), (1, 1, 64, 64, 64), anything


_VIT = {"positions": "absolute", "num_registers": 1}
PAIRS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "ResNet-50, 2x224²": _torchvision,
    "ConvNeXt V2 nano, 2x224²": lambda: _timm(
        ConvNeXt((2, 2, 8, 2), (80, 160, 320, 640)), "convnextv2_nano", (2, 3, 224, 224)
    ),
    "ViT-S/16, 2x224²": lambda: _timm(ViT(**_VIT), "vit_small_patch16_224", (2, 3, 224, 224)),
    "Hiera tiny, 2x224²": lambda: _timm(Hiera((1, 2, 7, 2)), "hiera_tiny_224", (2, 3, 224, 224)),
    "ResNet-18, 64³": _monai_resnet,
    "ViT, 64³ in patches of 8³": _monai_vit,
    "Hiera, 64³": _monai_swin,
}

FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "ResNet-18, a quarter of its width": partial(ResNet, 18, width=16),
    "ConvNeXt V2 atto": partial(ConvNeXt, (2, 2, 6, 2), (40, 80, 160, 320)),
    "Hiera, 32 channels": partial(Hiera, (1, 1, 2, 1), 32, grid=8),
    "InternImage, 16 channels": partial(InternImage, (1, 1, 2, 1), 16, 2),
    "ViT, patches of 8³": partial(ViT, patch=8, embed_dim=192, depth=4, num_heads=3),
    "ViT, patches of 8³, windows of 4³": partial(
        ViT, patch=8, embed_dim=192, depth=4, num_heads=3, window=4, groups=1
    ),
}


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
