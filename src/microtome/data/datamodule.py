"""Three data sets behind Lightning's loaders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch.utils.data import DataLoader

from ..structures import DataSample
from .aiming import Aim
from .crops import RandomCrop, Resize
from .crowding import seen_at_once
from .datasets import SampleDataset, Transform
from .image_dataset import ImageDataset
from .known_splits import KnownSplits
from .manifest import located, parse_manifest, read_manifest, write_manifest
from .records import Catalogue
from .sampling import DrawSampler, ResumableLoader


class DataModule(KnownSplits, L.LightningDataModule):
    """Any data sets, cropped, transformed and batched.

    Args:
        train: what to learn from.
        val: whole images to validate on.
        test: whole images that nothing is chosen by.
        transforms: applied to training crops, in order.
        resize: pixels that whole training images are resized to, one value or one per axis; goes
            with the model's `mode: resize`.
        crop: pixels of a random training crop, one value or one per axis; without it whole images
            are trained on.
        scales: lowest and highest factor that images are enlarged by before a crop is cut.
        aim: which training crops go around objects or classes, and from which visible share on an
            object that a crop cuts is one; without it crops go anywhere, and a pixel is enough.
        crops_per_image: how often an epoch draws each training image; small data sets want several.
        batch_size: crops per batch and device; `auto` measures, when training starts, how many fit
            in memory, and writes the number into the run's config.
        workers: processes that load training samples.
        seed: with the epoch and the item it determines crops and transforms.
    """

    def __init__(
        self,
        train: SampleDataset,
        val: SampleDataset,
        test: SampleDataset | None = None,
        *,
        transforms: Sequence[Transform] = (),
        resize: int | list[int] | None = None,
        crop: int | list[int] | None = None,
        scales: list[float] | None = None,
        aim: Aim | None = None,
        crops_per_image: int = 1,
        batch_size: int | Literal["auto"] = 8,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if (batch_size != "auto" and batch_size < 1) or crops_per_image < 1 or workers < 0:
            raise ValueError(
                "expected batch_size >= 1, crops_per_image >= 1 and workers >= 0, "
                f"got {batch_size}, {crops_per_image} and {workers}"
            )
        for name, given in (("scales", scales), ("aim", aim)):
            if given is not None and crop is None:
                raise ValueError(f"{name}: it is for crops: give crop too")
        for name, data in (("train", train), ("val", val)):
            if not len(data):
                raise ValueError(f"the {name} split is empty")
        resized = () if resize is None else (Resize(resize),)
        self._cropped = () if crop is None else (RandomCrop(crop, scales, aim),)
        train.transforms = (*train.transforms, *resized, *self._cropped, *transforms)
        train.seed = seed
        self.splits = {"train": train, "val": val} | ({} if test is None else {"test": test})
        self.batch_size: int | Literal["auto"] = batch_size
        self.workers, self.seed = workers, seed
        self.crops = crops_per_image * len(train)
        if crop is not None and resize is None:
            self._seen = seen_at_once(crop, min(scales or [1.0]))

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled crops; the last incomplete batch waits for another epoch's order."""
        data = self.splits["train"]
        for crop in self._cropped:
            if crop.aim.counts:
                occurs = self.inspect().splits["train"].occurs
                crop.aim = replace(crop.aim, shown=occurs[:-1])
        batch = 1 if self.batch_size == "auto" else min(self.batch_size, self.crops)
        options: dict[str, Any] = {"persistent_workers": True} if self.workers else {}
        return ResumableLoader(
            data,
            self._sampler(self.crops, shuffle=True),
            batch_size=batch,
            num_workers=self.workers,
            drop_last=True,
            **options,
        )

    def val_dataloader(self) -> ResumableLoader:
        """Whole validation images, one at a time."""
        return self._whole("val")

    def test_dataloader(self) -> DataLoader[Any]:
        """Whole test images, one at a time.

        Raises ValueError when there is no test split.
        """
        if "test" not in self.splits:
            raise ValueError("this data has no test split")
        return self._whole("test")

    def transfer_batch_to_device(
        self, batch: Sequence[DataSample], device: torch.device, dataloader_idx: int
    ) -> Sequence[DataSample]:
        """Move training crops; whole validation images stay where tiles are cut from them."""
        if self.trainer is None or not self.trainer.training:
            return batch
        return [sample.to(device, non_blocking=True) for sample in batch]

    def located(self, options: dict[str, Any]) -> dict[str, Any]:
        """The arguments this was made with, their paths such that they hold from any folder."""
        return options

    def write(self, folder: Path) -> None:
        """Write down which images were used for what, where that is not in the config."""

    def _whole(self, split: str) -> ResumableLoader:
        data = self.splits[split]
        return ResumableLoader(data, self._sampler(len(data), shuffle=False), batch_size=1)

    def _sampler(self, length: int, *, shuffle: bool) -> DrawSampler:
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return DrawSampler(length, self.seed, shuffle=shuffle, rank=rank, world=world)


class CatalogueData(DataModule):
    """Image files, masks and label maps of a catalogue.

    Args:
        catalogue: the files of each split, the class table, how files are read.
        options: as for DataModule.
    """

    def __init__(self, catalogue: Catalogue, **options: Any) -> None:
        self.catalogue = catalogue
        classes, splits, reading = catalogue
        made = {name: ImageDataset(rows, classes, reading) for name, rows in splits.items() if rows}
        empty = ImageDataset((), classes, reading)
        super().__init__(
            made.get("train", empty), made.get("val", empty), made.get("test"), **options
        )

    def usage(self) -> dict[str, Any]:
        """How the files are read."""
        reading = self.catalogue.reading
        return super().usage() | {"channels": reading.channels, "levels": reading.levels}

    def write(self, folder: Path) -> None:
        """Write `data.json`: a manifest with every file of every split."""
        write_manifest(self.catalogue, folder / "data.json")


class ManifestData(CatalogueData):
    """Image files, masks and label maps, as a manifest names them.

    Args:
        manifest: a JSON file, or the same keys written here; paths written here are relative to the
            current folder. `microtome.data.manifest` says what stands in it.
        options: as for DataModule.

    Raises ManifestError listing everything wrong with the manifest.
    """

    def __init__(self, manifest: str | dict[str, Any], **options: Any) -> None:
        if isinstance(manifest, str):
            super().__init__(read_manifest(manifest), **options)
        else:
            super().__init__(parse_manifest(manifest, Path()), **options)

    def located(self, options: dict[str, Any]) -> dict[str, Any]:
        """The same arguments with absolute paths."""
        return options | {"manifest": located(options["manifest"], Path.cwd())}
