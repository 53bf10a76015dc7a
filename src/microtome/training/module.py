"""The LightningModule conducts: prepare, forward, losses, total. It computes nothing itself."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from ..backbones.remembered import Remembered
from ..data.datamodule import DataModule
from ..data.mixing import Mix
from ..data.sampling import dice
from ..data.stores import ArraySource
from ..evaluation import evaluator_of
from ..inference.tiling import Tiling
from ..models import Segmenter
from ..structures import DataSample, Segmentation
from .encoder import doubts
from .groups import Groups, parameter_groups
from .means import Means
from .mixed import check_mix, mixed_losses
from .optimisers import MakeOptimizer, build_optimizer, in_words
from .pace import total_steps
from .recompute import recompute_blocks
from .schedules import Cosine, Schedule
from .validation import TilesWithTruth

log = logging.getLogger("microtome")
MIXING = 1  # at the end of a key: another chance than the model's own


class TrainingModule(L.LightningModule):
    """Trains a segmenter; validates it as `predict` would use it.

    Args:
        segmenter: the model.
        optimizer: called with the parameter groups.
        scheduler: factor on the learning rate at each optimiser step.
        backbone_lr: the backbone's learning rate in that of the rest; 0.1 is usual for pretrained
            ones.
        layer_decay: the learning rate of a transformer's block in that of the block after it.
        mode: how whole images are predicted, in validation and later: `sliding` tiles, or `resize`
            to one tile and back.
        tile: pixels per axis of a tile.
        overlap: fraction of a tile that neighbouring tiles share.
        tile_batch: how many tiles go through the model at once.
        checkpointing: compute blocks again in the backward pass instead of keeping what is in them:
            much less memory, about a third more time, the same numbers.
        mix: mixes the images of training batches with each other, and their truths with them.
        seed: with epoch, batch and rank it determines the model's own chance.

    Raises ValueError for tiles that are impossible and for a model without blocks to compute again.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        optimizer: MakeOptimizer = torch.optim.AdamW,
        scheduler: Schedule | None = None,
        backbone_lr: float = 1.0,
        layer_decay: float = 1.0,
        mode: Literal["sliding", "resize"] = "sliding",
        tile: int | list[int] = 512,
        overlap: float = 0.5,
        tile_batch: int = 4,
        checkpointing: bool = False,
        mix: Mix | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = segmenter
        self.make_optimizer, self.schedule = optimizer, scheduler or Cosine()
        self.backbone_lr, self.layer_decay = backbone_lr, layer_decay
        self.max_steps = -1  # optimiser steps; Lightning's own limit stays unused (see `pace`)
        self.means = Means()
        self.tiling = Tiling(mode, tile, overlap, tile_batch).checked()
        segmenter.usage = segmenter.usage._replace(mode=mode, tile=tile, overlap=overlap)
        self.seed, self.checkpointing, self.mix = seed, checkpointing, mix
        if checkpointing and not recompute_blocks(segmenter):
            raise ValueError("checkpointing: this model has no blocks that could be computed again")
        self.evaluator = evaluator_of(segmenter.classes, objects=not segmenter.head.scored)

    def learn_about(self, data: DataModule) -> None:
        """Before training: how images are read, what is in them, whether the model takes them.

        Raises ValueError when an image does not fit the model, when the optimiser refuses its
        arguments, for objects that are to be predicted in mode `resize`, for batches that cannot
        be mixed, and for changing samples where maps are remembered; and what transforms raise.
        """
        if self.tiling.mode == "resize" and not self.model.head.scored:
            raise ValueError(
                "mode: a head that answers with objects is validated in `sliding` tiles"
            )
        check_mix(self.mix, self.model, data.batch_size)
        changing = data.changing()
        if changing and any(isinstance(part, Remembered) for part in self.model.modules()):
            raise ValueError(
                f"Remembered: maps can be used again only where samples do not change, and "
                f"{', '.join(changing)} change them: leave out `crop` (`resize` may stay) and "
                "random transforms, or take the backbone without Remembered"
            )
        build_optimizer(self.make_optimizer, self._groups())
        self.model.usage = self.model.usage._replace(**data.usage())
        for doubt in doubts(self.model.backbone, self.model.usage.spacing):
            log.warning(f"model: {doubt}")
        if self.model.needs_statistics:
            self.model.set_statistics(*data.statistics())
        self.model.head.learn_frequencies(*data.frequencies())
        for samples in data.splits.values():
            first = samples[0]
            self.model.prepare([first])
            if not self.model.head.scored and first.truth and first.truth.instances is None:
                raise ValueError(
                    f"{first.meta.get('name')}: the head answers with objects, and the truth has "
                    "none: name maps of object numbers (`labels`) in the manifest"
                )

    def on_train_batch_start(self, batch: Sequence[DataSample], batch_idx: int) -> None:
        """Seed the model's own chance (drop-path, sampled points): there is no state to save."""
        key = dice(self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(int(key.generate_state(1)[0]))

    def training_step(self, batch: Sequence[DataSample], batch_idx: int) -> Tensor:
        """Return the loss of a batch of crops."""
        images, targets = self.model.prepare(batch)
        if targets is None:
            names = [s.meta.get("name") for s in batch if s.truth is None]
            raise ValueError(f"training images without truth: {names}")
        chance = dice(self.seed, self.current_epoch, batch_idx, self.global_rank, MIXING)
        losses = mixed_losses(self.model, images, targets, self.mix, chance)
        total = self.model.total(losses)
        self.log("loss", total, prog_bar=True, batch_size=len(batch))
        self.means.add({"loss": total, **losses})
        return total

    def on_train_epoch_start(self) -> None:
        """Begin new means."""
        self.means.clear()

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means."""
        self.log_dict(self.train_figures())

    def train_figures(self) -> dict[str, Tensor]:
        """The means of this epoch so far, over all processes."""
        reduce = self.trainer.strategy.reduce
        return {f"train/{k}": reduce(v, reduce_op="mean") for k, v in self.means.values.items()}

    def on_validation_batch_start(
        self, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Seed the model's own chance here too: the loss is the same whenever it is computed."""
        torch.manual_seed(int(dice(self.seed, batch_idx, self.global_rank).generate_state(1)[0]))

    def validation_step(
        self, batch: Sequence[DataSample], batch_idx: int
    ) -> dict[str, list[Segmentation]]:
        """Predict whole images tile by tile, as `predict` does, and score them as they came."""
        results = []
        for sample in batch:
            tiles = TilesWithTruth(self.model, sample.truth)
            results.append(self.tiling.predict(ArraySource.from_sample(sample), tiles))
            if sample.truth is not None:
                self.log("val/loss", tiles.loss, batch_size=1, sync_dist=True, prog_bar=True)
                name = sample.meta.get("name")
                names = None if name is None else [str(name)]
                self.evaluator.process([results[-1]], [sample.truth.to("cpu")], names)
        return {"results": results}

    def on_validation_epoch_end(self) -> None:
        """Log what the evaluator counted."""
        metrics = {f"val/{k}": v for k, v in self.evaluator.evaluate().items()}
        self.log_dict(metrics, sync_dist=True)  # equal on all ranks
        main = self.evaluator.main
        shown = metrics[f"val/{main}"]
        self.log(f"val_{main}", shown, prog_bar=True, logger=False, sync_dist=True)
        self.evaluator.reset()

    def configure_optimizers(self) -> Any:
        """One optimiser; its rate follows the schedule at every optimiser step."""
        optimizer = build_optimizer(self.make_optimizer, self._groups())
        for first, line in enumerate(in_words(optimizer)):
            log.info(f"{'' if first else 'optimiser':<10} {line}")
        total = total_steps(self.trainer, self.max_steps)
        rates = LambdaLR(optimizer, lambda step: self.schedule.factor(step, total))
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": rates, "interval": "step"},
        }

    def _groups(self) -> Groups:
        return parameter_groups(self.model, self.backbone_lr, self.layer_decay)
