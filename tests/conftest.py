"""What tests of several rooms share: small written data sets and a finished tiny run."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # small tensors; and tests may run side by side

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


@pytest.fixture(scope="session")
def tissue(tmp_path_factory) -> Path:
    """The manifest of a few small written images: 6 to train, 2 to validate, 2 to test."""
    from microtome.data.synthetic import write_tissue

    return write_tissue(
        tmp_path_factory.mktemp("tissue"), {"train": 6, "val": 2, "test": 2}, size=64
    )


@pytest.fixture(scope="session")
def finished(tissue, tmp_path_factory):
    """A finished tiny run."""
    from microtome.training.run import run

    return run("fit", tiny_config(tissue, tmp_path_factory.mktemp("runs")))
