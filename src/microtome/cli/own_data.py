"""The images of a checkpoint's own run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..data.datasets import SampleDataset


def own_split(checkpoint: Path, split: str) -> SampleDataset:
    """A split of the data that a checkpoint was trained on, from the config in it.

    Raises ValueError for an exported model, which holds no data, and for a split that there is not;
    ConfigError when the data is not where it was.
    """
    from ..training.parser import build_data
    from ..training.stored import read_header

    if checkpoint.is_dir():
        raise ValueError(f"{checkpoint}: an exported model holds no data: say which")
    splits = build_data({"data": read_header(checkpoint)["config"]["data"]}).splits
    if split not in splits:
        raise ValueError(f"--split: the data has {', '.join(splits)}, not {split!r}")
    return splits[split]
