"""Pictures of a few validation images while training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ..evaluation import overlay
from ..files import whole
from ..structures import DataSample, Segmentation
from .module import TrainingModule


class SamplePictures(Callback):
    """Writes `epoch_010_sample_00.png`: image, truth and prediction beside each other.

    A checkpoint says when the last ones were made, so a resumed run keeps the rhythm.

    Args:
        folder: where to write.
        save_every: pictures of epochs 10, 20, ... with 10, and of the first validation; where such
            an epoch has no validation, of the next that has one.
        num_samples: how many of the first validation images; 0 writes none.
    """

    def __init__(self, folder: Path, save_every: int = 10, num_samples: int = 4) -> None:
        if save_every < 1 or num_samples < 0:
            raise ValueError(
                f"expected save_every >= 1 and num_samples >= 0, got {save_every}, {num_samples}"
            )
        self.folder, self.save_every, self.num_samples = folder, save_every, num_samples
        self._drawn = num_samples  # so many of this validation
        self._last: int | None = None  # the epoch of the last pictures that are complete

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count from the first sample again, when pictures are due."""
        if self._is_due(trainer) and trainer.is_global_zero:
            self._drawn = 0

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Sequence[DataSample],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw what `validation_step` returned."""
        assert isinstance(pl_module, TrainingModule)
        for sample, result in zip(batch, outputs["results"], strict=True):
            if self._drawn < self.num_samples:
                name = f"epoch_{trainer.current_epoch + 1:03d}_sample_{self._drawn:02d}.png"
                self._draw(sample, result, pl_module, self.folder / name)
                self._drawn += 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that pictures were made; one process makes them, and all note it."""
        if self._is_due(trainer):
            self._last = trainer.current_epoch + 1
        self._drawn = self.num_samples

    def state_dict(self) -> dict[str, Any]:
        """The epoch of the last pictures."""
        return {"last": self._last}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint's pictures."""
        self._last = state_dict["last"]

    def _is_due(self, trainer: Trainer) -> bool:
        """Whether a multiple of `save_every` has been reached since the last pictures."""
        if trainer.sanity_checking:
            return False
        reached = (trainer.current_epoch + 1) // self.save_every
        return self._last is None or reached > self._last // self.save_every

    def _draw(
        self, sample: DataSample, result: Segmentation, module: TrainingModule, path: Path
    ) -> None:
        truth = None if sample.truth is None else sample.truth.to("cpu").with_classes().classes
        found = result.with_classes().classes
        assert found is not None
        picture = overlay(
            sample.image.cpu(),
            found,
            module.model.classes,
            title=str(sample.meta.get("name", "")),
            truth=truth,
            spacing=sample.spacing,
        )
        with whole(path) as part:
            picture.save(part)
