"""Two files of COCO's: the detections of any program, with their scores, and the truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from ..data.objects.coco import Coco, Listed
from ..data.objects.outlines import read_coco, read_detections
from ..data.objects.parts import Part, covered, layered
from ..geometry import Shape
from ..structures import Classes, Instances, Segmentation
from .judging import Judged

NOT_JUDGED = -1  # there may be more categories than a byte counts


class CocoPairs(NamedTuple):
    """What was found in the images of a file of truth."""

    found: Coco
    true: Coco

    @classmethod
    def read(cls, predictions: Path, truth: Path) -> CocoPairs:
        """Open both.

        Args:
            predictions: a list of annotations with scores, or a whole file of COCO's.
            truth: a file of COCO's.

        Raises ImageReadError for files that cannot be read, ValueError for predictions of
        categories that the truth has not.
        """
        true = read_coco(truth)
        found = read_detections(predictions, true)
        if unknown := sorted(set(found.names) - set(true.names)):
            raise ValueError(f"{predictions}: {truth} has no category {', '.join(unknown)}")
        return cls(found, true)

    @property
    def classes(self) -> Classes:
        """Background, then the categories of the truth in the order of their ids."""
        names = tuple(self.true.names)
        things = (False, *[True] * len(names))
        return Classes(("background", *names), things, ignore_index=NOT_JUDGED).checked()

    def judged(self) -> Iterator[Judged]:
        """Every image of the truth; its crowds are not judged."""
        for listed in self.true.images:
            parts = self._parts(self.true, listed)
            crowds = [part for part in parts if part.crowd]
            truth = self._objects([part for part in parts if not part.crowd], listed.shape)
            if crowds:
                hidden = torch.from_numpy(covered(crowds, listed.shape))
                truth = Segmentation(hidden.long() * NOT_JUDGED, truth.instances)
            result = self._objects(self._parts(self.found, listed), listed.shape)
            yield Judged(listed.file_name, result, truth)

    def _parts(self, coco: Coco, listed: Listed) -> list[Part]:
        parts = coco.parts(Path(listed.file_name), listed.shape)
        return [part for part in parts if part.mask.any()]

    def _objects(self, parts: Sequence[Part], shape: Shape) -> Segmentation:
        index = {name: 1 + at for at, name in enumerate(self.true.names)}
        labels = torch.tensor([index[part.word or ""] for part in parts], dtype=torch.int64)
        said = [part.score for part in parts if part.score is not None]
        scores = torch.tensor(said, dtype=torch.float64) if len(said) == len(parts) else None
        masks = layered(parts, shape)
        return Segmentation(instances=Instances(labels, scores=scores, masks=masks))
