"""What tests of several rooms share: small written data sets and a finished tiny run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from small_runs import tiny_config

torch.set_num_threads(1)  # small tensors; and tests may run side by side


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
