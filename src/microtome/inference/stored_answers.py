"""Answers that stand in a store: scored and drawn without all of them in memory.

*S the image's shape.
"""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt
import torch

from ..data.records import Reading, Record
from ..data.stores import LabelSource, Source
from ..data.truth import Truth
from ..evaluation import InstanceEvaluator, evaluator_of
from ..geometry import Region, window
from ..structures import Classes, Instances, LabelLayers, Segmentation
from .answers import ClassAnswers, ObjectAnswers
from .jobs import UNKNOWN
from .objects import FoundObjects, ObjectOutputs, sampled
from .objects.found import blocks
from .outputs import Outputs
from .preview import Preview, preview

SCORED = 1 << 27  # pixels of an image whose objects are scored: matching them takes memory


class StoredClasses:
    """Class maps in stores: pixels are counted block by block.

    Attributes:
        evaluator: of all images.
        rows: the numbers of each image with truth.
    """

    def __init__(self, outputs: Outputs, classes: Classes) -> None:
        self.outputs, self.classes = outputs, classes
        self.evaluator = evaluator_of(classes, objects=False)
        self.rows: dict[str, dict[str, float]] = {}

    def conclude(
        self, name: str, source: Source, labels: LabelSource, record: Record, reading: Reading
    ) -> None:
        """Score an image, where its truth is known, and draw it."""
        small, truth = preview(source), None
        if record.has_truth:
            objects = record if record.mask is None else record._replace(labels=None)
            known = Truth(objects, labels.shape, self.classes, reading)
            truth = self._judge(name, labels, known, small)
        if not self.outputs.drawn(name):
            found = torch.from_numpy(small.thinned(labels))
            answers = ClassAnswers(self.outputs, self.classes)
            answers.picture(name, small, found, truth, self.rows.get(name))

    def _judge(self, name: str, labels: LabelSource, known: Truth, small: Preview) -> torch.Tensor:
        """Count pixels; return the truth of the small copy."""
        own, seen = evaluator_of(self.classes, objects=False), Seen(small, labels.shape)
        everything = None if known.by_region else known.read()
        for region in blocks(labels):
            truth = known.read(region) if everything is None else everything.crop(region)
            assert truth is not None and truth.classes is not None
            seen.add(region, truth.classes.numpy())
            found = torch.from_numpy(labels.read(region).astype(np.int32))
            judged = _without_unread(found, truth.classes, self.classes)
            for evaluator in (own, self.evaluator):
                evaluator.process([Segmentation(found)], [Segmentation(judged)])
        self.rows[name] = {key: own.evaluate()[key] for key in own.rows[0][1]}
        return torch.from_numpy(seen.classes)


class StoredObjects:
    """Objects in stores: matched in memory where result and truth fit, else not scored.

    Attributes:
        evaluator: of all images.
        unscored: why an image with truth has no numbers.
    """

    def __init__(self, outputs: Outputs, files: ObjectOutputs) -> None:
        self.answers = ObjectAnswers(outputs, files)
        self.outputs, self.files = outputs, files
        self.unscored: dict[str, str] = {}

    @property
    def evaluator(self) -> InstanceEvaluator:
        """Of all images."""
        return self.answers.evaluator

    @property
    def rows(self) -> dict[str, dict[str, float]]:
        """The numbers of each image that was scored."""
        return dict(self.evaluator.rows)

    def conclude(
        self, name: str, source: Source, found: FoundObjects, record: Record, reading: Reading
    ) -> None:
        """Write the files of objects, score an image where its truth is known, and draw it."""
        if not self.files.has(name):
            self.files.write(name, found)
        truth = None
        if record.has_truth:
            truth = self._judge(
                name, found, Truth(record, found.shape, self.files.classes, reading)
            )
        if not self.outputs.drawn(name):
            small = preview(source)
            true = None
            if truth is not None and truth.instances is not None:
                true = sampled(FoundObjects.of(truth.instances), small)
            self.answers.picture(name, small, sampled(found, small), true, self.rows.get(name))

    def _judge(self, name: str, found: FoundObjects, known: Truth) -> Segmentation | None:
        if prod(found.shape) > SCORED:
            self.unscored[name] = (
                f"objects are matched in memory, in images of at most {SCORED:,} pixels; this one "
                f"has {prod(found.shape):,}"
            )
            return None
        truth, everything = known.read(), window(found.shape)
        maps = np.stack([numbers.read(everything).astype(np.int32) for numbers in found.maps])
        masks = LabelLayers(torch.from_numpy(maps), torch.from_numpy(found.ids))
        scores = None if found.scores is None else torch.from_numpy(found.scores).float()
        result = Instances(torch.from_numpy(found.labels), scores=scores, masks=masks)
        if truth is None or not self.answers.judge(name, Segmentation(instances=result), truth):
            self.unscored[name] = "its truth says classes, and the model finds objects"
            return None
        return truth


class Seen:
    """Collects a small copy of a map from blocks of it.

    Attributes:
        classes: [*small] what was collected.
    """

    def __init__(self, small: Preview, shape: tuple[int, ...]) -> None:
        self._places = small.middles(shape)
        self.classes: npt.NDArray[np.int32] = np.zeros([len(p) for p in self._places], np.int32)

    def add(self, region: Region, values: npt.NDArray[np.integer]) -> None:
        """Take what the copy needs from a block [*region]."""
        here = [
            (p >= side.start) & (p < side.stop)
            for p, side in zip(self._places, region, strict=True)
        ]
        inside = (
            p[own] - side.start for p, own, side in zip(self._places, here, region, strict=True)
        )
        self.classes[np.ix_(*here)] = values[np.ix_(*inside)]


def _without_unread(found: torch.Tensor, truth: torch.Tensor, classes: Classes) -> torch.Tensor:
    """Pixels that could not be read are not judged; in `found` they become class 0."""
    unread = (found == UNKNOWN) & torch.tensor(classes.num_classes <= UNKNOWN)
    found[unread] = 0
    return truth.masked_fill(unread, classes.ignore_index)
