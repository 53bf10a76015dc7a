"""A head with the weights of the published one, and what that one answers (see fixtures)."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np
import torch

from microtome.heads.maskdino import MaskDINO
from microtome.structures import (
    Classes,
    ImageList,
    Instances,
    LabelLayers,
    PyramidSpec,
    Segmentation,
)

CHANNELS, STRIDES, SHAPE = (8, 16, 24, 32), (4, 8, 16, 32), (64, 96)
SPEC = PyramidSpec(CHANNELS, tuple((float(s), float(s)) for s in STRIDES), (32, 32))
CLASSES = Classes(("background", "gland", "nucleus"))
OPTIONS = {"num_queries": 12, "encoder_layers": 1, "decoder_layers": 2}
OPTIONS |= {"num_denoising": 7, "noise": 0.0, "num_points": 128}


def answers() -> dict:
    """Arrays by name, and the parts that are JSON."""
    with np.load(Path(__file__).parent / "fixtures" / "maskdino.npz") as stored:
        found = dict(stored)
    return found | {key: json.loads(str(found[key])) for key in ("losses", "state")}


def published_weights(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """By the names and shapes of the published state dict."""
    return {name: torch.from_numpy(_values(name, shape)) for name, shape in shapes.items()}


def make_head() -> MaskDINO:
    torch.manual_seed(0)
    return MaskDINO(SPEC, CLASSES, **OPTIONS)


def batch() -> tuple[tuple[torch.Tensor, ...], ImageList]:
    """The maps, and images of that shape without padding."""
    maps = []
    for level, (channels, stride) in enumerate(zip(CHANNELS, STRIDES, strict=True)):
        shape = (2, channels, *(s // stride for s in SHAPE))
        maps.append(torch.from_numpy(noise(f"features.{level}", shape)))
    return tuple(maps), ImageList.pad([torch.zeros(3, *SHAPE)] * 2, SPEC.multiple)


def truths(corners: np.ndarray, labels: np.ndarray) -> list[Segmentation]:
    return rectangles(corners, labels, SHAPE)


def rectangles(corners: np.ndarray, labels: np.ndarray, shape) -> list[Segmentation]:
    """Of half-open corners [B, N, 4]."""
    results = []
    for boxes, kinds in zip(corners.tolist(), labels, strict=True):
        ids = torch.zeros(shape, dtype=torch.long)
        for number, (y0, x0, y1, x1) in enumerate(boxes, start=1):
            ids[y0:y1, x0:x1] = number
        objects = Instances(torch.from_numpy(kinds).long(), masks=LabelLayers.from_ids(ids))
        results.append(Segmentation(torch.zeros_like(ids), objects))
    return results


def pools() -> list[torch.Tensor]:
    """The points that masks are judged at, for both images the same: centres of pixels."""
    drawn = np.random.RandomState(0).rand(3 * 128 + 32, 2)
    points = (np.floor(drawn * np.array(SHAPE)) + 0.5) / np.array(SHAPE)
    return [torch.from_numpy(points.astype(np.float32))] * 2


def noise(name: str, shape) -> np.ndarray:
    """Normal, of a seed that the name gives."""
    random = np.random.RandomState(zlib.crc32(name.encode()))
    return random.standard_normal(shape).astype(np.float32)


def _values(name: str, shape: list[int]) -> np.ndarray:
    """Layers under two names are one; norms are near 1, matrices keep what they read its size."""
    name = re.sub(r"predictor\.(decoder\.)?_?bbox_embed\.(\d+\.)?", "predictor._bbox_embed.", name)
    name = name.replace("predictor.decoder.norm.", "predictor.decoder_norm.")
    values, parts = noise(name, shape), name.split(".")
    if len(shape) > 1:
        return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    is_norm = "norm" in name or ("input_proj" in name and parts[-2] == "1")
    return (1 + 0.1 * values if is_norm and parts[-1] == "weight" else 0.1 * values).astype("f4")
