"""A run so small that tests can afford many."""

from __future__ import annotations

import copy
from pathlib import Path

TINY_NET = {
    "class_path": "microtome.backbones.unet.UNet",
    "init_args": {
        "net": "BasicUNet",
        "out_channels": 8,
        "options": {"features": [8, 8, 8, 8, 8, 8]},
    },
}


def tiny_config(manifest: Path, runs: Path, **trainer) -> dict:
    """A run that takes about a second: a very small U-Net on 64-pixel images."""
    segmenter = {
        "class_path": "microtome.models.Segmenter",
        "init_args": {
            "backbone": copy.deepcopy(TINY_NET),
            "head": {"class_path": "microtome.heads.dense.Dense"},
        },
    }
    return {
        "name": "tiny",
        "runs": str(runs),
        "data": {
            "class_path": "microtome.data.datamodule.ManifestData",
            "init_args": {
                "manifest": str(manifest),
                "crop": 32,
                "batch_size": 2,
                "workers": 0,
            },
        },
        "model": {"segmenter": segmenter, "tile": 32},
        "trainer": {"accelerator": "cpu", "max_epochs": 2, **trainer},
    }
