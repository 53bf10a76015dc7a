"""A DataSample as the dictionary that MONAI's transforms know, and back.

- `image`   [C, *S] float32 in unit range;
- `classes` [1, *S] the class index plus one, so that 0, with which transforms fill what they
  uncover, means ignored; it comes back as class index and `ignore_index`;
- `labels`  [K, *S] the objects' masks, 0 background, 1…N the N objects; their ids stand aside,
  because resampling in float32 corrupts ids above 2^24.

All three are MetaTensors with the affine `diag(spacing)`, from which the spacing is read back.
Boxes are never transformed but computed again from `labels`; objects that were cut away are
dropped. A transform that looks for foreground should look in `labels`: in `classes` every pixel
that is not ignored is above 0.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from torch import Tensor

from ..geometry import Spacing
from ..structures import Classes, DataSample, LabelLayers, Segmentation

KEYS = ("image", "classes", "labels")


def to_dict(sample: DataSample, classes: Classes) -> dict[str, Any]:
    """Show a sample to MONAI."""
    dims = len(sample.shape)
    scales = sample.spacing or (1.0,) * dims
    affine = torch.diag(torch.tensor([*scales, 1.0], dtype=torch.float64))
    data = {"image": sample.image.clone()}  # some transforms write into it
    truth = (sample.truth or Segmentation()).with_classes()
    if truth.classes is not None:
        known = truth.classes != classes.ignore_index
        data["classes"] = torch.where(known, truth.classes + 1, 0).to(torch.int32)[None]
    if truth.instances is not None:
        if truth.instances.masks is None:
            raise ValueError(
                f"{sample.meta.get('name', 'a sample')} has objects without masks, and boxes alone "
                "cannot follow a transform: give the data labels_path"
            )
        data["labels"] = truth.instances.masks.maps
    return {key: MetaTensor(value, affine=affine) for key, value in data.items()}


def from_dict(sample: DataSample, data: dict[str, Any], classes: Classes) -> DataSample:
    """Read a sample back from MONAI."""
    return replace(
        sample,
        image=data["image"].as_tensor().float(),
        truth=sample.truth and _truth(sample.truth, data, classes),
        spacing=_spacing(sample, data["image"].affine),
        placement=None,
    )


def _truth(before: Segmentation, data: dict[str, Any], classes: Classes) -> Segmentation:
    pixels, instances = before.with_classes().classes, before.instances
    if pixels is not None:
        coded = data["classes"].as_tensor()[0].to(pixels.dtype)
        pixels = torch.where(coded > 0, coded - 1, classes.ignore_index)
        if before.classes is None and coded.all():
            pixels = None  # nothing was uncovered, so the objects say all
    if instances is not None and instances.masks is not None:
        maps = data["labels"].as_tensor().to(instances.masks.maps.dtype)
        instances = instances.follow(LabelLayers(maps, instances.masks.ids))
    return Segmentation(pixels, instances)


def _spacing(sample: DataSample, affine: Tensor) -> Spacing | None:
    if sample.spacing is None:
        return None
    found = affine_to_spacing(affine, r=len(sample.shape))
    return tuple(round(float(s), 9) for s in found)


def check(steps: list[tuple[str, dict[str, Any]]]) -> None:
    """Raise ValueError naming the first step after which the truth does not fit the image.

    Args:
        steps: the dictionary as it was first, and after each transform, with the transforms' names.
    """
    first, last = steps[0][1], steps[-1][1]
    for key in first.keys() - {"image"}:
        known = _values(first[key].as_tensor())
        if _fault(last, key, known):
            name, fault = next((n, f) for n, d in steps if (f := _fault(d, key, known)))
            raise ValueError(f"{name} {fault}")


def _values(values: Tensor) -> Tensor:
    """[max + 2] bool: which of 0…max occur; 0 counts as always there, the last never is."""
    seen = torch.zeros(int(values.max()) + 2 if values.numel() else 2, dtype=torch.bool)
    seen[values.long()] = True
    seen[0] = True
    return seen


def _fault(data: dict[str, Any], key: str, known: Tensor) -> str | None:
    """What is wrong with `key`: its place, or values that it did not hold in the beginning."""
    if key not in data:
        return f"removed {key}"
    have, want = tuple(data[key].shape[1:]), tuple(data["image"].shape[1:])
    if have != want:
        return f"left the image {want} and {key} {have} large: give it all the keys {list(KEYS)}"
    if not torch.allclose(data[key].affine, data["image"].affine):
        return f"moved image and {key} differently: give it all the keys {list(KEYS)}"
    values = data[key].as_tensor()
    index = values.long().clamp(0, len(known) - 1)
    if not (known[index] & (index == values)).all():
        return f"made values in {key} that no pixel had before: use mode: nearest"
    return None
