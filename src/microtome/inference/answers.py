"""What models answer with, classes or objects: how each is written, read again, judged and drawn.

*S the image's shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from ..data.stores import Source
from ..evaluation import InstanceEvaluator, evaluator_of, object_overlay, overlay
from ..geometry import Shape, Spacing
from ..structures import Classes, Instances, Segmentation
from .objects import FoundObjects, ObjectOutputs, sampled
from .outputs import Outputs
from .preview import Preview, preview

PROJECTION = ".projection"  # after the name of the second picture of a volume


class Answers(Protocol):
    """One kind of answer."""

    def has(self, name: str) -> bool:
        """Whether an image is done: its overlay is written last."""
        ...

    def write(self, name: str, result: Segmentation, spacing: Spacing | None) -> None:
        """Write everything but pictures."""
        ...

    def read(self, name: str) -> Segmentation:
        """Read back what was written."""
        ...

    def shape(self, result: Segmentation) -> Shape:
        """*S."""
        ...

    def judge(self, name: str, result: Segmentation, truth: Segmentation) -> bool:
        """Score an image; False where the truth says nothing of this kind."""
        ...

    def draw(
        self, name: str, source: Source, result: Segmentation, truth: Segmentation | None
    ) -> None:
        """Write the pictures."""
        ...


class ClassAnswers:
    """Class maps: masks, pixel metrics, tinted overlays."""

    def __init__(self, outputs: Outputs, classes: Classes) -> None:
        self.outputs, self.classes = outputs, classes
        self.evaluator = evaluator_of(classes, objects=False)

    def has(self, name: str) -> bool:
        """Whether mask and overlay are there."""
        return self.outputs.has(name)

    def write(self, name: str, result: Segmentation, spacing: Spacing | None) -> None:
        """Write the mask."""
        assert result.classes is not None
        self.outputs.write_classes(name, result.classes, spacing)

    def read(self, name: str) -> Segmentation:
        """Read the mask."""
        return Segmentation(self.outputs.read_classes(name))

    def shape(self, result: Segmentation) -> Shape:
        """That of the class map."""
        assert result.classes is not None
        return tuple(result.classes.shape)

    def judge(self, name: str, result: Segmentation, truth: Segmentation) -> bool:
        """Count pixels."""
        self.evaluator.process([result], [truth], [name])
        return True

    def draw(
        self, name: str, source: Source, result: Segmentation, truth: Segmentation | None
    ) -> None:
        """Tint image, truth and result."""
        assert result.classes is not None
        small = preview(source)
        true = None if truth is None or truth.classes is None else small.shrunk(truth.classes)
        own = None if truth is None else self.evaluator.rows[-1][1]
        self.picture(name, small, small.shrunk(result.classes), true, own)

    def picture(
        self,
        name: str,
        small: Preview,
        found: Tensor,
        truth: Tensor | None,
        own: Mapping[str, float] | None,
    ) -> None:
        """Write the picture of small maps [*small], with the image's own metrics."""
        title = name
        if own is not None:
            title += f"   mIoU {own['miou']:.3f}   Dice {own['mean_dice']:.3f}"
        picture = overlay(small.image, found, self.classes, title, truth, small.spacing)
        self.outputs.write_overlay(name, picture)


class ObjectAnswers:
    """Objects: label maps and tables, metrics of objects, outlines."""

    def __init__(self, outputs: Outputs, files: ObjectOutputs) -> None:
        self.outputs, self.files = outputs, files
        self.evaluator = InstanceEvaluator(files.classes)

    def has(self, name: str) -> bool:
        """Whether all files and the overlay are there."""
        return self.files.has(name) and self.outputs.drawn(name)

    def write(self, name: str, result: Segmentation, spacing: Spacing | None) -> None:
        """Write maps and tables in all formats asked for."""
        assert result.instances is not None
        self.files.write(name, FoundObjects.of(result.instances, spacing))

    def read(self, name: str) -> Segmentation:
        """Read map and table."""
        return Segmentation(instances=self.files.read(name))

    def shape(self, result: Segmentation) -> Shape:
        """That of the masks."""
        assert result.instances is not None and result.instances.masks is not None
        return tuple(result.instances.masks.maps.shape[1:])

    def judge(self, name: str, result: Segmentation, truth: Segmentation) -> bool:
        """Match objects, where the truth has some, or could have."""
        if truth.instances is None:
            return False
        self.evaluator.process([result], [truth], [name])
        return True

    def draw(
        self, name: str, source: Source, result: Segmentation, truth: Segmentation | None
    ) -> None:
        """Outline objects in the planes through the middle; of volumes also in projections."""
        small = preview(source)
        found, true = (
            None
            if one is None or one.instances is None
            else sampled(FoundObjects.of(one.instances), small)
            for one in (result, truth)
        )
        assert found is not None
        own = None if true is None else self.evaluator.rows[-1][1]
        self.picture(name, small, found, true, own)

    def picture(
        self,
        name: str,
        small: Preview,
        found: Instances,
        truth: Instances | None,
        own: Mapping[str, float] | None,
    ) -> None:
        """Write the pictures of objects of a small copy, with the image's own metrics."""
        title = f"{name}   {len(found)} objects"
        if truth is not None:
            title += f" of {len(truth)}"
        if own is not None:
            title += f"   PQ {own['pq']:.3f}   F1@0.5 {own['f1@0.5']:.3f}"
        for projected in (True, False) if small.image.ndim > 3 else (False,):
            picture = object_overlay(
                small.image, found, self.files.classes, title, truth, small.spacing, projected
            )
            self.outputs.write_overlay(name + PROJECTION * projected, picture)
