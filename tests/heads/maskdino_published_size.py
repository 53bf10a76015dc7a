"""The head at the size of the published R50 model, its input, and which of its answers are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from maskdino_published import noise, rectangles

from microtome.heads.maskdino import MaskDINO
from microtome.structures import Classes, ImageList, PyramidSpec, Segmentation

CHANNELS, STRIDES, SHAPE = (256, 512, 1024, 2048), (4, 8, 16, 32), (160, 192)
SPEC = PyramidSpec(CHANNELS, tuple((float(s), float(s)) for s in STRIDES), (32, 32))
CLASSES = Classes(tuple(f"class {k}" for k in range(80)))
CORNERS = np.array([[[8, 16, 40, 60], [64, 80, 150, 130], [30, 100, 60, 190]]])  # y0 x0 y1 x1
LABELS = np.array([[3, 41, 79]])
KEPT = 20  # of every kind of answer, drawn over layers, queries and what there is of each


def stored() -> dict:
    with np.load(Path(__file__).parent / "fixtures" / "maskdino_r50.npz") as kept:
        found = dict(kept)
    return found | {"state": json.loads(str(found["state"]))}


def make_head(weights: str) -> MaskDINO:
    """With the published defaults."""
    return MaskDINO(SPEC, CLASSES, noise=0.0, pretrained=weights)


def batch() -> tuple[tuple[torch.Tensor, ...], ImageList]:
    maps = []
    for level, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True)):
        shape = (1, channels, *(s // stride for s in SHAPE))
        maps.append(torch.from_numpy(noise(f"r50.{level}", shape)))
    return tuple(maps), ImageList.pad([torch.zeros(3, *SHAPE)], SPEC.multiple)


def objects() -> list[Segmentation]:
    return rectangles(CORNERS, LABELS, SHAPE)


def digest(answers: dict[str, tuple[torch.Tensor, ...]]) -> dict[str, np.ndarray]:
    """Of classes, boxes and masks [L, B, Q, ...] of each part some values and the largest one."""
    kept = {}
    for part, kinds in answers.items():
        for kind, values in zip(("classes", "boxes", "masks"), kinds, strict=True):
            drawn = np.random.RandomState(7).randint(0, values.numel(), KEPT)
            some = values.flatten()[torch.from_numpy(drawn)].numpy()
            kept[f"{part}_{kind}"] = np.append(some, values.abs().max().numpy())
    return kept
