"""Many images: predict, write, score; what cannot be read is reported at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..data.stores import ImageReadError
from ..data.truth import read_truth
from ..structures import Segmentation
from .answers import Answers, ClassAnswers, ObjectAnswers
from .confidence import Confidence, ConfidenceFiles
from .inputs import Inputs
from .objects import DEFAULT, ObjectOutputs
from .outputs import Outputs
from .predict import Progress
from .running import Predicts
from .summary import Summary, Told, claim, summed_up, told_of
from .tiling import Tiling

SLIDING = Tiling()


def predict_files(
    inputs: Inputs,
    model: Predicts,
    output: Path,
    tiling: Tiling = SLIDING,
    *,
    made_by: Mapping[str, Any] | None = None,
    objects: Sequence[str] = DEFAULT,
    confidence: bool = False,
    overwrite: bool = False,
    progress: Told | None = None,
) -> Summary:
    """Predict images one by one and write masks or objects, overlays and metrics.

    Images that are done already are kept, and scored from what was written, so that a killed run
    goes on where it stood. One image at a time is in memory.

    Args:
        inputs: the images, see `find_inputs`.
        model: anything with `predict_samples`.
        output: the folder to write.
        tiling: tiles or resizing.
        made_by: what identifies the model, such as a checkpoint's sha256; plain data.
        objects: formats for the objects of a model that answers with objects; see
            `ObjectOutputs`. An image that lacks one of them is predicted again.
        confidence: whether to write how sure the model was, see `confidence`; an image that lacks
            it is predicted again.
        overwrite: predict again what is done; an earlier run with other settings is removed.
        progress: called with the number of images done, and in all.

    Raises ValueError for impossible tilings or formats, and FileExistsError when `output` holds
    predictions of another run. Images that cannot be read or do not fit the model stand in the
    summary.
    """
    images, outputs = inputs.images, Outputs(Path(output))
    files = ObjectOutputs(Path(output), images.classes, objects)
    claim(outputs, inputs, tiling.checked(), made_by, overwrite=overwrite)
    if overwrite:
        files.clear(inputs.names)
    kinds = ClassAnswers(outputs, images.classes), ObjectAnswers(outputs, files)
    sure = ConfidenceFiles(Path(output)) if confidence else None
    run = _Run(inputs, model, tiling, *kinds, sure)
    kept, errors = run.done(), {}
    for item, name in enumerate(inputs.names):
        told = told_of(progress, item, len(inputs.names))
        try:
            run.score_again(item) if name in kept else run.predict(item, told)
        except (ImageReadError, ValueError) as error:
            errors[name] = str(error)
        if told is not None:
            told(1, 1)
    files.finish(inputs.names)
    pooled, rows = run.metrics()
    summary = Summary(pooled, rows, len(run.done()) - len(kept), len(kept), errors)
    return summed_up(outputs, summary)


class _Run(NamedTuple):
    inputs: Inputs
    model: Predicts
    tiling: Tiling
    classes: ClassAnswers
    objects: ObjectAnswers
    confidence: ConfidenceFiles | None

    def done(self) -> set[str]:
        """Names of the images that have been predicted."""
        return {name for name in self.inputs.names if self._kind(name) is not None}

    def predict(self, item: int, progress: Progress | None) -> None:
        """Predict one image and write everything; a truth that cannot be read does not stop it."""
        source, name = self.inputs.images.source(item), self.inputs.names[item]
        sure = None if self.confidence is None else Confidence(source.info.shape)
        take = None if sure is None else sure.add
        result = self.tiling.predict(source, self.model, progress, take)
        if self.confidence is not None and sure is not None:
            self.confidence.write(name, source, sure.of(result))
        kind: Answers = self.classes if result.instances is None else self.objects
        kind.write(name, result, source.info.spacing)
        truth, wrong = None, None
        try:
            truth = self._score(item, kind, result)
        except (ImageReadError, ValueError) as error:
            wrong = error
        kind.draw(name, source, result, truth)
        if wrong is not None:
            raise wrong

    def score_again(self, item: int) -> None:
        """Score an image from what was written before."""
        name = self.inputs.names[item]
        kind = self._kind(name)
        if kind is not None and self.inputs.images.records[item].has_truth:
            self._score(item, kind, kind.read(name))

    def metrics(self) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """Pooled, and of each image with truth."""
        pooled: dict[str, float] = {}
        rows: dict[str, dict[str, float]] = {}
        for evaluator in (self.classes.evaluator, self.objects.evaluator):
            if evaluator.rows:
                pooled |= evaluator.evaluate()
                rows |= dict(evaluator.rows)
        return pooled, rows

    def _kind(self, name: str) -> Answers | None:
        """What an image was answered with before, if all that is asked for is there."""
        if self.confidence is not None and not self.confidence.has(name):
            return None
        kinds: tuple[Answers, ...] = (self.classes, self.objects)
        return next((kind for kind in kinds if kind.has(name)), None)

    def _score(self, item: int, kind: Answers, result: Segmentation) -> Segmentation | None:
        images, name = self.inputs.images, self.inputs.names[item]
        record, shape = images.records[item], kind.shape(result)
        truth = read_truth(record, shape, images.classes, images.reading)
        return truth if truth is not None and kind.judge(name, result, truth) else None
