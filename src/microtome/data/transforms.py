"""MONAI's dictionary transforms on DataSamples.

How MONAI sees a sample is told in `bridge.py`. For `classes` and `labels` interpolation is always
nearest and what is uncovered is always filled with 0, whatever a transform says; keys that a sample
lacks are skipped. Normalising intensities is the segmenter's work, not a transform's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from monai.transforms import (
    Compose,
    MapTransform,
    Randomizable,
    RandTorchVisiond,
    Spacingd,
    TorchVisiond,
)
from monai.utils import GridSampleMode, GridSamplePadMode, InterpolateMode, SplineMode

from ..structures import Classes, DataSample
from .bridge import KEYS, check, from_dict, to_dict
from .sampling import seeded

COLOUR_ONLY = (  # of torchvision's
    "ColorJitter", "GaussianBlur", "RandomAdjustSharpness", "RandomAutocontrast",
    "RandomGrayscale", "RandomInvert", "RandomSolarize",
)  # fmt: skip
GRID_FILLS = {str(m.value) for m in GridSamplePadMode}
GRID_MODES = {str(m.value) for m in (*GridSampleMode, *SplineMode)}
RESAMPLING = {str(m.value) for m in InterpolateMode}
FORGETFUL = ("Transposed",)  # they move pixels and leave the affine as it was
COLOURS = {"ColorJitter": (1, 3), "RandomGrayscale": (1, 3), "RandomAutocontrast": (1, 3)}
AXES = {"Rand2DElasticd": 2, "Rand3DElasticd": 3}


class MonaiTransforms:
    """MONAI dictionary transforms, as they stand in YAML, as one transform of DataSamples.

    Args:
        transforms: dictionary transforms, or `Compose`, `OneOf` … of them. Their interpolation and
            fill for `classes` and `labels` are set in place.

    Attributes:
        leaves: the transforms inside `Compose`, `OneOf` …
        steady: whether a sample becomes the same every time.

    Raises ValueError, naming all of them, for transforms that are not dictionary transforms, that
    use other keys, that resample lazily, that lose the spacing, or that are torchvision's and move
    pixels (those draw anew for every key, so image and truth would part).
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = Compose(list(transforms))
        leaves = list(_leaves(self.transforms))
        wrong = [f"{type(t).__name__}: {reason}" for t in leaves for reason in _refusals(t)]
        if wrong:
            raise ValueError("these transforms cannot be used:\n- " + "\n- ".join(wrong))
        for transform in leaves:
            _settle(transform)
        self.steady = not any(isinstance(t, Randomizable) for t in leaves)
        self.leaves = leaves

    def __call__(
        self, sample: DataSample, chance: np.random.SeedSequence, classes: Classes
    ) -> DataSample:
        """Apply the transforms in order, all their chance coming from `chance`.

        Raises ValueError, naming the transform, when truth and image were not treated alike, or
        where a transform does not fit the sample.
        """
        check_fit(sample, self)
        steps = [("the data", to_dict(sample, classes))]
        with seeded(chance) as word:  # torchvision and others that ask torch or numpy
            self.transforms.set_random_state(seed=word)  # MONAI's own generators
            for transform in self.transforms.transforms:
                name = type(transform).__name__
                steps.append((name, _only(transform(steps[-1][1]), name)))
        check(steps)
        return from_dict(sample, steps[-1][1], classes)

    def misfits(self, sample: DataSample) -> list[str]:
        """What transforms need and a sample lacks, each by the transform's name."""
        return [line for transform in self.leaves for line in _misfits(transform, sample)]


def check_fit(sample: DataSample, *chains: MonaiTransforms) -> None:
    """Raise ValueError listing everything that transforms need and the sample lacks."""
    wrong = [line for chain in chains for line in chain.misfits(sample)]
    if wrong:
        name = sample.meta.get("name", "a sample")
        raise ValueError(
            f"transforms do not fit {name}:\n- " + "\n- ".join(wrong) + "\nleave them out, "
            "or take another recipe (`transforms=light` takes any image)"
        )


def _misfits(transform: Any, sample: DataSample) -> Iterator[str]:
    """What a transform needs and a sample lacks, by the transform's name."""
    name, channels, axes = type(transform).__name__, len(sample.image), len(sample.shape)
    if isinstance(transform, TorchVisiond | RandTorchVisiond):
        name = type(transform.trans.trans).__name__
    wanted = COLOURS.get(name, getattr(transform, "colours", ()))
    if wanted and channels not in wanted:
        either = " or ".join(map(str, wanted))
        yield f"{name} changes colours of images with {either} channels, and this has {channels}"
    if AXES.get(name, axes) != axes:
        yield f"{name} is for {AXES[name]} axes, and this has {axes}"
    needs = isinstance(transform, Spacingd) or getattr(transform, "needs_spacing", False)
    if needs and sample.spacing is None:
        whose = sample.meta.get("name", "a sample")
        yield f"{name} needs the spacing of {whose}, which is unknown: state spacing_um in the data"


def _leaves(transform: Any) -> Iterator[Any]:
    """The transforms inside `Compose`, `OneOf`, `SomeOf` …"""
    if isinstance(transform, Compose):
        for inner in transform.transforms:
            yield from _leaves(inner)
    else:
        yield transform


def _refusals(transform: Any) -> Iterator[str]:
    if not isinstance(transform, MapTransform):
        yield f"no dictionary transform; use the one with keys, e.g. {type(transform).__name__}d"
        return
    unknown = [k for k in transform.keys if k not in KEYS]
    if unknown:
        yield f"keys {unknown}: expected some of {list(KEYS)}"
    if getattr(transform, "lazy", False):
        yield "lazy: true; leave lazy out"
    if type(transform).__name__ in FORGETFUL:
        yield "it does not update the spacing; use RandRotate90d or RandFlipd"
    if isinstance(transform, TorchVisiond | RandTorchVisiond):
        name = type(transform.trans.trans).__name__
        if name not in COLOUR_ONLY:
            yield f"{name} draws anew for every key; use MONAI's own transform, or {COLOUR_ONLY}"
        elif transform.keys != ("image",):
            yield f"{name} changes colours, so its keys must be [image]"


def _settle(transform: Any) -> None:
    """Set what keys the sample may lack, and for `classes` and `labels` nearest and a fill of 0."""
    transform.allow_missing_keys = True
    fills = getattr(transform, "padding_mode", ())
    modes = getattr(transform, "mode", ())
    by_grid = any(str(f) in GRID_FILLS for f in fills) or any(isinstance(m, int) for m in modes)
    nearest, zeros = ("nearest", "zeros") if by_grid else ("nearest-exact", "constant")
    for name, settled in (("padding_mode", zeros), ("mode", nearest)):
        values = getattr(transform, name, None)
        if not isinstance(values, tuple) or len(values) != len(transform.keys):
            continue
        pads = name == "mode" and not any(str(v) in RESAMPLING | GRID_MODES for v in values)
        settled = "constant" if pads else settled  # the `mode` of padding transforms
        pairs = zip(transform.keys, values, strict=True)
        setattr(transform, name, tuple(v if k == "image" else settled for k, v in pairs))


def _only(result: Any, name: str) -> dict[str, Any]:
    """Transforms that can cut several samples out of one return a list."""
    if isinstance(result, dict):
        return result
    if isinstance(result, list) and len(result) == 1:
        return dict(result[0])
    raise ValueError(f"{name} made {len(result)} samples of one: set num_samples to 1")
