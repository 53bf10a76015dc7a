"""The images of a run: of a config, or of the one in a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..data.datasets import SampleDataset
    from ..inference.inputs import Inputs
    from ..structures import Classes


def own_split(checkpoint: Path, split: str) -> SampleDataset:
    """A split of the data that a checkpoint was trained on, from the config in it.

    Raises ValueError for an exported model, which holds no data, and for a split that there is not;
    ConfigError when the data is not where it was.
    """
    from ..training.stored import read_header

    if checkpoint.is_dir():
        raise ValueError(f"{checkpoint}: an exported model holds no data: say which")
    return split_of(read_header(checkpoint)["config"], split)


def split_of(config: dict[str, Any], split: str) -> SampleDataset:
    """A split of the data of a config; raises as `own_split` does."""
    from ..training.parser import build_data

    splits = build_data({"data": config.get("data")}).splits
    if split not in splits:
        raise ValueError(f"--split: the data has {', '.join(splits)}, not {split!r}")
    return splits[split]


def own_inputs(checkpoint: Path, split: str, classes: Classes) -> Inputs:
    """The same as files to predict; raises ValueError too where the data is no list of files."""
    from ..data.image_dataset import ImageDataset
    from ..inference.inputs import inputs_of

    images = own_split(checkpoint, split)
    if not isinstance(images, ImageDataset):
        raise ValueError("--input: the model's own data is no list of files: say what to segment")
    return inputs_of(images, classes, str(checkpoint))
